"""Tables of rows as files and bodies bring them, and what a model says of them."""
