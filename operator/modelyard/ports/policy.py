"""What reconcilers need from a policy engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from modelyard.judge.policy_lint import Finding
from modelyard.judge.rego import Decision, RegoModule

__all__ = ["Decision", "Finding", "PolicyEngine", "PolicyEngineUnavailable", "RegoModule"]


class PolicyEngineUnavailable(Exception):
    """The engine gave no answer; whoever asked must deny."""


class PolicyEngine(Protocol):
    """Evaluates Rego modules: OPA over REST, or regorus beside the operator."""

    async def check(self, module: RegoModule) -> tuple[Finding, ...]:
        """Return why a module does not compile, with line and column; nothing if it does.

        Raises:
            PolicyEngineUnavailable: the engine gave no answer.
        """

    async def evaluate(self, module: RegoModule, gate_input: Mapping[str, Any]) -> Decision:
        """Return what a module says about an input. A module that fails to evaluate denies.

        Raises:
            PolicyEngineUnavailable: the engine gave no answer.
        """

    async def aclose(self) -> None:
        """Release connections and processes."""
