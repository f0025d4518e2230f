"""How much an operator logs changes while it runs."""

from __future__ import annotations

import itertools
from typing import Any

from .running import until

DONE = "DEBUG modelyard.reconcile"


def test_the_level_follows_a_file_without_a_restart(site: Any) -> None:
    level = site.directory / "level"
    operator = site.operator("--log-level-file", str(level))
    descriptions = (f"change {number}" for number in itertools.count())

    def reconcile() -> None:
        """Let the operator have something to log about."""
        site.put("Project", "team", {"description": next(descriptions)})

    def logged() -> str:
        text: str = operator.log.read_text()
        return text

    reconcile()
    site.until_reason("Project", "team", "StoreReachable")
    assert DONE not in logged()

    level.write_text("debug\n")
    until(lambda: f"logging from DEBUG on, as {level} says" in logged(), "it is told")
    reconcile()
    until(lambda: DONE in logged(), "more is logged")

    level.write_text("LOUD")
    until(lambda: "'LOUD' is no level; write one of DEBUG, INFO" in logged(), "it is refused")

    level.write_text("INFO")
    until(lambda: "logging from INFO on" in logged(), "it is told again")
    count = logged().count(DONE)
    reconciles = operator.metric('modelyard_reconciles_total{kind="Project",result="success"}')
    reconcile()
    until(
        lambda: (
            operator.metric('modelyard_reconciles_total{kind="Project",result="success"}')
            > reconciles
        ),
        "it reconciles",
    )
    assert logged().count(DONE) == count
    assert operator.end() == 0
