"""The Notifier port: alerts as JSON over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

TIMEOUT_SECONDS = 10


class WebhookNotifier:
    """Posts alerts to webhooks."""

    async def post(self, url: str, body: Mapping[str, Any]) -> None:
        """Post a JSON body; raises OSError when the receiver cannot be reached or refuses."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, json=body) as response,
            ):
                if response.status >= 300:
                    raise OSError(f"the receiver answered {response.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(str(error) or type(error).__name__) from error
