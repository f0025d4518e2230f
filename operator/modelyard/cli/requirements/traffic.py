"""Reads how a model is to be served: "REST API in production, 100k requests/day"."""

from __future__ import annotations

import re

from modelyard.cli.requirements.model import Environment, Requirements

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mio": 1e6, "million": 1e6, "": 1.0}
_RATE = re.compile(
    r"(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<scale>k|thousand|m|mio|million)?\s*"
    r"(?:requests?|predictions?|calls?|queries|req|hits)?\s*(?:/|\bper\b|\ba\b|\bevery\b|\beach\b)\s*"
    r"(?P<unit>seconds?|sec|s|minutes?|min|months?|hours?|hr?|days?|d|weeks?)\b"
)
_SHORT_RATE = re.compile(r"(?P<number>\d[\d,]*(?:\.\d+)?)\s*(?P<scale>k|m)?\s*(?P<unit>rps|qps)\b")
_ENVIRONMENTS: tuple[tuple[str, Environment], ...] = (
    (r"\bprod(uction)?\b", "production"),
    (r"\bstaging\b|\bpre-?prod", "staging"),
    (r"\bdev(elopment)?\b|\btest(ing)?\b|\blocal(ly)?\b", "development"),
)
_ONLINE = re.compile(
    r"\b(rest|grpc|api|online|real[\s-]?time|http|endpoint|service|web|micro-?service|kserve|json|"
    r"kubernetes|k8s)\b"
)
_UNSUPPORTED = (
    (
        r"\b(batch|nightly|offline|scheduled?)\b",
        "a Deployment of mode Batch scores tables; add one by hand",
    ),
    (r"\b(stream(ing)?|kafka|pulsar|kinesis)\b", "there is no mode for streams; call the endpoint"),
    (r"\b(edge|mobile|on-?device|embedded)\b", "there is no mode for devices"),
    (
        r"\b\d+(\.\d+)?\s*(ms|milliseconds?)\b|\blatency\b",
        "add spec.constraints.latencyMsP95 to the Experiment by hand",
    ),
    (
        r"\bautoscal\w*|\breplicas?\b|\bscale\b",
        "add spec.replicas or spec.autoscaling to the Deployment by hand",
    ),
    (
        r"\bcanary\b|\bblue[\s/-]?green\b|\ba/b\b|\bshadow\b",
        "add spec.canary to the Deployment by hand",
    ),
    (r"\b\d+(\.\d+)?\s*%|\bavailability\b|\buptime\b", "availability cannot be declared yet"),
    (r"\bgpu\b", "GPUs cannot be declared yet"),
)
_PIECES = re.compile(r"[;\n]|,(?!\d)|\.\s|\.$|\bwith\b|\band\b|\bat\b(?! least| most)")


def read_deployment(text: str, requirements: Requirements) -> None:
    """Read the field deployment; every piece of it is understood, or said not to be."""
    for piece in filter(None, (part.strip() for part in _PIECES.split(text))):
        if not _understand(piece, requirements):
            remedy = "not understood; declare it by hand"
            requirements.refuse("deployment", piece, remedy)


def _understand(piece: str, requirements: Requirements) -> bool:
    lower = piece.lower()
    understood = _ONLINE.search(lower) is not None
    if match := _RATE.search(lower) or _SHORT_RATE.search(lower):
        _read_rate(piece, match, requirements)
        understood = True
    for pattern, environment in _ENVIRONMENTS:
        if re.search(pattern, lower):
            requirements.environment = environment
            understood = True
            break
    for pattern, remedy in _UNSUPPORTED:
        if re.search(pattern, lower):
            requirements.refuse("deployment", piece, remedy)
            understood = True
    return understood


def _read_rate(piece: str, match: re.Match[str], requirements: Requirements) -> None:
    unit = match.group("unit")
    short = "s" if unit in {"rps", "qps"} else "mo" if unit.startswith("mo") else unit[0]
    number = float(match.group("number").replace(",", "")) * _SCALES[match.group("scale") or ""]
    rate = number / _SECONDS[short]
    requirements.requests_per_second = rate
    remedy = (
        f"a rate is no field; it is {rate:.4g} requests/s on average and noted in "
        "deployment.yaml, raise spec.workers where the peak needs more"
    )
    requirements.refuse("deployment", piece, remedy)
