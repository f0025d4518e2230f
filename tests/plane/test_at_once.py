"""Many Experiments applied at once: the operator beside a bare loop that makes the same writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .at_once import Cost, by_bare_loop, by_operator
from .running import OperatorProcess, Site, open_site

SAMPLE = 12
FULL = int(os.environ.get("MODELYARD_BENCH_COUNT", "1000"))


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[Site]:
    """A second API server, for the other side."""
    with closing(open_site(tmp_path / "other")) as found:
        yield found


def compare(site: Site, other_site: Site, count: int) -> tuple[Cost, Cost, OperatorProcess]:
    """Measure both sides; return also the operator, which still runs."""
    ours, operator = by_operator(site, count)
    print(f"\noperator: {ours}")
    bare = by_bare_loop(other_site, count)
    print(f"bare loop: {bare}")
    for cost in (ours, bare):
        assert (cost.children, cost.told, cost.events) == (count, count, count)
    return ours, bare, operator


def test_each_of_many_experiments_is_written_once_and_has_what_a_bare_loop_writes(
    site: Site, other_site: Site
) -> None:
    ours, bare, operator = compare(site, other_site, SAMPLE)
    assert ours.shape == bare.shape
    assert operator.metric('modelyard_status_writes_total{kind="Experiment"}') == SAMPLE + 1


@pytest.mark.soak
def test_no_event_of_many_experiments_is_answered_for_nothing(site: Site, other_site: Site) -> None:
    """On a busy machine one may be answered all the same; nothing is written for it."""
    _, _, operator = compare(site, other_site, SAMPLE)
    assert operator.reconciles("Experiment") == SAMPLE + 1


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_experiments_take_at_most_twice_what_a_bare_loop_takes(
    site: Site, other_site: Site
) -> None:
    ours, bare, _ = compare(site, other_site, FULL)
    of_all = (ours.worker + ours.server) / (bare.worker + bare.server)
    print(f"operator / bare loop: {ours.seconds / bare.seconds:.2f} of the time")
    print(f"{ours.worker / bare.worker:.2f} of the CPU alone, {of_all:.2f} with the API server's")
    assert of_all <= 2
