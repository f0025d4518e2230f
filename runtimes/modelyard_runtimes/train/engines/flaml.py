"""Engine FLAML: its estimators over its search spaces, each searched by its CFO in turns."""

from __future__ import annotations

from modelyard.api.experiment import Search

from modelyard_runtimes.train.engines.base import Engine
from modelyard_runtimes.train.engines.family import families
from modelyard_runtimes.train.learners.base import FitRequest, Fitted
from modelyard_runtimes.train.sampler import Sampler, Start
from modelyard_runtimes.train.task import Goal


def _train(request: FitRequest) -> Fitted:
    # Only a process that fits such a model spends the time to load FLAML.
    from modelyard_runtimes.train.engines.flaml_training import train  # noqa: PLC0415

    return train(request)


class FlamlEngine(Engine):
    """FLAML: how many iterations a model has is one of its hyperparameters."""

    name = "FLAML"
    package = "flaml"
    extra = "flaml"
    learners = families(_train, "modelyard_runtimes.train.engines.flaml_training")

    def sampler(
        self,
        search: Search,
        goal: Goal,
        shape: tuple[int, int],
        start: Start,
    ) -> Sampler:
        """Return FLAML's search of each declared family."""
        from modelyard_runtimes.train.engines.flaml_search import FlamlSampler  # noqa: PLC0415

        return FlamlSampler(search, goal, shape)
