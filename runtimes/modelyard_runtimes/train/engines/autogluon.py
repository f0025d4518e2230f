"""Engine AutoGluon: the configurations of its portfolio, fitted by its models."""

from __future__ import annotations

from modelyard.api.experiment import Search

from modelyard_runtimes.train.engines.base import Engine
from modelyard_runtimes.train.engines.family import families
from modelyard_runtimes.train.learners.base import FitRequest, Fitted
from modelyard_runtimes.train.sampler import GridSampler, Sampler, Start
from modelyard_runtimes.train.task import Goal


def _train(request: FitRequest) -> Fitted:
    # Only a process that fits such a model spends the time to load AutoGluon.
    from modelyard_runtimes.train.engines.autogluon_training import train  # noqa: PLC0415

    return train(request)


class AutoGluonEngine(Engine):
    """AutoGluon: its models stop by its metric and patience, and its portfolio never learns."""

    name = "AutoGluon"
    package = "autogluon.tabular"
    extra = "autogluon"
    learners = families(
        _train,
        "modelyard_runtimes.train.engines.autogluon_training",
        iterative=("LightGBM", "XGBoost", "CatBoost"),
    )

    def sampler(
        self,
        search: Search,
        goal: Goal,
        shape: tuple[int, int],
        start: Start,
    ) -> Sampler:
        """Return the portfolio of the declared families, as far as the trials go."""
        from modelyard_runtimes.train.engines.autogluon_portfolio import (  # noqa: PLC0415
            portfolio,
        )

        return GridSampler(portfolio(search.learners, goal)[: search.trials])
