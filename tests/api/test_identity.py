"""Run identity, canonical JSON, artifact digests: what they depend on and what not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelyard.api.artifacts import FileEntry, Manifest, artifact_uri
from modelyard.api.dataset import DatasetSpec
from modelyard.api.experiment import ExperimentSpec
from modelyard.api.identity import (
    canonical_json,
    digest,
    model_version_name,
    run_identity,
)
from modelyard.api.meta import seconds
from modelyard.judge.identity import dataset_identity

BASE: dict[str, Any] = {
    "datasetRef": {"name": "cells"},
    "task": {"type": "Classification", "target": "label"},
}


def identity(change: dict[str, Any], fingerprint: str = "sha256:a", token: str = "") -> str:
    spec = ExperimentSpec.model_validate(BASE | change)
    return run_identity("Experiment", spec.shaping_fields(), fingerprint, token)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"description": "another"}, id="a description"),
        pytest.param({"suspend": True}, id="being suspended"),
        pytest.param({"deletionPolicy": "Delete"}, id="the deletion policy"),
        pytest.param({"execution": {"backend": "Ray"}}, id="the backend"),
        pytest.param({"run": {"cancel": True}}, id="a cancellation"),
        pytest.param({"resources": {"limits": {"cpu": 8, "gpu": 1}}}, id="what its pods ask for"),
        pytest.param({"execution": {"spot": "Prefer"}}, id="the nodes that it runs on"),
        pytest.param({"execution": {"parallelism": 2}}, id="the parallelism that it has anyway"),
        pytest.param({"search": {"trialTimeout": "1m"}}, id="the time a trial may take"),
        pytest.param({"seed": 42}, id="a default that is written out"),
    ],
)
def test_the_identity_does_not_depend_on(change: dict[str, Any]) -> None:
    assert identity(change) == identity({})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 1}, id="the seed"),
        pytest.param({"execution": {"parallelism": 1}}, id="the parallelism"),
        pytest.param({"search": {"trials": 7}}, id="the number of trials"),
        pytest.param({"task": BASE["task"] | {"metric": "f1"}}, id="the metric"),
        pytest.param(
            {"task": BASE["task"] | {"rareClasses": "Drop"}}, id="classes that are left out"
        ),
        pytest.param({"validation": {"folds": 3}}, id="the folds"),
        pytest.param({"fairness": {"sensitive": ["sex"]}}, id="sensitive columns"),
    ],
)
def test_the_identity_depends_on(change: dict[str, Any]) -> None:
    assert identity(change) != identity({})


def test_the_identity_depends_on_the_data_and_the_token() -> None:
    assert len({identity({}), identity({}, "sha256:b"), identity({}, token="2")}) == 3


def test_the_identity_of_a_snapshot_does_not_depend_on_what_its_pod_asks_for() -> None:
    manifest: dict[str, Any] = {"metadata": {"name": "cells"}}
    identities = {
        dataset_identity(
            manifest,
            DatasetSpec.model_validate({"source": {"builtin": "iris"}, "resources": resources}),
        )
        for resources in ({}, {"requests": {"memory": "4Gi"}})
    }
    assert len(identities) == 1


STORED = {
    "Experiment": "148c7889f1da85a7ec4221836596e290946874dfdb0d8289649c71622226ec0e",
    "Dataset": "5251a7a86b78c530201eb3a18303218e1cd2d90aca945f0fc22898ab2599e059",
}
"""Identities under which runs of a smallest spec are stored."""


def test_the_runs_of_earlier_versions_are_found() -> None:
    """A finished run is found by its identity: an upgrade that changes it would run all again.

    So a new field that shapes a result stays out of the identity while it has its default.
    """
    spec = DatasetSpec.model_validate({"source": {"builtin": "iris"}})
    assert {
        "Experiment": identity({}),
        "Dataset": dataset_identity({"metadata": {"name": "cells"}}, spec),
    } == STORED


def test_a_model_version_is_named_after_experiment_and_identity() -> None:
    assert model_version_name("churn", "0123456789abcdef") == "churn-0123456789"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    reordered = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(reordered)


def test_canonical_json_refuses_numbers_that_json_does_not_have() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"x": float("nan")})


def test_the_digest_of_an_artifact_does_not_depend_on_the_order_of_its_files() -> None:
    files = [FileEntry(path=name, size=1, digest=digest(name.encode())) for name in ("a", "b")]
    one = Manifest(media_type="modelyard/model.v1", files=files)
    other = Manifest(media_type="modelyard/model.v1", files=files[::-1])
    assert one.artifact_digest() == other.artifact_digest()
    assert one.size() == 2


def test_the_digest_of_an_artifact_depends_on_its_media_type() -> None:
    kinds = {Manifest(media_type=name, files=[]).artifact_digest() for name in ("a", "b")}
    assert len(kinds) == 2


def test_an_artifact_lies_in_the_store_under_its_digest() -> None:
    found = artifact_uri("s3://bucket/prefix/", "sha256:" + "0" * 64)
    assert found == "s3://bucket/prefix/artifacts/" + "0" * 64


@pytest.mark.parametrize(
    ("duration", "expected"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)]
)
def test_durations_are_read_in_seconds(duration: str, expected: int) -> None:
    assert seconds(duration) == expected
