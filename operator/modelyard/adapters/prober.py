"""The Prober port over the Open Inference Protocol."""

from __future__ import annotations

import aiohttp
from pydantic import ValidationError

from modelyard.api.runtime import (
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    SERVER_REVISION_HEADER,
    ServedModel,
)
from modelyard.ports.prober import NoAnswer

TIMEOUT_SECONDS = 3


class HttpProber:
    """Asks over HTTP. Each question opens a connection, so that each may reach another replica."""

    async def served_model(self, url: str, name: str) -> ServedModel:
        """Return what the headers of the answer to a readiness question say."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        question = f"{url.rstrip('/')}/v2/models/{name}/ready"
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(question, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise NoAnswer(f"it answered {response.status}")
                headers = response.headers
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        try:
            return ServedModel(
                model_version=headers.get(MODEL_VERSION_HEADER, ""),
                model_digest=headers.get(MODEL_DIGEST_HEADER, ""),
                revision=headers.get(SERVER_REVISION_HEADER, ""),
            )
        except ValidationError as error:
            raise NoAnswer("its answer names no model") from error
