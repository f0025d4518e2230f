"""Looks for what gives the answer away before anything is learned; what is found stops the run."""
