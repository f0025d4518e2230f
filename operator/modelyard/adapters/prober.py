"""The Prober port over the Open Inference Protocol."""

from __future__ import annotations

import json

import aiohttp
from pydantic import ValidationError

from modelyard.api.runtime import (
    MODEL_DIGEST_HEADER,
    MODEL_VERSION_HEADER,
    SERVER_REVISION_HEADER,
    LoadFailure,
    ServedModel,
)
from modelyard.ports.prober import NoAnswer

TIMEOUT_SECONDS = 3
MOST_BYTES = 65536
"""How much of an answer is read."""


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
                headers = response.headers
                failure = _failure(await response.content.read(MOST_BYTES))
                if response.status != 200:
                    raise NoAnswer(f"it answered {response.status}", failure)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        try:
            return ServedModel(
                model_version=headers.get(MODEL_VERSION_HEADER, ""),
                model_digest=headers.get(MODEL_DIGEST_HEADER, ""),
                revision=headers.get(SERVER_REVISION_HEADER, ""),
                failure=failure,
            )
        except ValidationError as error:
            raise NoAnswer("its answer names no model") from error


def _failure(body: bytes) -> LoadFailure | None:
    """Return what a shared server says of a version that it cannot load; None where it does not."""
    try:
        return LoadFailure.model_validate(json.loads(body)["failure"])
    except (ValueError, KeyError, TypeError):
        return None
