"""`modelyard replay`: runs again what is recorded of a commit, elsewhere, and compares."""
