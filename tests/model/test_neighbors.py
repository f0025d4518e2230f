"""Stored rows vote as scikit-learn's do, alone as in company, and what they say is explained."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from modelyard.api.identity import canonical_json
from modelyard_runtimes.model import ModelError, load_files
from modelyard_runtimes.model.format import MemberDocument, Votes
from modelyard_runtimes.model.neighbors import PRODUCTS, Neighbors
from modelyard_runtimes.model.packed import parse
from modelyard_runtimes.model.rows import RowPredictor
from modelyard_runtimes.model.schema import Floats
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

NUMBERS = {"fill": [0.0, 0.0], "mean": [0, 0], "scale": [1, 1]}
WEIGHTINGS = ("Uniform", "Distance")


def packed(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def neighbors(rows: Floats, outputs: Floats, count: int, weighting: str) -> Neighbors:
    """Return stored rows, each with a vote of weight 1."""
    votes = Votes.model_validate({"neighbors": count, "weighting": weighting})
    content = packed(np.column_stack([rows, outputs, np.ones(len(rows))]))
    return Neighbors(content, rows.shape[1], votes)


def random_rows(count: int, columns: int = 6, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, columns))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("count", [1, 7, 200])
@pytest.mark.parametrize("classes", [2, 3])
def test_classes_have_the_shares_that_scikit_learn_finds(
    classes: int, count: int, weighting: str
) -> None:
    rows, unseen = random_rows(500), random_rows(300, seed=2)
    target = np.digitize(rows[:, 0], [0.0, 0.7][: classes - 1])
    outputs = np.eye(classes)[target] if classes > 2 else target[:, None]
    own = neighbors(rows, outputs, count, weighting)
    peer = KNeighborsClassifier(count, weights=weighting.lower()).fit(rows, target)
    expected = peer.predict_proba(unseen)
    assert own.outputs == outputs.shape[1]
    np.testing.assert_allclose(own.predict(unseen), expected[:, -own.outputs :], atol=1e-12)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("count", [1, 7, 200])
def test_values_are_those_that_scikit_learn_finds(count: int, weighting: str) -> None:
    rows, unseen = random_rows(500), random_rows(300, seed=2)
    target = rows[:, 0] + rows[:, 1] ** 2
    own = neighbors(rows, target, count, weighting)
    peer = KNeighborsRegressor(count, weights=weighting.lower()).fit(rows, target)
    np.testing.assert_allclose(own.predict(unseen)[:, 0], peer.predict(unseen), atol=1e-12)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(
    "digits", [pytest.param(8, id="rows apart"), pytest.param(0, id="many rows equally near")]
)
def test_a_row_alone_gets_bit_for_bit_what_it_gets_among_thousands(
    digits: int, weighting: str
) -> None:
    rows, unseen = random_rows(700).round(digits), random_rows(5000, seed=2).round(digits)
    assert len(unseen) > 2 * (PRODUCTS // len(rows)), "they are looked at in several parts"
    own = neighbors(rows, rows[:, 0] * rows[:, 1], 9, weighting)
    together = own.predict(unseen)
    alone = np.vstack([own.predict(row[None]) for row in unseen])
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(own.predict(unseen[::-3]), together[::-3])


@pytest.mark.parametrize("offset", [0.0, 1e6], ids=["about zero", "far from zero"])
def test_no_rounding_of_fast_distances_changes_who_is_nearest(offset: float) -> None:
    """Far from zero squares have lost all digits that tell these rows apart."""
    rows, unseen = random_rows(400) + offset, random_rows(50, seed=2) + offset
    own = neighbors(rows, np.arange(400.0), 1, "Uniform")
    squares = np.square(unseen[:, None] - rows[None]).sum(axis=2)
    np.testing.assert_array_equal(own.predict(unseen)[:, 0], squares.argmin(axis=1))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(1, 10.0, id="the first of equals"),
        pytest.param(2, 15.0, id="the first two of equals"),
        pytest.param(9, 100 / 4, id="all where fewer are stored"),
    ],
)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_of_rows_equally_near_the_first_come_first(
    count: int, expected: float, weighting: str
) -> None:
    rows = np.array([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0], [0.0, 1.0]])
    own = neighbors(rows, np.array([10.0, 20.0, 30.0, 40.0]), count, weighting)
    assert own.predict(np.zeros((1, 2)))[0, 0] == expected


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [pytest.param("Distance", 15.0, id="alone"), pytest.param("Uniform", 20.0, id="as any other")],
)
def test_rows_that_match_exactly_decide(weighting: str, expected: float) -> None:
    rows = np.array([[1.0], [1.0], [1.5]])
    own = neighbors(rows, np.array([10.0, 20.0, 30.0]), 3, weighting)
    assert own.predict(np.array([[1.0]]))[0, 0] == expected


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        pytest.param("Uniform", 3 / 4, id="by weight"),
        # Distances 1 and 2: 1 / 1 against 3 / 2.
        pytest.param("Distance", 1.5 / 2.5, id="by weight over distance"),
    ],
)
def test_votes_count_by_the_weight_of_their_row(weighting: str, expected: float) -> None:
    content = packed(np.array([[1.0, 0.0, 1.0], [-2.0, 1.0, 3.0], [9.0, 1.0, 50.0]]))
    own = Neighbors(content, 1, Votes.model_validate({"neighbors": 2, "weighting": weighting}))
    assert own.predict(np.zeros((1, 1)))[0, 0] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("huge", [1e160, -1e308, np.inf], ids="{:g}".format)
def test_a_column_of_any_size_gets_a_finite_prediction(huge: float, weighting: str) -> None:
    rows = random_rows(50)
    own = neighbors(rows, rows[:, 0], 5, weighting)
    asked = np.array([[0.0, huge, 0.0, 0.0, 0.0, 0.0]])
    found = own.predict(np.vstack([asked, rows[:1]]))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[1:], own.predict(rows[:1]))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_contributions_add_up_to_the_prediction(outputs: int, weighting: str) -> None:
    rows, unseen = random_rows(300), random_rows(20, seed=2)
    own = neighbors(rows, random_rows(300, outputs, seed=3), 5, weighting)
    reference = rows.mean(axis=0, keepdims=True)
    unseen[:5, 2:] = reference[:, 2:]
    found = own.contributions(np.vstack([unseen, reference]), reference)
    assert found.shape == (21, outputs, 7)
    np.testing.assert_allclose(found[:20].sum(axis=2), own.predict(unseen), atol=1e-9)
    np.testing.assert_array_equal(found[:5, :, 2:6], 0)
    np.testing.assert_array_equal(found[20, :, :-1], 0)
    np.testing.assert_array_equal(found[3:4], own.contributions(unseen[3:4], reference))


def test_contributions_of_more_columns_than_turn_together_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, unseen = random_rows(100), random_rows(5, seed=2)
    own = neighbors(rows, rows[:, 0], 5, "Distance")
    reference = rows.mean(axis=0, keepdims=True)
    found = own.contributions(unseen, reference)
    monkeypatch.setattr("modelyard_runtimes.model.neighbors.TURNS", 4)
    np.testing.assert_array_equal(own.contributions(unseen, reference), found)


def test_a_column_without_a_say_in_who_is_near_adds_nothing_and_twins_share() -> None:
    generator = np.random.default_rng(4)
    rows = np.column_stack([generator.normal(size=300), np.zeros(300), np.zeros(300)])
    rows[:, 2] = rows[:, 0]
    own = neighbors(rows, rows[:, 0], 1, "Uniform")
    (values,) = own.contributions(np.array([[1.0, 3.0, 1.0]]), np.zeros((1, 3)))
    assert values[0, 1] == pytest.approx(0, abs=1e-12)
    assert values[0, 0] == pytest.approx(values[0, 2])
    assert values[0, 0] == pytest.approx(0.5, abs=0.1)


VOTES = {"neighbors": 1, "weighting": "Uniform"}


def files(content: bytes, **changes: Any) -> dict[str, bytes]:
    member = {
        "type": "Neighbors",
        "learner": "KNeighbors",
        "trial": 0,
        "weight": 1,
        "encoder": 0,
        "votes": VOTES,
        "file": "members/0.npy",
        **changes,
    }
    document = {
        "task": "Classification",
        "target": "y",
        "classes": ["no", "yes"],
        "positiveLabel": "yes",
        "features": [{"name": name, "type": "Numeric", "required": True} for name in "ab"],
        "encoders": [{"numeric": NUMBERS, "categorical": {"style": "OneHot", "levels": []}}],
        "members": [member],
    }
    return {"model.json": canonical_json(document), "members/0.npy": content}


# Columns a and b, the share of the positive class, the weight.
STORED = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])


def test_a_packed_model_predicts_one_row_as_many() -> None:
    model = RowPredictor(parse(files(packed(STORED))))
    assert model.single is None
    rows = [[0.2, 0.1], [0.9, 0.8]]
    assert model.values(rows) == [[1, 0], [0, 1]]
    assert [model.values([row])[0] for row in rows] == [[1, 0], [0, 1]]


def test_only_neighbours_say_in_the_document_how_they_vote() -> None:
    fields = {"learner": "", "trial": 0, "weight": 1, "encoder": 0, "file": ""}
    plain = MemberDocument.model_validate({**fields, "type": "Linear"})
    voting = MemberDocument.model_validate({**fields, "type": "Neighbors", "votes": VOTES})
    assert "votes" not in plain.model_dump(mode="json", by_alias=True)
    assert voting.model_dump(mode="json", by_alias=True)["votes"] == VOTES


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"rows", {}, id="no array"),
        pytest.param(packed(STORED)[:-9], {}, id="cut short"),
        pytest.param(packed(STORED[0]), {}, id="one dimension"),
        pytest.param(packed(STORED[:0]), {}, id="no rows"),
        pytest.param(packed(STORED[:, 1:]), {}, id="a column too few"),
        pytest.param(packed(STORED * np.nan), {}, id="missing numbers"),
        pytest.param(packed(STORED * [1, 1, 1, 0]), {}, id="votes without weight"),
        pytest.param(packed(np.array([["a"] * 4])), {}, id="texts"),
        pytest.param(packed(STORED), {"votes": None}, id="no word about votes"),
    ],
)
def test_broken_rows_are_refused_by_their_file(content: bytes, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"members/0\.npy"):
        load_files(files(content, **changes))
