"""One file a kind: gather -> judge -> build -> apply -> status. The outside only through ports."""
