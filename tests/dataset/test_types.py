"""Column types: inferred with a reason, right on labelled files, declared ones on top."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from modelyard_runtimes.dataset.types import Column, infer, words_of
from modelyard_runtimes.entry import RunFailure

N, C, B, D, T, I = "Numeric", "Categorical", "Boolean", "Datetime", "Text", "Identifier"  # noqa: E741
IMAGE = "Image"


def typed_by_default(default: str, count: int, **others: str) -> tuple[str, int, dict[str, str]]:
    """Describes a file with `count` columns of which all but `others` have the default type."""
    return default, count, others


LABELLED = {
    "telco_churn.csv": typed_by_default(
        C, 21, customerID=I, SeniorCitizen=N, tenure=N, MonthlyCharges=N, TotalCharges=N
    ),
    "adult.csv": typed_by_default(
        C, 15, age=N, fnlwgt=N, education_num=N, capital_gain=N, capital_loss=N, hours_per_week=N
    ),
    "california_housing.csv": typed_by_default(N, 10, ocean_proximity=C),
    "titanic.csv": typed_by_default(
        N, 12, PassengerId=I, Name=T, Sex=C, Ticket=T, Cabin=T, Embarked=C
    ),
    "bike_sharing.csv": typed_by_default(N, 12, datetime=D),
    "airline_passengers.csv": typed_by_default(N, 2, Month=D),
    "nab_machine_temp.csv": typed_by_default(N, 3, timestamp=D),
    "sms_spam.csv": typed_by_default(C, 2, message=T),
    "wnut17_train.csv": typed_by_default(C, 3, sentence_id=I, token=T),
}
MADE = {
    "uuid": (I, [str(UUID(int=n * 7919)) for n in range(40)]),
    "order_number": (I, [f"A-{n:04d}" for n in range(40)]),
    "user_id": (I, [str(100 + n // 3) for n in range(600)]),
    "store_id": (N, [str(n % 5) for n in range(60)]),
    "population": (N, [str(1000 + 17 * n) for n in range(40)]),
    "measurement": (N, [f"{n / 7:.9f}" for n in range(40)]),
    "year": (N, [str(1960 + n) for n in range(60)]),
    "zip_code": (C, [f"0{n % 9}123" for n in range(60)]),
    "price": (N, [f"${n},{n:03d}.50" for n in range(1, 40)]),
    "share": (N, [f"{n}%" for n in range(40)]),
    "amount": (N, [f"{n}.{n:03d},25" for n in range(1, 40)]),
    "weight": (N, ["1e-3", "+2.5", ".5", "7."] * 5),
    "active": (B, ["True", "false", "TRUE"] * 9),
    "answer": (C, ["yes", "no"] * 9),
    "code": (N, ["1", "2", "3"] * 9),
    "month": (D, [f"2020-{n % 12 + 1:02d}" for n in range(30)]),
    "iso": (D, [f"2020-01-{n:02d}T10:00:00Z" for n in range(1, 29)]),
    "american": (D, [f"{n % 12 + 1}/{n + 1}/2020" for n in range(28)]),
    "european": (D, [f"{n + 1}/{n % 12 + 1}/2020" for n in range(28)]),
    "german": (D, [f"{n + 1:02d}.03.2020 08:15" for n in range(28)]),
    "named": (D, [f"{n + 1}-Feb-2020" for n in range(28)]),
    "month_first": (D, [f"Feb-{n + 1}-2020" for n in range(28)]),
    "with_comma": (D, [f"March {n + 1}, 2020" for n in range(28)]),
    "quarter": (D, [f"{1990 + n // 4}Q{n % 4 + 1}" for n in range(28)]),
    "order_date": (D, [f"202001{n + 1:02d}" for n in range(28)]),
    "reading": (N, [f"202001{n + 1:02d}" for n in range(28)]),
    "day": (N, [str(n) for n in range(1, 32)]),
    "review": (T, [f"this is review number {n} of many" for n in range(30)]),
    "photo": (IMAGE, [f"photos/cat {n}.JPG" for n in range(30)]),
    "image_id": (IMAGE, [f"{n:012x}.png" for n in range(400)]),
    "picture_url": (IMAGE, [f"https://example.com/{n}.webp?size=64" for n in range(30)]),
    "captioned": (IMAGE, [f"{n // 5}.jpg" for n in range(1000)]),
    "thumbnail": (IMAGE, [f"data:image/png;base64,{n:032d}\n{n:032d}" for n in range(30)]),
    "scan": (IMAGE, [*(f"{n}.tif" for n in range(99)), "lost"]),
    "weather_icon": (C, ["sun.png", "rain.png", "snow.png"] * 9),
    "few_icons": (C, [f"{n}.png" for n in range(16)]),
    "attachment": (T, [f"scan {n}.{'png' if n % 2 else 'pdf'}" for n in range(40)]),
    "city": (C, ["Berlin", "New York", "São Paulo"] * 9),
    "mixed": (C, ["1", "x", "2020-01-01"] * 9),
    "nearly": (N, [*map(str, range(99)), "odd"]),
    "half": (C, ["1", "odd"] * 40),
    "empty": (C, []),
}


def inferred_type(name: str, values: list[str]) -> str:
    texts, counts = np.unique(np.array(values, dtype=object), return_counts=True)
    return infer(Column(name, pa.array(texts, pa.large_string()), counts)).type


@pytest.mark.parametrize("name", MADE)
def test_a_made_column_has_its_type(name: str) -> None:
    expected, values = MADE[name]

    assert inferred_type(name, values) == expected


@pytest.mark.parametrize("file", LABELLED)
def test_types_of_a_labelled_file_are_right(
    file: str, snapshot: Callable[..., Any], test_data: Path
) -> None:
    default, count, others = LABELLED[file]

    types = snapshot(test_data / file, privacy={"detection": "Disabled"}).types

    assert {name: type_ for name, type_ in types.items() if type_ != default} == others
    assert len(types) == count


@pytest.mark.parametrize("builtin", ["breast_cancer", "wine", "iris", "digits", "diabetes"])
def test_bundled_sets_have_numbers_and_a_target(builtin: str, snapshot: Callable[..., Any]) -> None:
    types = snapshot(source={"builtin": builtin}).types

    target = types.pop("target")
    assert target == ("Numeric" if builtin == "diabetes" else "Categorical")
    assert set(types.values()) == {"Numeric"}


def test_classes_of_bundled_sets_are_texts(snapshot: Callable[..., Any]) -> None:
    table = snapshot(source={"builtin": "breast_cancer"}).table

    assert set(table.column("target").to_pylist()) == {"malignant", "benign"}
    assert table.column_names[0] == "mean radius"
    assert table.num_rows == 569


def test_blank_texts_of_telco_are_missing_numbers(
    snapshot: Callable[..., Any], test_data: Path
) -> None:
    outcome = snapshot(test_data / "telco_churn.csv")

    column = outcome.table.column("TotalCharges")
    assert (column.type, column.null_count, outcome.record.quarantine.rows) == (
        pa.float64(),
        11,
        0,
    )


def test_null_values_are_the_declared_ones(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("x,y", "NA,1", " - ,2", "b,3")

    by_default = snapshot(path).table.column("x").to_pylist()
    declared = snapshot(path, source={"nullValues": ["-"]}).table.column("x").to_pylist()

    assert set(by_default) == {None, "-", "b"}
    assert set(declared) == {None, "NA", "b"}


def test_values_that_do_not_fit_a_declared_type_are_quarantined(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("x,y", "1,yes", "no number,no", ",perhaps", "4,1")
    columns = [{"name": "x", "type": "Numeric"}, {"name": "y", "type": "Boolean"}]

    outcome = snapshot(path, schema={"columns": columns})

    assert outcome.record.quarantine.reasons == {"TypeMismatch": 2}
    assert sorted(row["text"] for row in outcome.quarantined) == ["no number", "perhaps"]
    assert {(row["x"], row["y"]) for row in outcome.clean} == {(1, True), (4, True)}


def test_whole_numbers_beyond_floats_stay_exact(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    table = snapshot(csv("x,y", "9007199254740993,1", "9007199254740992,2")).table

    assert set(table.column("x").to_pylist()) == {9007199254740993, 9007199254740992}


def test_a_missing_declared_column_fails_unless_optional(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    path = csv("x,y", "1,2")
    column = {"name": "z", "type": "Numeric"}

    assert snapshot(path, schema={"columns": [{**column, "required": False}]}).record
    with pytest.raises(RunFailure, match=r"spec\.schema\.columns\[name=z\]") as caught:
        snapshot(path, schema={"columns": [column]})
    assert caught.value.reason == "MissingColumn"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("customerID", "customer_id"),
        ("PassengerId", "passenger_id"),
        ("Unnamed: 0", "unnamed_0"),
        ("mean radius (mm)", "mean_radius_mm"),
        ("HTTPServer", "http_server"),
    ],
)
def test_names_are_split_into_words(name: str, words: str) -> None:
    assert words_of(name) == words


def test_every_column_says_why(snapshot: Callable[..., Any], csv: Callable[..., Path]) -> None:
    record = snapshot(csv("x,y,z", "1,a,true", "2,b,false")).record

    assert [column.reason for column in record.schema_] == [
        "all 2 values are numbers",
        "2 different values in 2",
        "all values are true or false",
    ]
