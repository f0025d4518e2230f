"""The RunTracker port: runs in MLflow, over its REST API (version 2.0).

https://mlflow.org/docs/latest/api_reference/rest-api.html names the calls and their limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

import aiohttp

from modelyard.ports.tracking import PASSWORD, TOKEN, USERNAME, TrackedRun, TrackingUnavailable

TIMEOUT_SECONDS = 10
METRICS_A_REQUEST = 800
PARAMETERS_A_REQUEST = 100
"""With as many tags as a run has, no more than the 1,000 entries that one request may have."""
LONGEST_PARAMETER = 6000
LONGEST_TAG = 5000
IDENTITY_TAG = "modelyard.identity"


class MLflowTracker:
    """Writes runs to MLflow tracking servers."""

    async def track(self, uri: str, credentials: Mapping[str, str], run: TrackedRun) -> str:
        """Write a run, or what is missing of it; raises TrackingUnavailable."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers=_headers(credentials)) as session:
            server = _Server(session, uri.rstrip("/"))
            try:
                experiment = await server.experiment(run.experiment)
                run_id = await server.find(experiment, run.identity)
                if run_id is None:
                    run_id = await server.create(experiment, run)
                await server.write(run_id, run)
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                raise TrackingUnavailable(f"{uri}: it does not answer as MLflow does") from error
            return run_id


class _Server:
    """The calls of a tracking server that are used."""

    def __init__(self, session: aiohttp.ClientSession, uri: str) -> None:
        self._session = session
        self._uri = uri

    async def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is made where there is none."""
        found = await self._call("GET", "experiments/get-by-name", {"experiment_name": name})
        if found is None:
            made = await self._call("POST", "experiments/create", {"name": name})
            if made is not None:
                return str(made["experiment_id"])
            # Another run of it was quicker.
            found = await self._call("GET", "experiments/get-by-name", {"experiment_name": name})
        if found is None:
            raise TrackingUnavailable(f"{self._uri}: experiment {name} cannot be made")
        if found["experiment"].get("lifecycle_stage") == "deleted":
            raise TrackingUnavailable(
                f"{self._uri}: experiment {name} is deleted there; restore it or delete it for good"
            )
        return str(found["experiment"]["experiment_id"])

    async def find(self, experiment: str, identity: str) -> str | None:
        """Return the id of the run of an identity, be it only begun."""
        query = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{IDENTITY_TAG}` = '{identity}'",
            "max_results": 1,
        }
        found = await self._call("POST", "runs/search", query)
        runs = (found or {}).get("runs") or []
        return str(runs[0]["info"]["run_id"]) if runs else None

    async def create(self, experiment: str, run: TrackedRun) -> str:
        """Begin a run and return its id."""
        body = {
            "experiment_id": experiment,
            "run_name": run.name,
            "start_time": milliseconds(run.started_at),
            "tags": [{"key": IDENTITY_TAG, "value": run.identity}],
        }
        made = await self._call("POST", "runs/create", body)
        if made is None:
            raise TrackingUnavailable(f"{self._uri}: run {run.name} cannot be made")
        return str(made["run"]["info"]["run_id"])

    async def write(self, run_id: str, run: TrackedRun) -> None:
        """Write all of a run and finish it. To write the same again changes nothing."""
        when = milliseconds(run.finished_at)
        parameters = [
            {"key": key, "value": value[:LONGEST_PARAMETER]}
            for key, value in run.parameters.items()
        ]
        metrics = [
            {"key": one.name, "value": one.value, "timestamp": when, "step": one.step}
            for one in run.metrics
        ]
        tags = [{"key": key, "value": value[:LONGEST_TAG]} for key, value in run.tags.items()]
        requests: Iterable[tuple[Any, ...]] = zip_longest(
            [tags],
            batches(parameters, PARAMETERS_A_REQUEST),
            batches(metrics, METRICS_A_REQUEST),
            fillvalue=[],
        )
        for some_tags, some_parameters, some_metrics in requests:
            entries = {"tags": some_tags, "params": some_parameters, "metrics": some_metrics}
            await self._change("runs/log-batch", {"run_id": run_id} | entries)
        finished = {"run_id": run_id, "status": "FINISHED", "end_time": when}
        await self._change("runs/update", finished)

    async def _change(self, path: str, data: dict[str, Any]) -> None:
        if await self._call("POST", path, data) is None:
            raise TrackingUnavailable(f"{self._uri}: the run was deleted there meanwhile")

    async def _call(self, method: str, path: str, data: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer; None where the resource is not there, or there already.

        Raises:
            TrackingUnavailable: there is no answer, or another error.
        """
        asked, body = (data, None) if method == "GET" else (None, data)
        url = f"{self._uri}/api/2.0/mlflow/{path}"
        try:
            # A redirect would take the credentials elsewhere.
            async with self._session.request(
                method, url, params=asked, json=body, allow_redirects=False
            ) as response:
                said = await response.json(content_type=None) if response.status < 500 else {}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TrackingUnavailable(f"{self._uri}: {error or type(error).__name__}") from error
        if not isinstance(said, dict):
            raise TypeError("not an object")
        if response.status < 300:
            return said
        if said.get("error_code") in ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"):
            return None
        why = str(said.get("message") or "")[:200]
        raise TrackingUnavailable(f"{self._uri}: {path} answered {response.status} {why}".strip())


def _headers(credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the header that logs in. A Secret made from a file often ends in a line break."""
    token, user, password = (
        credentials.get(key, "").strip() for key in (TOKEN, USERNAME, PASSWORD)
    )
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user and password:
        try:
            return {"Authorization": aiohttp.encode_basic_auth(user, password)}
        except ValueError as error:
            raise TrackingUnavailable(f"{USERNAME} must not contain a colon") from error
    return {}


def batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield the entries in order, no more than `size` at once."""
    return (entries[start : start + size] for start in range(0, len(entries), size))


def milliseconds(time: str) -> int:
    """Return an RFC 3339 time as MLflow counts it: milliseconds since 1970."""
    return int(datetime.fromisoformat(time).timestamp() * 1000)
