"""What an operator costs whose work is done: nothing is written, and all is looked at again soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .population import Population, Size, model_servers
from .running import OperatorProcess, Site, kubernetes_site, until

SAMPLE = Size(projects=3, experiments=8, deployments=3, monitors=3)
FULL = Size(projects=80, experiments=1000, deployments=100, monitors=100)
MIB = 1 << 20


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Site]:
    """A real etcd and kube-apiserver with our kinds."""
    with kubernetes_site(tmp_path) as found:
        if found is None:
            pytest.skip("no kube-apiserver is built, nor is Go installed to build it")
        yield found


def resync(site: Site, size: Size, patience: float) -> tuple[OperatorProcess, float]:
    """Start an operator that knows nothing; return it and how long it took to look at all."""
    start = time.monotonic()
    operator = site.operator()

    sizes = size.objects().items()
    knows_all = lambda: all(operator.knows(kind) == count for kind, count in sizes)  # noqa: E731
    until(knows_all, "it has heard of everything", patience)
    operator.catch_up(patience)
    for kind, count in sizes:
        assert operator.reconciles(kind) >= count
    return operator, time.monotonic() - start


def at_rest(population: Population, operator: OperatorProcess, patience: float) -> bool:
    """Return whether nothing was written while the operator did all that waited."""
    before = population.versions()
    operator.catch_up(patience)
    return population.versions() == before


@contextmanager
def settled(site: Site, size: Size, patience: float) -> Iterator[Population]:
    """Bring about a population whose runs have all ended."""
    site.install_backends()
    with model_servers() as servers:
        population = Population(site, size, servers)
        population.commit()
        first = site.operator()
        until(population.finish, "all is Ready", patience, pause=2.0)
        print(f"the operator that did all that: {first.resident(peak=True) / MIB:.0f} MiB at most")
        until(lambda: at_rest(population, first, patience), "nothing is written any more", patience)
        assert first.end() == 0
        expected = size.projects + size.experiments + size.deployments + size.monitors
        assert population.children() == expected
        yield population


def test_an_operator_that_starts_anew_where_all_is_done_writes_nothing(site: Any) -> None:
    with settled(site, SAMPLE, 240) as population:
        before = population.versions()
        operator, _ = resync(site, SAMPLE, 240)
        assert population.versions() == before
        assert operator.status_writes() == 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_experiments_of_eighty_projects_rest_in_little_memory(kubernetes: Site) -> None:
    with settled(kubernetes, FULL, 5400) as population:
        before = population.versions()
        operator, seconds = resync(kubernetes, FULL, 600)
        used = operator.cpu()
        resident = operator.resident(peak=True)
        print(f"{len(before)} objects; looked at again in {seconds:.1f} s, {used:.1f} s of CPU")
        assert population.versions() == before
        time.sleep(60)
        assert population.versions() == before, "nothing is written where nothing changes"
        assert operator.status_writes() == 0
        print(f"at rest: {operator.resident() / MIB:.0f} MiB, at most {resident / MIB:.0f} MiB")
        print(f"a minute of rest: {operator.cpu() - used:.1f} s of CPU")
        assert resident < 500 * MIB
        assert seconds < 60
