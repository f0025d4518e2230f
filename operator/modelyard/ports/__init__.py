"""What the reconcilers need from outside, as Protocols; `adapters` makes them real."""
