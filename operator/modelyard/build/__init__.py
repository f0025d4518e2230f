"""Pure builders: from what was gathered to the child objects that should exist. No I/O."""
