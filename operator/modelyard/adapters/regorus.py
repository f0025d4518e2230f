"""Policies evaluated by regorus, in a process beside the operator."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from modelyard.adapters.regorus_limits import LIMIT_BYTES, LIMIT_SECONDS
from modelyard.judge.rego import decide, engine_input, failed_evaluation
from modelyard.ports.policy import Decision, Finding, PolicyEngineUnavailable, RegoModule

_WORKER = "modelyard.adapters.regorus_worker"
_MAX_ANSWER = 16 << 20
_COMPILE_ONLY = "true"
"""A query that reads no rule: regorus parses and checks the module, and evaluates nothing."""
_OVERRUN = {
    "line": 0,
    "column": 0,
    "message": f"it needs more than {LIMIT_SECONDS} s or {LIMIT_BYTES >> 20} MiB; simplify it",
}


class RegorusEngine:
    """The `PolicyEngine` of the embedded plane.

    The process starts with the first question, answers one at a time, and starts anew after a
    module that ran past its limits. It ends with `aclose`, and with the operator in any case.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def check(self, module: RegoModule) -> tuple[Finding, ...]:
        """Return why a module does not compile; see `PolicyEngine`."""
        answer = await self._ask(module, _COMPILE_ONLY, {})
        if failure := answer.get("failure"):
            line, column = failure["line"], failure["column"]
            return (Finding("spec.rego", line, column, failure["message"]),)
        return ()

    async def evaluate(self, module: RegoModule, gate_input: Mapping[str, Any]) -> Decision:
        """Return what a module says about an input; see `PolicyEngine`."""
        answer = await self._ask(module, f"data.{module.package}", engine_input(gate_input))
        if failure := answer.get("failure"):
            return failed_evaluation(failure["line"], failure["message"])
        return decide(answer["document"])

    async def aclose(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def _ask(self, module: RegoModule, query: str, gate_input: Any) -> dict[str, Any]:
        request = {
            "package": module.package,
            "source": module.source,
            "query": query,
            "input": gate_input,
        }
        async with self._lock:
            process = await self._started()
            try:
                answer = await _exchange(process, request)
            except BaseException:
                # Half an exchange, for example when cancelled: its answer must reach nobody else.
                await self.aclose()
                raise
            if answer is None:
                await self.aclose()
                return {"failure": _OVERRUN}
            return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            await self.aclose()
            self._process = await _start()
        return self._process


async def _start() -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", _WORKER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_MAX_ANSWER,
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    if not await process.stdout.readline():
        await process.communicate()
        message = f"the process of regorus ended with status {process.returncode} as it started"
        raise PolicyEngineUnavailable(f"{message}; run `python -m {_WORKER}` to see why")
    return process


async def _exchange(
    process: asyncio.subprocess.Process, request: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the answer, or None when the process ended instead or answered too much."""
    assert process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readline()
    except (ConnectionError, ValueError):
        return None
    return json.loads(line) if line.endswith(b"\n") else None
