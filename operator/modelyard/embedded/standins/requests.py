"""How many predictions the servers of a service were asked for, by their own metrics."""

from __future__ import annotations

import re

import aiohttp

from modelyard.api.request_counts import NOT_A_PREDICTION, REQUESTS_METRIC

METRICS_URL = "http://model-servers.invalid"
"""The address that a metric names here: no Prometheus runs, the servers themselves are asked."""
IDLE_QUERY = 'requests{namespace="$namespace",service="$service"}'
"""What follows requests to no replica names here: the socket of a service sees them by itself."""
_TIMEOUT_SECONDS = 1.0
_SAMPLE = re.compile(rf"^{REQUESTS_METRIC}{{(?P<labels>.*)}} (?P<value>\S+)$", re.MULTILINE)


async def requests_answered(url: str) -> float | None:
    """Return how many requests for predictions were answered so far; None when nobody says."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}/metrics", allow_redirects=False) as response,
        ):
            return count_of(await response.text()) if response.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None


def count_of(metrics: str) -> float:
    """Return the sum of the requests for predictions in the text of metrics."""
    other = f'protocol="{NOT_A_PREDICTION}"'
    samples = _SAMPLE.finditer(metrics)
    return sum(float(sample["value"]) for sample in samples if other not in sample["labels"])
