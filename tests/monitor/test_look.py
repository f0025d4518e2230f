"""One look after the other: what is written, when, and how the verdict changes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from modelyard.api.artifacts import FAILURE, monitor_key
from modelyard.api.monitor import Threshold
from modelyard_runtimes.entry import RunFailure

RANDOM = np.random.default_rng(3)
REFERENCE = {"x": RANDOM.normal(size=3000), "c": RANDOM.choice(["a", "b"], 3000).tolist()}
TYPES = {"x": "Numeric", "c": "Categorical"}


def rows(count: int, shift: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"x": float(x), "c": str(c)}
        for x, c in zip(
            RANDOM.normal(shift, 1, count), RANDOM.choice(["a", "b"], count), strict=True
        )
    ]


def test_without_requests_there_is_no_verdict(watch: Any) -> None:
    record = watch(TYPES, REFERENCE).look()

    assert (record.rows, record.enough, record.detected) == (0, False, False)


def test_too_few_requests_give_no_verdict(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(199, shift=3))

    record = watched.look()

    assert (record.rows, record.enough, record.detected) == (199, False, False)


def test_unshifted_requests_are_no_drift(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400))

    record = watched.look()

    assert (record.rows, record.enough, record.detected) == (400, True, False)
    assert (record.features, record.drifted_features, record.worst) == (2, 0, [])


def test_drift_is_found_and_its_numbers_are_stored(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400, shift=1))

    record = watched.look()

    assert (record.detected, record.drifted_features) == (True, 1)
    assert [(found.feature, found.test) for found in record.worst] == [("x", "KS")]
    assert float(record.worst[0].p_value) < 1e-9
    numbers = json.loads(watched.store.read_bytes(record.report_uri))
    assert set(numbers["features"]) == {"x", "c"}
    assert numbers["features"]["x"]["drifted"] is True
    assert numbers["modelDigest"] == watched.config.model_digest


def test_the_newest_rows_of_the_present_model_count(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE, {"drift": {"window": {"maxRows": 300}}})
    watched.log(rows(500, shift=3))
    watched.log(rows(500))
    watched.log(rows(500, shift=3), model_digest=f"sha256:{'1' * 64}")

    record = watched.look()

    assert (record.rows, record.detected) == (300, False)


def test_a_line_that_is_being_written_is_left_for_the_next_look(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(300), tail='{"id": "half')

    assert watched.look().rows == 300


def test_numbers_are_written_only_when_the_verdict_changes(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400, shift=1))
    first = watched.look()
    watched.log(rows(400, shift=1))
    second = watched.look()

    changed = {"rows", "evaluated_at"}
    assert second.rows == 800
    assert second.model_dump(exclude=changed) == first.model_dump(exclude=changed)


def test_drift_is_resolved_by_as_many_clean_rows_as_showed_it(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE, {"drift": {"window": {"maxRows": 500}}})
    watched.log(rows(500, shift=1))
    assert watched.look().detected
    verdicts = []
    for _ in range(10):
        watched.log(rows(200))
        verdicts.append(watched.look().detected)

    assert verdicts[:2] == [True, True]
    assert verdicts[-1] is False
    assert verdicts == sorted(verdicts, reverse=True)


def test_a_shift_at_the_border_does_not_toggle_the_verdict(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE, {"drift": {"window": {"minRows": 200, "maxRows": 400}}})
    verdicts = []
    for _ in range(40):
        watched.log(rows(100, shift=0.33))
        verdicts.append(watched.look().detected)

    changes = sum(one != other for one, other in itertools.pairwise(verdicts))
    assert True in verdicts
    assert changes <= 3


def test_relaxed_limits_are_a_new_question(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400, shift=1))
    assert watched.look().detected
    spec = watched.config.spec
    relaxed = spec.model_copy(
        update={"drift": spec.drift.model_copy(update={"threshold": Threshold(ks=0.9)})}
    )

    assert not watched.look(spec=relaxed).detected


def test_another_model_starts_without_a_verdict(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400, shift=1))
    assert watched.look().detected
    other = watch(TYPES, REFERENCE, target="z")

    record = watched.look(model_uri=other.config.model_uri, model_digest=other.config.model_digest)

    assert record.model_digest == other.config.model_digest
    assert (record.rows, record.detected) == (0, False)


def test_private_and_untested_features_are_not_compared_and_it_says_why(watch: Any) -> None:
    types = {**TYPES, "mail": "Categorical", "id": "Categorical", "t": "Datetime", "w": "Text"}
    watched = watch(
        types,
        {**REFERENCE, "mail": ["***"] * 3000, "t": ["2026-01-01"] * 3000, "w": ["hi"] * 3000},
        privacy={"mail": "Mask"},
        never_logged=["id"],
    )
    watched.log([{**row, "mail": "***", "t": "2026-02-01"} for row in rows(300)])

    record = watched.look()

    assert record.features == 2
    assert set(record.not_compared) == {"mail", "id", "t", "w"}
    assert "Mask" in record.not_compared["mail"]
    assert "personal data" in record.not_compared["id"]


def test_booleans_and_numbers_as_categories_mean_the_same_on_both_sides(watch: Any) -> None:
    watched = watch(
        {"flag": "Boolean", "code": "Categorical"},
        {"flag": [True, False] * 500, "code": ["1", "2"] * 500},
    )
    watched.log([{"flag": n % 2, "code": n % 2 + 1} for n in range(300)])

    record = watched.look()

    assert record.drifted_features == 0


def test_a_look_without_news_changes_nothing_and_loads_nothing(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400))
    first = watched.look()
    program = (
        "import sys; from modelyard_runtimes.monitor.__main__ import main; main();"
        "sys.exit(sum(name in sys.modules for name in ('numpy', 'scipy', 'pyarrow')))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MODELYARD_CONFIG": json.dumps(watched.config.to_json())},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "no new requests" in ended.stderr
    assert watched.record() == first


def test_the_command_writes_a_record(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400, shift=1))

    ended = subprocess.run(
        [sys.executable, "-m", "modelyard_runtimes.monitor"],
        env={**os.environ, "MODELYARD_CONFIG": json.dumps(watched.config.to_json())},
        check=False,
    )

    assert ended.returncode == 0
    assert watched.record().detected


def test_the_command_tells_why_it_failed(watch: Any) -> None:
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400))
    config = watched.config.model_copy(update={"snapshot_digest": f"sha256:{'0' * 64}"})

    ended = subprocess.run(
        [sys.executable, "-m", "modelyard_runtimes.monitor"],
        env={**os.environ, "MODELYARD_CONFIG": json.dumps(config.to_json())},
        capture_output=True,
        check=False,
    )

    key = f"{monitor_key('default', 'watch')}/{FAILURE}"
    assert ended.returncode == 1
    assert "digest" in json.loads(watched.store.read_bytes(key))["message"]


def test_a_missing_evidently_is_named_and_the_verdict_is_there_all_the_same(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard_runtimes.monitor.report.find_spec", lambda _name: None)
    watched = watch(TYPES, REFERENCE)
    watched.log(rows(400, shift=1))

    with pytest.raises(RunFailure, match=r"modelyard-runtimes\[evidently\]") as failure:
        watched.look(report_token="monday")

    assert failure.value.reason == "BackendMissing"
    assert watched.record().detected


def test_an_evidently_report_is_made_once_for_each_token(watch: Any) -> None:
    if find_spec("evidently") is None:
        pytest.skip("the extra evidently is not installed")
    watched = watch(TYPES, REFERENCE)
    watched.log([*rows(300), {"x": None, "c": None}])
    asked = watched.config.model_copy(update={"report_token": "monday"})

    ended = subprocess.run(
        [sys.executable, "-m", "modelyard_runtimes.monitor"],
        env={**os.environ, "MODELYARD_CONFIG": json.dumps(asked.to_json())},
        check=False,
    )
    first = watched.record()
    watched.log(rows(10))
    again = watched.look(report_token="monday")

    assert ended.returncode == 0
    assert b"<html" in watched.store.read_bytes(first.evidently_uri)
    assert again.evidently_uri == first.evidently_uri
