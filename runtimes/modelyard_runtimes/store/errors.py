"""What can go wrong with a store. A missing key is the built-in FileNotFoundError."""

from __future__ import annotations


class StoreError(Exception):
    """The store is misconfigured, or holds something that must not be used."""


class StoreUnavailable(StoreError):
    """The store does not answer, or refuses access; the same call may succeed later."""


class DigestMismatch(StoreError):
    """Bytes in the store are not those that were committed.

    Attributes:
        uri: The file whose bytes differ.
        expected: Digest that was committed.
        found: Digest of the bytes that are there.
    """

    def __init__(self, uri: str, expected: str, found: str) -> None:
        self.uri = uri
        self.expected = expected
        self.found = found
        super().__init__(
            f"{uri}: digest is {found}, expected {expected}; the file was changed after it was "
            "committed: restore it, or run again with a new spec.run.token"
        )
