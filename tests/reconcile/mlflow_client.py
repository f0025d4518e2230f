"""Prints what MLflow's own client reads, as JSON. It runs in the environment that has MLflow.

python mlflow_client.py SERVER EXPERIMENTS FILTER [FOLDER]

It prints the runs that a filter finds in the experiments whose names are like EXPERIMENTS; with a
folder all of each run, and where its model lies there once it is downloaded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

PAGE = 400


def found(client: MlflowClient, experiments: str, wanted: str) -> Iterator[Run]:
    """Yield the runs that a filter finds, page by page."""
    known = client.search_experiments(filter_string=f"name LIKE '{experiments}'")
    ids, token = [one.experiment_id for one in known], None
    while True:
        page = client.search_runs(ids, wanted, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def whole(client: MlflowClient, run: Run) -> dict[str, Any]:
    """Return all that there is of a run."""
    run_id = run.info.run_id
    read = client.get_run(run_id)
    assert read.to_dictionary() == run.to_dictionary()
    return {
        "run_id": run_id,
        "name": read.info.run_name,
        "status": read.info.status,
        "started": read.info.start_time,
        "ended": read.info.end_time,
        "parameters": read.data.params,
        "metrics": read.data.metrics,
        "tags": read.data.tags,
        "history": {
            name: [[one.step, one.value] for one in client.get_metric_history(run_id, name)]
            for name in read.data.metrics
        },
        "logged_files": [one.path for one in client.list_artifacts(run_id)],
    }


def main(server: str, experiments: str, wanted: str, folder: str | None = None) -> None:
    """Print the runs."""
    client = MlflowClient(server)
    runs = list(found(client, experiments, wanted))
    if folder is None:
        told = [{"run_id": run.info.run_id, "parameters": run.data.params} for run in runs]
    else:
        told = [whole(client, run) for run in runs]
        for run in told:
            uri = run["tags"]["modelyard.modelUri"]
            run["model"] = download_artifacts(artifact_uri=uri, dst_path=folder)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
