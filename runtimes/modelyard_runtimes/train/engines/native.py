"""Engine Native: the portfolio and the declared sampler over the families of this package."""

from __future__ import annotations

from modelyard.api.experiment import Search

from modelyard_runtimes.train.engines.base import Engine
from modelyard_runtimes.train.learners.registry import LEARNERS
from modelyard_runtimes.train.sampler import Sampler, Start, open_sampler
from modelyard_runtimes.train.task import Goal


class NativeEngine(Engine):
    """Modelyard's own."""

    name = "Native"
    learners = LEARNERS

    def sampler(
        self,
        search: Search,
        goal: Goal,
        shape: tuple[int, int],
        start: Start,
    ) -> Sampler:
        """Return the declared algorithm over the declared space."""
        return open_sampler(search, goal, start)
