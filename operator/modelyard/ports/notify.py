"""Where alerts go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Notifier(Protocol):
    """Delivers alerts to webhooks."""

    async def post(self, url: str, body: Mapping[str, Any]) -> None:
        """Post a JSON body.

        Raises:
            OSError: the receiver cannot be reached or refused.
        """
