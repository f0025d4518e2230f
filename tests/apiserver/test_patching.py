"""The kinds of patches, and what a cell of a table shows."""

from typing import Any

import pytest
from modelyard.embedded.apiserver import patching, tables
from modelyard.embedded.apiserver.core import BUILTIN
from modelyard.embedded.apiserver.errors import ApiError
from modelyard.embedded.apiserver.resources import Column

DEPLOYMENT = next(resource for resource in BUILTIN if resource.plural == "deployments")
META = DEPLOYMENT.schema

MERGES = [
    pytest.param({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}, id="adds"),
    pytest.param({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}, id="removes"),
    pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="replaces lists"),
    pytest.param({"a": 1}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}, id="replaces scalars"),
]


@pytest.mark.parametrize(("target", "patch", "wanted"), MERGES)
def test_merge_patch(target: Any, patch: Any, wanted: Any) -> None:
    assert patching.merge_patch(target, patch) == wanted


def metadata(**fields: Any) -> dict[str, Any]:
    return {"metadata": fields}


STRATEGIC = [
    pytest.param(
        metadata(labels={"a": "1", "b": "2"}),
        metadata(labels={"b": None, "c": "3"}),
        metadata(labels={"a": "1", "c": "3"}),
        id="maps merge",
    ),
    pytest.param(
        metadata(finalizers=["a/x"]),
        metadata(finalizers=["a/x", "b/y"]),
        metadata(finalizers=["a/x", "b/y"]),
        id="sets add up",
    ),
    pytest.param(
        metadata(finalizers=["a/x", "b/y"]),
        metadata(**{"$deleteFromPrimitiveList/finalizers": ["a/x"]}),
        metadata(finalizers=["b/y"]),
        id="items of sets are deleted",
    ),
    pytest.param(
        metadata(ownerReferences=[{"uid": "1", "name": "a"}]),
        metadata(
            ownerReferences=[{"uid": "1", "name": "b"}, {"uid": "2", "name": "c"}],
            **{"$setElementOrder/ownerReferences": [{"uid": "1"}, {"uid": "2"}]},
        ),
        metadata(ownerReferences=[{"uid": "1", "name": "b"}, {"uid": "2", "name": "c"}]),
        id="lists merge by key",
    ),
    pytest.param(
        metadata(labels={"a": "1"}),
        metadata(labels={"$patch": "replace", "b": "2"}),
        metadata(labels={"b": "2"}),
        id="maps are replaced",
    ),
    pytest.param(
        metadata(labels={"a": "1"}),
        metadata(labels={"$patch": "delete"}),
        metadata(labels={}),
        id="maps are emptied",
    ),
    pytest.param(
        {"spec": {"strategy": {"type": "A", "rolling": {}}}},
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "B"}}},
        {"spec": {"strategy": {"type": "B"}}},
        id="keys are retained",
    ),
]


@pytest.mark.parametrize(("target", "patch", "wanted"), STRATEGIC)
def test_strategic_patch(target: Any, patch: Any, wanted: Any) -> None:
    assert patching.strategic_patch(target, patch, META) == wanted


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        pytest.param({"op": "add"}, 400, id="no list"),
        pytest.param([{"op": "odd", "path": "/a"}], 400, id="unknown operation"),
        pytest.param([{"op": "replace", "path": "/x/y", "value": 1}], 422, id="no such place"),
        pytest.param([{"op": "test", "path": "/a", "value": 2}], 422, id="failing test"),
    ],
)
def test_json_patches_that_are_refused(patch: Any, code: int) -> None:
    with pytest.raises(ApiError) as refusal:
        patching.json_patch({"a": 1}, patch)

    assert refusal.value.code == code


def test_a_json_patch_leaves_its_target_alone() -> None:
    target = {"a": [1]}

    assert patching.json_patch(target, [{"op": "add", "path": "/a/-", "value": 2}]) == {"a": [1, 2]}
    assert target == {"a": [1]}


CELLS = [
    ("string", "text", "text"),
    ("string", True, "true"),
    ("string", 1.5, "1.5"),
    ("string", ["a", 1], '["a",1]'),
    ("string", {"b": 1, "a": [True]}, '{"a":[true],"b":1}'),
    ("string", ["<é&>"], r'["\u003cé\u0026\u003e"]'),
    ("string", None, None),
    ("integer", 3, 3),
    ("date", None, None),
    ("date", "nonsense", "<invalid>"),
]


@pytest.mark.parametrize(("kind", "value", "shown"), CELLS)
def test_cells_show_values(kind: str, value: Any, shown: Any) -> None:
    column = Column("X", kind, lambda item: item["x"])
    item = {"metadata": {"name": "n"}, "x": value}

    # A resource with just this column.
    resource = type(DEPLOYMENT)(
        group="", version="v1", plural="xs", singular="x", kind="X", namespaced=True,
        schema={"type": "object"}, storage="xs", columns=(column,),
    )  # fmt: skip
    rows = tables.table(resource, [item], "None", {})["rows"]

    assert rows == [{"cells": ["n", shown]}]
