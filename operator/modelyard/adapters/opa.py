"""Policies evaluated by an OPA server over its REST API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from opa_client.errors import RegoParseError  # type: ignore[import-untyped]
from opa_client.opa_async import AsyncOpaClient  # type: ignore[import-untyped]

from modelyard.judge.rego import decide, engine_input, failed_evaluation
from modelyard.ports.policy import Decision, Finding, PolicyEngineUnavailable, RegoModule

_Answer = TypeVar("_Answer")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REJECTED = "invalid_parameter"
"""Code of OPA's answer to a module that does not compile."""
_EVALUATION_FAILED = "internal_error"
"""Code of OPA's answer to a module that compiles and fails on this input."""


class _Client(AsyncOpaClient):  # type: ignore[misc]
    """The client with one call of its own: a query that keeps the body of an error."""

    async def package_document(self, package: str, gate_input: Any) -> dict[str, Any]:
        """Return OPA's answer about a package: `result`, or `code` and `errors`."""
        url = f"{self.root_url}/data/{package.replace('.', '/')}"
        # As regorus does: a built-in that fails ends the evaluation, it is not just undefined.
        query = {"strict-builtin-errors": "true"}
        async with self._request("POST", url, json={"input": gate_input}, params=query) as response:
            answer = await response.json()
            if not isinstance(answer, dict):
                raise PolicyEngineUnavailable("OPA answered a query with something else")
            if response.status != HTTPStatus.OK and answer.get("code") != _EVALUATION_FAILED:
                raise PolicyEngineUnavailable(f"OPA answered {response.status} to a query")
            return answer


class OpaEngine:
    """The `PolicyEngine` of a cluster: one OPA server, reached over kept-alive connections.

    Modules are uploaded under their own package before they are first asked, and again when the
    server has lost them.
    """

    def __init__(self, url: str, token: str | None = None, timeout_seconds: float = 5.0) -> None:
        """Args: url is `http://host:port` or `https://host:port`; token a bearer token.

        Raises:
            ValueError: the URL has another form.
        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url} is no URL of an OPA server; give http(s)://host:port")
        self._url = url
        self._client = _Client(
            host=f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname,
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            ssl=parts.scheme == "https",
            token=token,
            retries=0,
            timeout=timeout_seconds,
        )
        self._connected = False
        self._uploaded: set[str] = set()

    async def check(self, module: RegoModule) -> tuple[Finding, ...]:
        """Return why a module does not compile; see `PolicyEngine`."""
        try:
            await self._reach(lambda: self._upload(module))
        except _Rejected as rejected:
            return tuple(
                Finding("spec.rego", *_place(error), str(error.get("message", "")))
                for error in rejected.errors
            )
        return ()

    async def evaluate(self, module: RegoModule, gate_input: Mapping[str, Any]) -> Decision:
        """Return what a module says about an input; see `PolicyEngine`."""
        try:
            answer = await self._reach(lambda: self._query(module, engine_input(gate_input)))
        except _Rejected as rejected:
            errors = rejected.errors
        else:
            if "errors" not in answer and "code" not in answer:
                return decide(answer.get("result"))
            errors = answer.get("errors") or [{"message": str(answer.get("message"))}]
        line, _ = _place(errors[0])
        return failed_evaluation(line, str(errors[0].get("message", "")))

    async def aclose(self) -> None:
        """Close the connections."""
        self._connected = False
        await self._client.close_connection()

    async def _query(self, module: RegoModule, gate_input: Any) -> dict[str, Any]:
        if module.package not in self._uploaded:
            await self._upload(module)
        answer = await self._client.package_document(module.package, gate_input)
        if answer.keys() & {"result", "errors", "code"}:
            return answer
        # No result at all means that OPA does not know the package: it was started anew.
        await self._upload(module)
        return await self._client.package_document(module.package, gate_input)

    async def _upload(self, module: RegoModule) -> None:
        try:
            await self._client.update_policy_from_string(
                module.source, module.package, rego_compat=False
            )
        except RegoParseError as error:
            if error.expression != _REJECTED:
                raise PolicyEngineUnavailable(f"OPA took no policy: {error}") from error
            raise _Rejected(error.errors or [{"message": str(error.message)}]) from error
        self._uploaded.add(module.package)

    async def _reach(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Return what a call returns; whatever goes wrong on the way is Unavailable."""
        try:
            if not self._connected:
                await self._client.__aenter__()
                self._connected = True
            return await call()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: the answer is not JSON, or JSON but no object.
            reason = str(error) or type(error).__name__
            raise PolicyEngineUnavailable(f"no answer from OPA at {self._url}: {reason}") from error


class _Rejected(Exception):
    """OPA refused a module: an answer, not a fault of ours."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        self.errors = errors
        super().__init__(str(errors))


def _place(error: Mapping[str, Any]) -> tuple[int, int]:
    location = error.get("location") or {}
    return int(location.get("row", 0)), int(location.get("col", 0))
