"""A kopf operator for the widgets labelled `operated`: a finalizer, a status, events."""

from datetime import UTC, datetime
from typing import Any

import kopf

GROUP = "lab.example.com"
OPERATED = {"operated": "true"}


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = True
    settings.posting.loggers = True
    settings.persistence.finalizer = f"{GROUP}/operator"


@kopf.on.create(GROUP, "v1", "widgets", labels=OPERATED)
@kopf.on.update(GROUP, "v1", "widgets", field="spec", labels=OPERATED)
def settle(spec: kopf.Spec, meta: kopf.Meta, patch: kopf.Patch, **_: Any) -> None:
    replicas = spec["replicas"]
    patch.status["phase"] = "Settled"
    patch.status["replicas"] = replicas
    patch.status["observedGeneration"] = meta["generation"]
    patch.status["conditions"] = [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Settled",
            "message": f"replicas={replicas}",
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ]


@kopf.on.delete(GROUP, "v1", "widgets", labels=OPERATED)
def release(name: str, logger: kopf.Logger, **_: Any) -> None:
    logger.info("released %s", name)
