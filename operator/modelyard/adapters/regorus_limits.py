"""What the process of regorus may take. The operator knows it too, without loading regorus."""

LIMIT_SECONDS = 5
"""Seconds of wall clock that one request may take."""
LIMIT_BYTES = 2 << 30
"""Address space of the process; regorus' allocator reserves half of it at the start."""
