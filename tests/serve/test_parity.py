"""A model that was trained on columns of every type predicts offline and served alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from modelyard_runtimes.model import Model, load
from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.run import train

from tests.train.conftest import configuration

V1 = "/v1/models/churn:predict"
ROWS, ROWS_OF_A_BODY = 100_000, 10_000
ALONE = 1_000
"""Of the rows, how many are also sent one by one: a single row takes another way to its answer."""
GAPS, UNSEEN = 0.1, 0.1
"""Shares of each column that are missing, and that are like nothing in training."""
THRESHOLD = 0.35
TYPES = {
    "size [cm]": "Numeric",
    "weight": "Numeric",
    "colour": "Categorical",
    "city": "Categorical",
    "member": "Boolean",
    "since": "Datetime",
    "note": "Text",
    "churn": "Categorical",
}
WORDS = ["late", "again", "broken", "on", "time", "thanks", "Größe", "10%", "never", "good"]
NUMBERS = {"left": "size [cm]", "right": "weight"}
SPEC = {
    "task": {"type": "Classification", "target": "churn", "positiveLabel": "yes"},
    "features": {
        "transforms": [
            {"type": "TargetEncoding", "columns": ["city"]},
            {"type": "FrequencyEncoding"},
            {"type": "HashEncoding", "columns": ["city"], "buckets": 4},
            {"type": "GroupStatistics", "by": "city"},
            {"type": "Binning"},
            {
                "type": "Interactions",
                "pairs": [
                    *({**NUMBERS, "operation": one} for one in ("Difference", "Ratio")),
                    {"left": "colour", "right": "city", "operation": "Cross"},
                ],
            },
        ]
    },
    "search": {"trials": 6, "learners": ["LightGBM", "Linear"]},
    "ensemble": {"type": "Voting"},
    "evaluation": {"calibration": "Platt", "threshold": {"value": THRESHOLD}},
}
EAST = timezone(timedelta(hours=5, minutes=30))


def customers(rows: int, seed: int, unseen: float = 0.0) -> pa.Table:
    """Return rows with gaps in every feature, and a share of values that no other seed gives."""
    random = np.random.default_rng(seed)

    def mixed(usual: Any, strange: Any) -> Any:
        return np.where(random.random(rows) < unseen, strange, usual)

    def column(values: Any) -> pa.Array:
        return pa.array(values, mask=random.random(rows) < GAPS)

    size = random.normal(size=rows)
    weight = random.lognormal(3, 1, rows)
    colour = random.choice(["red", "green", "blue"], rows)
    city = random.choice([f"city {number}" for number in range(12)], rows)
    member = random.random(rows) < 0.5
    seconds = random.integers(0, 400 * 86400, rows)
    words = random.choice(WORDS, (rows, 4))
    score = size + (colour == "red") + 0.5 * member + (words == "late").sum(axis=1)
    score += random.normal(scale=0.7, size=rows) - 1.2 * (city == "city 3")
    start = np.datetime64("2024-01-01T00:00:00", "us")
    far = random.integers(-(10**9), 3 * 10**9, rows)
    since = start + mixed(seconds, far).astype("timedelta64[s]")
    strange_words = np.array([f"{first} {number:x}" for number, first in enumerate(words[:, 0])])
    return pa.table(
        {
            "size [cm]": column(mixed(size, 1e9 * size)),
            "weight": column(mixed(weight, 0.0)),
            "colour": column(mixed(colour, "ultraviolet")),
            "city": column(mixed(city, np.char.add(city, " unseen"))),
            "member": column(member),
            "since": pa.array(since, pa.timestamp("us", "UTC"), mask=random.random(rows) < GAPS),
            "note": column(mixed([" ".join(four) for four in words], strange_words)),
            "churn": np.where(score > 0.9, "yes", "no"),
        }
    )


def bodies(features: pa.Table, rows_each: int) -> Iterator[bytes]:
    """Return V1 bodies of the rows, moments as texts of one zone and of another in turn."""
    for start in range(0, features.num_rows, rows_each):
        rows = features.slice(start, rows_each).to_pylist()
        for position, row in enumerate(rows, start):
            since: datetime | None = row["since"]
            if since is not None:
                row["since"] = since.astimezone((UTC, EAST)[position % 2]).isoformat()
        yield json.dumps({"instances": rows}).encode()


def answers(client: httpx.Client, features: pa.Table, rows_each: int) -> list[dict[str, Any]]:
    """Return what is served for the rows, so many of them in a body."""
    found: list[dict[str, Any]] = []
    for content in bodies(features, rows_each):
        response = client.post(V1, content=content)
        assert response.status_code == 200, response.text
        found += response.json()["predictions"]
    return found


def check_equal(served: list[dict[str, Any]], offline: Floats) -> None:
    """Check probabilities and labels of all rows against those of the loaded model."""
    assert list(served[0]["probabilities"]) == ["no", "yes"]
    probabilities = np.array([list(one["probabilities"].values()) for one in served])
    labels = np.where(offline[:, 1] >= THRESHOLD, "yes", "no").tolist()
    furthest = np.abs(probabilities - offline).max()
    print(f"{len(served)} rows, furthest {furthest:.1e}, {labels.count('yes')} yes")
    assert furthest <= 1e-6
    assert [one["label"] for one in served] == labels
    assert 0.1 < labels.count("yes") / len(labels) < 0.9


def check_model(model: Model) -> None:
    """Check that the model has all that could be served otherwise than it was trained."""
    document = model.document
    assert {member.type for member in document.members} >= {"Trees", "Linear"}
    assert {feature.type for feature in document.features} == set(TYPES.values())
    assert all(encoder.derived for encoder in document.encoders)
    assert document.calibration is not None
    assert document.threshold == THRESHOLD


@pytest.mark.soak
def test_a_trained_model_predicts_100_000_rows_offline_as_it_does_served(
    serve: Any, store: Store
) -> None:
    record = train(configuration(store, customers(2_000, seed=1), TYPES, SPEC), store)
    model = load(store.open_artifact(record.artifact.uri).folder())
    check_model(model)
    features = customers(ROWS, seed=2, unseen=UNSEEN).select(list(model.schema.names))
    offline = model.predict(features)
    served = serve(
        model_uri=record.artifact.uri, model_digest=record.artifact.digest, payload_uri=None
    )

    with served.client() as client:
        together = answers(client, features, ROWS_OF_A_BODY)
        alone = answers(client, features.slice(0, ALONE), 1)

    assert (len(together), len(alone)) == (ROWS, ALONE)
    check_equal(together, offline)
    check_equal(alone, offline[:ALONE])
