"""The operator keeps kopf's own bookkeeping away from ours."""

from __future__ import annotations

import kopf
from modelyard.api.meta import FINALIZER, GROUP
from modelyard.plane.operator import _configure


async def test_kopf_does_not_take_our_finalizer_for_its_own() -> None:
    settings = kopf.OperatorSettings()
    await _configure(settings)
    assert settings.persistence.finalizer != FINALIZER
    assert settings.persistence.finalizer.startswith(f"{GROUP}/")
