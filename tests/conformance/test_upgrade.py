"""From the definitions of an earlier version to the present ones and back, with objects stored."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from modelyard.api.kinds import KINDS
from modelyard.api.meta import GROUP

from .conftest import NAMESPACE, ROOT, Cluster, Json, manifest, runs
from .test_lifecycle import OUR_KINDS, noticed

pytestmark = pytest.mark.timeout(900)
PRESENT: list[Json] = [
    yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))
]
OLD_MONITOR = {"deploymentRef": {"name": NAMESPACE}, "drift": {"threshold": 0.3}, "interval": "5s"}
NEW_MONITOR = OLD_MONITOR | {"drift": {"threshold": {"ks": 0.3}}}
ADDED: dict[str, tuple[str, ...]] = {
    "Project": ("networkPolicy", "scheduling"),
    "Dataset": ("resources", "suspend"),
    "Experiment": ("resources", "schedule"),
    "Deployment": ("canary", "gateway", "resources", "workers"),
    "Monitor": ("resources", "report"),
}
"""Fields that the earlier version does not have, by kind; one of them has a default."""


def earlier() -> list[Json]:
    """Return the definitions of an earlier version: fewer fields, and one of another type."""
    found = copy.deepcopy(PRESENT)
    for crd in found:
        kind = crd["spec"]["names"]["kind"]
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        spec, added = schema["spec"], ADDED.get(kind, ())
        properties = spec["properties"]
        for name in added:
            properties.pop(name)
        rules = spec.get("x-kubernetes-validations", [])
        spec["x-kubernetes-validations"] = [
            rule for rule in rules if not any(f"self.{name}" in rule["rule"] for name in added)
        ]
        schema["status"]["properties"].pop("history", None)
        if kind == "Monitor":
            drift = properties["drift"]
            drift["default"] = {"threshold": 0.2}
            drift["properties"]["threshold"] = {"type": "number", "default": 0.2}
            for name in ("metrics", "reference"):
                del drift["properties"][name]
    return found


def define(cluster: Cluster, definitions: list[Json]) -> None:
    """Apply definitions and wait until they are in force."""
    text = yaml.safe_dump_all(definitions)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    has_resources = definitions is PRESENT
    cluster.until(
        lambda: ("resources" in specs(cluster)[f"Monitor/{NAMESPACE}"]) == has_resources,
        "the definitions are in force",
    )


def specs(cluster: Cluster) -> dict[str, Json]:
    """Return the specs of our objects as the API server shows them now."""
    found = cluster.items(OUR_KINDS, NAMESPACE)
    return {f"{one['kind']}/{one['metadata']['name']}": one.get("spec", {}) for one in found}


def generations(cluster: Cluster) -> dict[str, int]:
    found = cluster.items(OUR_KINDS, NAMESPACE)
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["generation"] for one in found
    }


def holds(present: Any, stored: Any) -> bool:
    """Return whether all that was stored is there unchanged."""
    if isinstance(stored, dict):
        return isinstance(present, dict) and all(
            name in present and holds(present[name], value) for name, value in stored.items()
        )
    return bool(present == stored)


@pytest.fixture(scope="module")
def upgraded(iris: Cluster) -> Iterator[tuple[Cluster, dict[str, Json]]]:
    """The cluster after an upgrade, and the specs as the earlier version stored them."""
    started, generation = runs(iris), generations(iris)
    iris.stop("operator")
    define(iris, earlier())
    for name in ("kept", "dropped"):
        iris.apply(manifest("Monitor", name, OLD_MONITOR))
    stored = specs(iris)
    define(iris, PRESENT)
    iris.start_operator()
    for name in ("kept", "dropped"):
        iris.until(
            lambda name=name: (
                iris.condition("Monitor", name, NAMESPACE).get("reason") == "InvalidSpec"
            ),
            f"{name} is called invalid",
        )
    noticed(iris)
    assert runs(iris) == started, "nothing ran again"
    assert holds(generations(iris), generation), "nobody wrote a spec"
    yield iris, stored
    iris.kubectl("delete", "mmon", "kept", "dropped", "-n", NAMESPACE, "--ignore-not-found")


def test_stored_specs_are_kept_and_all_but_the_old_shape_is_ready(upgraded: Any) -> None:
    cluster, stored = upgraded
    present = specs(cluster)
    assert {name for name, spec in stored.items() if not holds(present[name], spec)} <= {
        f"Monitor/{NAMESPACE}"
    }
    for kind in ("Project", "Dataset", "Experiment", "Deployment", "Monitor"):
        assert cluster.condition(kind, NAMESPACE, NAMESPACE)["status"] == "True", kind


def test_the_old_shape_is_named_with_the_next_step(upgraded: Any) -> None:
    cluster, _ = upgraded
    message = cluster.condition("Monitor", "kept", NAMESPACE)["message"]
    assert message.startswith("spec.drift.threshold: must be a mapping of fields; ")
    assert "`kubectl replace`" in message
    command = message.split("`")[1].removeprefix("kubectl ")
    assert "ks" in cluster.kubectl(*command.split())


def test_what_is_said_to_help_does(upgraded: Any) -> None:
    cluster, _ = upgraded
    text = json.dumps(manifest("Monitor", "kept", NEW_MONITOR))
    apply = ("apply", "--server-side", "--field-manager=git", "-f", "-")
    refused = cluster.kubectl(*apply, stdin=text, status=1)
    assert ".spec.drift.threshold: expected map, got" in refused
    cluster.kubectl("replace", "-f", "-", stdin=text)
    cluster.kubectl(*apply, stdin=text)
    cluster.until(
        lambda: cluster.condition("Monitor", "kept", NAMESPACE).get("reason") == "Watching",
        "the Monitor watches",
    )


def test_the_old_shape_can_be_deleted(upgraded: Any) -> None:
    cluster, _ = upgraded
    cluster.kubectl("delete", "mmon", "dropped", "-n", NAMESPACE, "--timeout=60s")


def test_going_back_finds_the_specs_of_before_and_starts_nothing(upgraded: Any) -> None:
    cluster, stored = upgraded
    started = runs(cluster)
    cluster.stop("operator")
    define(cluster, earlier())
    back = specs(cluster)
    unchanged = [name for name in stored if not name.startswith("Monitor/")]
    assert {name: json.dumps(back[name]) for name in unchanged} == {
        name: json.dumps(stored[name]) for name in unchanged
    }
    for kind in KINDS:
        # What an operator of that version does: it writes statuses.
        patch = json.dumps({"status": {"sourceRevision": "earlier"}})
        for name in [one.split("/")[1] for one in back if one.startswith(f"{kind.kind}/")][:1]:
            cluster.kubectl("patch", f"{kind.plural}.{GROUP}", name, "-n", NAMESPACE,
                            "--subresource=status", "--type=merge", "-p", patch)  # fmt: skip
    define(cluster, PRESENT)
    cluster.start_operator()
    noticed(cluster)
    assert runs(cluster) == started
