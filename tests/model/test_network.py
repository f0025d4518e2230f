"""A packed network predicts with NumPy alone, and its contributions add up."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from modelyard.api.identity import canonical_json
from modelyard_runtimes.model import ModelError, load_files
from modelyard_runtimes.model.network import Network

NUMBERS = {"fill": [0.0, 0.0], "mean": [0, 0], "scale": [1, 1]}
# One hidden unit is max(2a + b - 1, 0), the other max(-a, 0); the margin is h0 - 3 h1 + 0.5.
HIDDEN = np.array([[2.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
LAST = np.array([[1.0], [-3.0], [0.5]])
# With h0, h1 before their `max(., 0)`, the block adds max(h0 - h1, 0) to h0, and 1 to h1.
BLOCK = np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])


def packed(*layers: np.ndarray) -> bytes:
    stream = io.BytesIO()
    for layer in layers:
        np.save(stream, layer)
    return stream.getvalue()


def together(array: np.ndarray) -> np.ndarray:
    """Return an array of two networks, the second of which has twice the coefficients."""
    return np.stack([array, 2 * array])


def files(content: bytes, **changes: Any) -> dict[str, bytes]:
    names = ("a", "b")
    document = {
        "task": "Regression",
        "target": "y",
        "features": [{"name": name, "type": "Numeric", "required": True} for name in names],
        "encoders": [{"numeric": NUMBERS, "categorical": {"style": "OneHot", "levels": []}}],
        "members": [
            {
                "type": "MLP",
                "learner": "TorchMLP",
                "trial": 0,
                "weight": 1,
                "encoder": 0,
                "file": "members/0.npy",
            }
        ],
        **changes,
    }
    return {"model.json": canonical_json(document), "members/0.npy": content}


@pytest.mark.parametrize(
    ("a", "b", "margin"),
    [
        pytest.param(1, 0, 1.5, id="first unit active"),
        pytest.param(-2, 1, -5.5, id="second unit active"),
        pytest.param(0, 0, 0.5, id="none active"),
    ],
)
def test_a_packed_network_predicts_what_its_layers_say(a: float, b: float, margin: float) -> None:
    columns = {"a": [a], "b": [b]}
    values = load_files(files(packed(HIDDEN, LAST)))
    np.testing.assert_allclose(values.predict(columns), [margin], rtol=1e-12)
    task = {"task": "Classification", "classes": ["no", "yes"], "positiveLabel": "yes"}
    classes = load_files(files(packed(HIDDEN, LAST), **task))
    positive = 1 / (1 + np.exp(-margin))
    np.testing.assert_allclose(classes.predict(columns), [[1 - positive, positive]], rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "margin"),
    [
        # h = (1, -1), and (1 + 2, -1 + 1) behind the block.
        pytest.param(1, 0, 3.5, id="the block adds"),
        # h = (-4, 2), and (-4 + 0, 2 + 1) behind the block.
        pytest.param(-2, 1, -8.5, id="the block lets pass"),
    ],
)
def test_a_residual_block_adds_to_what_goes_by_it(a: float, b: float, margin: float) -> None:
    values = load_files(files(packed(HIDDEN, BLOCK, LAST)))
    np.testing.assert_allclose(values.predict({"a": [a], "b": [b]}), [margin], rtol=1e-12)


@pytest.mark.parametrize(
    ("hidden", "blocks"),
    [
        pytest.param(1, 0, id="one layer"),
        pytest.param(2, 0, id="two layers"),
        pytest.param(1, 1, id="a residual block"),
        pytest.param(2, 3, id="three residual blocks before a layer"),
    ],
)
def test_contributions_add_up_to_the_margin(hidden: int, blocks: int) -> None:
    generator = np.random.default_rng(1)
    sizes = [4, *[6] * hidden, 3]
    layers = [generator.normal(size=(inputs + 1, outputs)) for inputs, outputs in pairwise(sizes)]
    inside = [generator.normal(size=(2, 7, 6)) for _ in range(blocks)]
    network = Network(packed(layers[0], *inside, *layers[1:]), 4)
    rows = generator.normal(size=(20, 4))
    reference = rows.mean(axis=0, keepdims=True)
    found = network.contributions(np.vstack([rows, reference]), reference)
    np.testing.assert_allclose(found[:20].sum(axis=2), network.raw(rows), atol=1e-12)
    np.testing.assert_array_equal(found[20, :, :-1], 0)


def test_several_networks_predict_their_mean_and_so_do_their_contributions() -> None:
    arrays = (HIDDEN, BLOCK, LAST)
    both = Network(packed(*map(together, arrays)), 2)
    parts = [Network(packed(*arrays), 2), Network(packed(*(2 * one for one in arrays)), 2)]
    rows, reference = np.array([[1.0, 0.0], [-2.0, 1.0]]), np.array([[0.5, 0.5]])
    np.testing.assert_allclose(both.raw(rows), np.mean([one.raw(rows) for one in parts], axis=0))
    found = both.contributions(rows, reference)
    expected = np.mean([one.contributions(rows, reference) for one in parts], axis=0)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found.sum(axis=2), both.raw(rows))


def test_a_network_that_is_linear_between_both_rows_is_explained_exactly() -> None:
    network = Network(packed(HIDDEN, LAST), 2)
    found = network.contributions(np.array([[3.0, 2.0]]), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(found, [[[4.0, 1.0, 2.5]]])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"weights", id="no arrays"),
        pytest.param(packed(HIDDEN, LAST)[:-9], id="cut short"),
        pytest.param(packed(LAST, HIDDEN), id="layers that do not fit"),
        pytest.param(packed(HIDDEN, BLOCK), id="cut behind a block"),
        pytest.param(packed(BLOCK, LAST), id="a block in front"),
        pytest.param(packed(HIDDEN, BLOCK[:1], LAST), id="half a block"),
        pytest.param(packed(HIDDEN, BLOCK[:, :, :1], LAST), id="a block that does not fit"),
        pytest.param(packed(HIDDEN, BLOCK[0, 0], LAST), id="an array that is neither"),
        pytest.param(packed(HIDDEN, np.array(1.0), LAST), id="a number"),
        pytest.param(packed(HIDDEN[0], LAST), id="a row in front"),
        pytest.param(packed(together(HIDDEN), LAST), id="one network's end for two"),
        pytest.param(packed(together(HIDDEN), together(LAST)[:1]), id="an end for one of two"),
        pytest.param(packed(together(BLOCK), together(LAST)), id="blocks in front"),
        pytest.param(packed(together(HIDDEN)[:0], together(LAST)[:0]), id="no networks"),
    ],
)
def test_a_broken_network_is_refused_by_its_file(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"members/0\.npy"):
        load_files(files(content))
