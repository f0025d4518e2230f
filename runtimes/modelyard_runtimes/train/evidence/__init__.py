"""Evidence for the winner, computed on the holdout once the winner is fixed."""
