"""What gives the answer away stops the run and is named with the remedy; honest data never do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.runs import DatasetConfig, TrainConfig
from modelyard_runtimes.dataset.snapshot import make_snapshot
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.train.problem import Problem, prepare
from modelyard_runtimes.train.snapshot import Snapshot, read_snapshot

MakeConfig = Callable[..., TrainConfig]
ROWS = 400
EXCLUDE, ACCEPT = "spec.features.exclude", "spec.leakage.accept"

CHANCE = np.random.default_rng(5)
SIZE = CHANCE.normal(size=ROWS)
CHURN = SIZE + CHANCE.normal(scale=0.8, size=ROWS) > 0.3
PRICE = 100 * np.exp(SIZE + CHANCE.normal(scale=0.5, size=ROWS))
PART = PRICE * CHANCE.uniform(0.1, 0.9, size=ROWS)
FLIPPED = CHURN ^ (np.arange(ROWS) % 200 == 7)
OPENED = np.datetime64("2025-01-01T00:00:00", "us") + np.arange(ROWS).astype("timedelta64[D]")
TYPES = {"size": "Numeric", "colour": "Categorical", "churn": "Boolean", "price": "Numeric"}
HONEST: dict[str, Any] = {
    "size": SIZE,
    "colour": CHANCE.choice(["red", "green", "blue"], size=ROWS),
    "churn": CHURN,
    "price": PRICE,
}
CLASSIFY = {
    "task": {"type": "Classification", "target": "churn"},
    "features": {"exclude": ["price"]},
}
REGRESS = {"task": {"type": "Regression", "target": "price"}, "features": {"exclude": ["churn"]}}


@dataclass(frozen=True)
class Planted:
    """Columns added to honest data, and what the message must say of them."""

    columns: Mapping[str, Any]
    types: Mapping[str, str]
    spec: Mapping[str, Any]
    said: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def one(values: Any, kind: str, spec: Mapping[str, Any], said: str, **extra: Any) -> Planted:
    return Planted({"leak": values}, {"leak": kind}, spec, said, extra)


def present_only(values: Any, shown: Any) -> pa.Array:
    return pa.array(values, mask=~np.asarray(shown))


PLANTED = [
    pytest.param(one(FLIPPED * 3.5, "Numeric", CLASSIFY, "takes away"), id="the target as a number"),
    pytest.param(
        one(np.where(CHURN, "left", "stays"), "Categorical", CLASSIFY, "takes away 100 %"),
        id="the target by another name",
    ),
    pytest.param(
        one(present_only(CHANCE.normal(size=ROWS), CHURN), "Numeric", CLASSIFY, "takes away"),
        id="a value that is only there afterwards",
    ),
    pytest.param(
        one(
            [f"{'closed' if left else 'open'} case" for left in CHURN],
            "Text", CLASSIFY, "takes away",
        ),
        id="a text that tells the outcome",
    ),
    pytest.param(
        one(-np.log(PRICE), "Numeric", REGRESS, "takes away"), id="the target on another scale"
    ),
    pytest.param(
        Planted(
            {"leak": PART, "rest": PRICE - PART},
            {"leak": "Numeric", "rest": "Numeric"},
            REGRESS,
            "'leak', 'rest' add up to the target",
        ),
        id="the parts of the target",
    ),
    pytest.param(
        one(np.arange(1, ROWS + 1), "Numeric", CLASSIFY, "numbers the rows"), id="row numbers"
    ),
    pytest.param(
        one([f"key {n}" for n in range(ROWS)], "Categorical", CLASSIFY, "nearly every row"),
        id="a key of each row",
    ),
    pytest.param(
        Planted(
            {"opened": OPENED, "leak": OPENED + np.timedelta64(3, "D")},
            {"opened": "Datetime", "leak": "Datetime"},
            CLASSIFY,
            "lies after 'opened'",
            {"validation": {"timeColumn": "opened"}},
        ),
        id="a moment after the prediction",
    ),
]  # fmt: skip


def prepared(make_config: MakeConfig, planted: Planted, **changes: Mapping[str, Any]) -> Problem:
    table = pa.table({**HONEST, **planted.columns})
    types = {**TYPES, **planted.types}
    spec = {**planted.spec, **planted.extra, **changes}
    return prepare(Snapshot(table, types), make_config(table, types, spec))


def test_the_largest_number_there_is_stands_in_nobodys_way(make_config: MakeConfig) -> None:
    unset = np.where(np.arange(ROWS) % 50 == 0, np.finfo(np.float64).max, SIZE)
    planted = Planted({"unset": unset}, {"unset": "Numeric"}, CLASSIFY, "")

    assert "unset" in {one.name for one in prepared(make_config, planted).choice.features}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_leak_stops_the_run_and_is_named(
    make_config: MakeConfig, planted: Planted
) -> None:
    with pytest.raises(RunFailure, match=planted.said) as ended:
        prepared(make_config, planted)
    assert ended.value.reason == "LeakageFound"
    assert "'leak'" in ended.value.message
    assert EXCLUDE in ended.value.message
    assert ACCEPT in ended.value.message


@pytest.mark.parametrize("planted", PLANTED)
def test_a_leak_that_is_excluded_stops_nothing(make_config: MakeConfig, planted: Planted) -> None:
    excluded = [*planted.spec["features"]["exclude"], *planted.types]
    problem = prepared(make_config, planted, features={"exclude": excluded})
    assert problem.warnings == []


@pytest.mark.parametrize("planted", PLANTED)
def test_a_column_that_is_accepted_is_a_feature_and_the_card_says_so(
    make_config: MakeConfig, planted: Planted
) -> None:
    problem = prepared(make_config, planted, leakage={"accept": ["leak"]})
    assert "leak" in problem.schema.names
    sum_is_no_more = "add up" in planted.said
    accepted = [w for w in problem.warnings if "Accepted by spec.leakage.accept" in w]
    assert sum_is_no_more or (len(accepted) == 1 and "'leak'" in accepted[0])


def test_several_leaks_are_named_at_once(make_config: MakeConfig) -> None:
    columns = {"a": np.where(CHURN, "x", "y"), "b": np.arange(ROWS)}
    planted = Planted(columns, {"a": "Categorical", "b": "Numeric"}, CLASSIFY, "")
    with pytest.raises(RunFailure, match=r"'a'.*'b'"):
        prepared(make_config, planted)


@pytest.mark.parametrize(
    ("flips", "limit", "stops"),
    [
        pytest.param(0.06, 0.98, False, id="an honest column that is nearly perfect"),
        pytest.param(0.06, 0.8, True, id="the same under a stricter limit"),
        pytest.param(0.0, 1.0, False, id="a perfect one where all is allowed"),
    ],
)
def test_the_limit_of_one_column_is_declared(
    make_config: MakeConfig, flips: float, limit: float, stops: bool
) -> None:
    noisy = CHURN ^ (np.random.default_rng(1).random(ROWS) < flips)
    planted = one(noisy.astype(float), "Numeric", CLASSIFY, "", leakage={"maxPower": limit})
    if stops:
        with pytest.raises(RunFailure, match="'leak' alone"):
            prepared(make_config, planted)
    else:
        warnings = prepared(make_config, planted).warnings
        assert all("make sure that it is known before" in warning for warning in warnings)


def repeated_table(share: float) -> pa.Table:
    """Return the honest rows, of which a share stands there twice."""
    table = pa.table(HONEST)
    return pa.concat_tables([table, table.slice(0, int(share * ROWS))])


@pytest.mark.parametrize(
    ("share", "allowed", "stops"),
    [
        pytest.param(0.4, 0.05, True, id="many"),
        pytest.param(0.4, 0.6, False, id="many, and declared"),
        pytest.param(0.3, 0.25, False, id="some"),
    ],
)
def test_a_table_of_copies_stops_the_run(
    make_config: MakeConfig, share: float, allowed: float, stops: bool
) -> None:
    table = repeated_table(share)
    config = make_config(table, TYPES, {**CLASSIFY, "leakage": {"maxRepeatedRows": allowed}})
    if not stops:
        (warning,) = prepare(Snapshot(table, TYPES), config).warnings
        assert "copies of others; each stands on the same side" in warning
        return
    with pytest.raises(RunFailure, match=r"28\.6 % of the rows are copies") as ended:
        prepare(Snapshot(table, TYPES), config)
    for remedy in ("NoDuplicateRows", "spec.leakage.maxRepeatedRows"):
        assert remedy in ended.value.message


def test_a_few_copies_are_not_worth_telling(make_config: MakeConfig) -> None:
    table = repeated_table(0.009)
    assert prepare(Snapshot(table, TYPES), make_config(table, TYPES, CLASSIFY)).warnings == []


def test_rows_of_few_categories_repeat_by_chance(make_config: MakeConfig) -> None:
    chance = np.random.default_rng(3)
    table = pa.table({name: chance.choice(list("abc"), 600) for name in ("p", "q", "r", "s", "y")})
    types = dict.fromkeys(table.column_names, "Categorical")
    spec = {"task": {"type": "Classification", "target": "y"}}
    assert prepare(Snapshot(table, types), make_config(table, types, spec)).warnings == []


def test_a_time_that_is_not_declared_is_told_on_the_card(make_config: MakeConfig) -> None:
    planted = Planted({"opened": OPENED}, {"opened": "Datetime"}, CLASSIFY, "")
    (warning,) = prepared(make_config, planted).warnings
    assert "spec.validation.timeColumn" in warning


def test_unset_limits_do_not_change_the_identity_of_runs() -> None:
    spec = ExperimentSpec.model_validate({"datasetRef": {"name": "rows"}, **CLASSIFY})
    assert "leakage" not in spec.shaping_fields()
    assert set(spec.to_json()["validation"]) == {"folds", "holdout"}


HONEST_SETS = [
    pytest.param("telco_churn.csv", "Churn", "Classification", [], id="telco"),
    pytest.param("titanic.csv", "Survived", "Classification", [], id="titanic"),
    pytest.param("adult.csv", "income", "Classification", [], id="adult"),
    pytest.param("california_housing.csv", "median_house_value", "Regression", [], id="california"),
    pytest.param("bike_sharing.csv", "count", "Regression", ["casual", "registered"], id="bikes"),
    pytest.param("breast_cancer", "target", "Classification", [], id="breast cancer"),
    pytest.param("wine", "target", "Classification", [], id="wine"),
    pytest.param("iris", "target", "Classification", [], id="iris"),
    pytest.param("digits", "target", "Classification", [], id="digits"),
    pytest.param("diabetes", "target", "Regression", [], id="diabetes"),
]


def real_problem(
    source: str, target: str, task: str, exclude: list[str], folder: Path, store: Store,
    rows: int | None,
) -> Problem:  # fmt: skip
    where = {"path": str(folder / source)} if "." in source else {"builtin": source}
    fields = {"source": where, "privacy": {"detection": "Disabled"}}
    head = {"namespace": "team", "name": "rows", "identity": "1" * 64, "store": {"uri": store.uri}}
    sample = {"sample": {"rows": rows}} if rows else {}
    config = DatasetConfig.model_validate({**head, "spec": {**fields, **sample}})
    record = make_snapshot(config, store)
    spec = {
        "datasetRef": {"name": "rows"},
        "task": {"type": task, "target": target},
        "features": {"exclude": exclude},
    }
    given = {
        "spec": spec,
        "parallelism": 1,
        "workers": 1,
        "snapshot_uri": record.snapshot.uri,
        "snapshot_digest": record.snapshot.digest,
        "fingerprint": record.fingerprint,
    }
    snapshot = read_snapshot(store, record.snapshot.uri, record.snapshot.digest)
    return prepare(snapshot, TrainConfig.model_validate({**head, **given}))


@pytest.mark.parametrize(("source", "target", "task", "exclude"), HONEST_SETS)
@pytest.mark.parametrize(
    "rows", [pytest.param(2000, id="sample"), pytest.param(None, id="all", marks=pytest.mark.soak)]
)
def test_honest_data_are_not_stopped(
    source: str, target: str, task: str, exclude: list[str], rows: int | None,
    shared_data: Path, store: Store,
) -> None:  # fmt: skip
    real_problem(source, target, task, exclude, shared_data, store, rows)


def test_rides_of_members_and_guests_are_the_parts_of_all_rides(
    shared_data: Path, store: Store
) -> None:
    with pytest.raises(RunFailure, match="'casual', 'registered' add up to the target"):
        real_problem("bike_sharing.csv", "count", "Regression", [], shared_data, store, 2000)
