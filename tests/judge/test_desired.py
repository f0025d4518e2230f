"""Whether a live object is as desired."""

from typing import Any

import pytest
from modelyard.judge.desired import holds


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, id="a field that the server added"),
        pytest.param({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, id="within a list"),
        pytest.param({"cpu": "1"}, {"cpu": "1000m"}, id="another spelling of an amount"),
        pytest.param({"memory": "1Gi"}, {"memory": "1024Mi"}, id="another unit"),
    ],
)
def test_it_is_as_desired(live: Any, desired: Any) -> None:
    assert holds(live, desired)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        pytest.param(None, {"a": 1}, id="nothing is there"),
        pytest.param({}, {"a": 1}, id="a field is missing"),
        pytest.param({"a": 2}, {"a": 1}, id="another value"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, id="a list has more"),
        pytest.param({"a": [2, 1]}, {"a": [1, 2]}, id="a list in another order"),
        pytest.param({"a": "x"}, {"a": {"b": 1}}, id="another type"),
        pytest.param({"cpu": "2"}, {"cpu": "1000m"}, id="another amount"),
        pytest.param({"a": True}, {"a": "yes"}, id="no amount at all"),
    ],
)
def test_it_is_not_as_desired(live: Any, desired: Any) -> None:
    assert not holds(live, desired)
