"""Scores a table of any size: streamed, in shards, each row exactly once."""
