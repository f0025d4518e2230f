"""What a search can be left to: each engine proposes configurations, and fits them."""
