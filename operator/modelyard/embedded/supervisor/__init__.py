"""The supervisor of an embedded plane: one light process that keeps the others running.

`modelyard.embedded.plane` starts it and talks to it.
"""
