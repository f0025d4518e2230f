"""Values: each is described and used, and what is wrong is refused with its path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .conftest import CHART, Render

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]\w*):")


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every value in the schema."""
    for name, child in schema.get("properties", {}).items():
        if child.get("properties") and name != "resources":
            yield from leaves(child, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def described() -> set[str]:
    """Return the paths of the keys in values.yaml that a comment stands above."""
    found, stack, commented = set(), [], False
    for line in (CHART / "values.yaml").read_text().splitlines():
        match = KEY.match(line)
        if match is None:
            commented = line.lstrip().startswith("#") or (commented and bool(line.strip()))
            continue
        depth = len(match["indent"]) // 2
        stack = [*stack[:depth], match["key"]]
        if commented:
            found.add(".".join(stack))
        commented = False
    return found


LEAVES = sorted(leaves(SCHEMA))


def test_the_schema_and_the_defaults_have_the_same_values() -> None:
    def of(values: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, value in values.items():
            child = schema["properties"][name]
            if child.get("properties") and name != "resources":
                yield from of(value, child, f"{path}{name}.")
            else:
                yield f"{path}{name}"

    assert sorted(of(VALUES, SCHEMA, "")) == sorted(leaves(SCHEMA))


@pytest.mark.parametrize("path", LEAVES)
def test_every_value_is_described(path: str) -> None:
    assert path in described()


@pytest.mark.parametrize("path", LEAVES)
def test_every_value_is_used_by_a_template(path: str) -> None:
    templates = "".join(p.read_text() for p in sorted(CHART.glob("templates/**/*")) if p.is_file())
    used = set(re.findall(r"\.Values\.([A-Za-z.]+)", templates))
    names = path.split(".")
    parents = {".".join(names[:length]) for length in range(1, len(names) + 1)}
    image = names[-1] in ("registry", "repository", "tag", "digest")
    assert used & parents or (image and "$image." + names[-1] in templates)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-value": ({"replicaCount": 2}, "replicaCount"),
    "unknown-nested-value": ({"image": {"name": "x"}}, "/image"),
    "no-replica": ({"replicas": 0}, "/replicas"),
    "replicas-as-text": ({"replicas": "two"}, "/replicas"),
    "too-many-replicas": ({"replicas": 50}, "/replicas"),
    "store-without-scheme": ({"artifactStore": {"uri": "models"}}, "/artifactStore/uri"),
    "store-over-http": ({"artifactStore": {"uri": "http://x"}}, "/artifactStore/uri"),
    "pull-policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "runtime-pull-policy": ({"runtime": {"pullPolicy": "always"}}, "/runtime/pullPolicy"),
    "digest": ({"image": {"digest": "sha256:1"}}, "/image/digest"),
    "repository": ({"runtime": {"image": {"repository": "Up Per"}}}, "/runtime/image/repository"),
    "log-level": ({"log": {"level": "LOUD"}}, "/log/level"),
    "log-format": ({"log": {"format": "xml"}}, "/log/format"),
    "prometheus": ({"autoscaling": {"prometheusUrl": "prom:9090"}}, "/autoscaling/prometheusUrl"),
    "namespaces-as-text": ({"watchNamespaces": "cells"}, "/watchNamespaces"),
    "namespace-twice": ({"watchNamespaces": ["a", "a"]}, "/watchNamespaces"),
    "namespace-name": ({"watchNamespaces": ["Cells"]}, "/watchNamespaces/0"),
    "memory": ({"resources": {"limits": {"memory": "lots"}}}, "/resources/limits/memory"),
    "opa-without-token": ({"opa": {"enabled": True}}, "/opa/tokenSecret/name"),
    "port": ({"networkPolicy": {"egressPorts": [70000]}}, "/networkPolicy/egressPorts/0"),
    "no-port": ({"networkPolicy": {"egressPorts": []}}, "/networkPolicy/egressPorts"),
    "interval": ({"serviceMonitor": {"interval": "often"}}, "/serviceMonitor/interval"),
    "runbook": ({"prometheusRule": {"runbookUrl": "page"}}, "/prometheusRule/runbookUrl"),
    "keep-as-text": ({"crds": {"keep": "yes"}}, "/crds/keep"),
    "label-as-number": ({"commonLabels": {"a": 1}}, "/commonLabels/a"),
    "variable-without-name": ({"extraEnv": [{"value": "x"}]}, "/extraEnv/0"),
    "grace": ({"terminationGracePeriodSeconds": 0}, "/terminationGracePeriodSeconds"),
}


@pytest.mark.parametrize(("values", "path"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_refused_by_its_path(
    render: Render, values: dict[str, Any], path: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(path)):
        render(values)


def test_a_service_account_of_ones_own_must_be_named(render: Render) -> None:
    with pytest.raises(ValueError, match=r"serviceAccount\.name is needed"):
        render({"serviceAccount": {"create": False}})
