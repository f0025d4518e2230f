"""The packed model predicts what its files say, and nothing is needed but NumPy and LightGBM."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from modelyard_runtimes.model import Model, ModelError, load, load_files
from modelyard_runtimes.model.packed import parse
from modelyard_runtimes.model.single import SingleRow


def array(*shape: int) -> bytes:
    """Return an array in NumPy's own format that lacks all of its numbers."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


UNCLOSED = b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': (      "
FIELDS = array(3, 1).replace(b"'<f8'", b"[('a', '<i4')]") + bytes(12)


def sigmoid(value: float) -> float:
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize(
    ("row", "margins"),
    [
        pytest.param({"size": 5, "member": False, "colour": "red"}, (-1, 1.0), id="all known"),
        pytest.param({"size": 15, "member": True, "colour": "blue"}, (1, 1.0), id="other side"),
        pytest.param({"size": 5, "member": None, "colour": "red"}, (-1, 2.0), id="null imputed"),
        pytest.param(
            {"size": 5, "member": False, "colour": "mauve"}, (-1, 0.25), id="unknown category"
        ),
        pytest.param({"size": 5, "member": False, "colour": None}, (-1, -0.5), id="no category"),
        pytest.param({"size": None, "member": False, "colour": "red"}, (1, 1.0), id="NaN in tree"),
    ],
)
def test_a_row_gets_the_weighted_mean_of_the_members(
    model: Model, row: dict[str, object], margins: tuple[float, float]
) -> None:
    predicted = model.predict({name: [value] for name, value in row.items()})
    positive = (sigmoid(margins[0]) + sigmoid(margins[1])) / 2
    np.testing.assert_allclose(predicted, [[1 - positive, positive]], rtol=1e-12)


def test_rows_predict_alone_as_they_do_together(model: Model) -> None:
    columns = {
        "size": [1.0, 11.0, None],
        "member": [True, None, False],
        "colour": ["red", "green", None],
    }
    together = model.predict(columns)
    alone = [
        model.predict({name: [values[row]] for name, values in columns.items()}) for row in range(3)
    ]
    np.testing.assert_array_equal(together, np.vstack(alone))
    np.testing.assert_array_equal(together, model.predict(pa.table(columns)))


def test_a_column_that_may_be_missing_can_be_left_out(model: Model) -> None:
    left_out = model.predict({"size": [3.0]})
    given = model.predict({"size": [3.0], "member": [None], "colour": [None]})
    np.testing.assert_array_equal(left_out, given)


def test_labels_follow_the_threshold(model: Model) -> None:
    assert model.labels(np.array([[0.5, 0.5], [0.51, 0.49]])) == ["yes", "no"]


def test_a_row_alone_is_as_sure_as_among_many(packed: dict[str, bytes]) -> None:
    conformal = b'"conformal":{"coverage":0.9,"radius":0.7},'
    document = packed["model.json"].replace(b'"encoders":', conformal + b'"encoders":', 1)
    model = load_files({**packed, "model.json": document})
    found = model.document.conformal
    assert found is not None
    probabilities = np.random.default_rng(3).dirichlet([1.0] * 2, 1000)
    probabilities[:2] = [[0.7, 0.3], [0.3, 0.7]]
    assert model.are_plausible(probabilities).tolist() == [
        found.plausible(row, position)
        for row, position in zip(probabilities.tolist(), model.chosen(probabilities), strict=True)
    ]
    lower, upper = model.interval(probabilities[:, 0])
    ends = [found.interval(value) for value in probabilities[:, 0].tolist()]
    assert list(zip(lower.tolist(), upper.tolist(), strict=True)) == ends


def test_no_rows_give_no_predictions(model: Model) -> None:
    assert model.predict({"size": [], "member": [], "colour": []}).shape == (0, 2)


def test_a_folder_loads_like_its_files(tmp_path: Path, packed: dict[str, bytes]) -> None:
    for path, content in packed.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "manifest.json").write_text("{}")
    model = load(tmp_path)
    assert model.document.privacy == {"member": "Mask"}
    assert model.document.never_logged == ["size"]
    assert model.predict({"size": [1]}).shape == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"model.json": None}, "there is no model.json", id="no document"),
        pytest.param({"model.json": b"{"}, "not a modelyard/model.v1", id="no JSON"),
        pytest.param({"model.json": b"{}"}, "not a modelyard/model.v1", id="another document"),
        pytest.param({"members/0.txt": None}, "members/0.txt", id="member missing"),
        pytest.param({"members/0.txt": b"tree\n"}, "LightGBM", id="trees cut short"),
        pytest.param({"members/1.npy": b"hello"}, r"members/1\.npy", id="no array"),
        pytest.param({"members/1.npy": b"PK\x03\x04"}, r"members/1\.npy", id="an archive"),
        pytest.param({"members/1.npy": UNCLOSED}, r"members/1\.npy", id="a head without an end"),
        pytest.param({"members/1.npy": FIELDS}, r"members/1\.npy", id="rows of fields"),
        pytest.param({"members/1.npy": array(3, 1)}, r"members/1\.npy", id="an array cut short"),
        pytest.param({"members/1.npy": array(3 * 10**12, 1)}, r"members/1\.npy", id="more numbers than memory holds"),
        pytest.param({"model.json": b"[" * 200_000}, "not a modelyard/model.v1", id="nested deeply"),
    ],
)  # fmt: skip
def test_a_broken_model_is_refused_by_whoever_opens_it(
    packed: dict[str, bytes], change: dict[str, bytes | None], message: str
) -> None:
    files = {path: content for path, content in {**packed, **change}.items() if content is not None}
    with pytest.raises(ModelError, match=message):
        load_files(files)
    with pytest.raises(ModelError, match=message):
        SingleRow(parse(files))


def test_an_encoder_that_is_not_there_is_missed(packed: dict[str, bytes]) -> None:
    document = packed["model.json"].replace(b'"encoder":1', b'"encoder":7')
    with pytest.raises(ModelError, match=r"members/1\.npy, which is not in the model"):
        parse({**packed, "model.json": document})


def test_coefficients_must_fit_the_encoder(packed: dict[str, bytes]) -> None:
    document = packed["model.json"].replace(b'"encoder":1', b'"encoder":0')
    with pytest.raises(ModelError, match=r"members/1\.npy"):
        load_files({**packed, "model.json": document})


def test_loading_needs_no_training_library() -> None:
    code = (
        "import sys, modelyard_runtimes.model; from modelyard_runtimes.model.trees import library;"
        "library();"
        "print([m for m in ('sklearn', 'pandas', 'scipy', 'lightgbm', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
