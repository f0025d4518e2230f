"""The privacy actions on single values; the same in snapshots, reports and logged payloads."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from modelyard.api.privacy import PrivacyAction

MASK = "***"
HASH_DIGITS = 16


def keyed_hash(value: Any, key: bytes) -> str:
    """Return the first 16 hex digits of the HMAC-SHA256 (RFC 2104) of a value's text.

    A whole float hashes as the integer it is, so that 7.0 and 7 are one subject.
    """
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def apply(action: PrivacyAction, value: Any, key: bytes) -> Any:
    """Return what may be seen of a value.

    Args:
        action: The declared action. Dropping a column is the caller's; its values become None.
        value: The value; a missing one (None) stays missing.
        key: Key of the action Hash.

    Raises:
        ValueError: the action is Hash and the key is empty.
    """
    if value is None or action == "Allow":
        return value
    if action == "Mask":
        return MASK
    if action == "Hash":
        if not key:
            raise ValueError("the action Hash needs a key; set spec.privacy.keyRef")
        return keyed_hash(value, key)
    return None
