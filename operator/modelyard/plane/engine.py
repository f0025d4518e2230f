"""Which policy engine judges: OPA where it is configured, regorus in process otherwise."""

from __future__ import annotations

from modelyard.ports.policy import PolicyEngine


def policy_engine(opa_url: str | None, opa_token: str | None = None) -> PolicyEngine:
    """Return the engine; each is loaded only when it is used."""
    if opa_url is not None:
        from modelyard.adapters.opa import OpaEngine  # noqa: PLC0415

        return OpaEngine(opa_url, opa_token)
    from modelyard.adapters.regorus import RegorusEngine  # noqa: PLC0415

    return RegorusEngine()
