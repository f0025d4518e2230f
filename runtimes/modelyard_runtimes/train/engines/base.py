"""What an engine offers: proposals, and the families of models that it fits them with.

All else is common to the engines: trials run in the processes of the search, over its folds, within
its limits; what they predict out of fold makes the leaderboard and the ensemble; and what wins is
fitted again and packed by the families, so that nothing behind a search knows its engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec

from modelyard.api.experiment import Engine as EngineName
from modelyard.api.experiment import Search

from modelyard_runtimes.train.learners.base import Learner
from modelyard_runtimes.train.sampler import Sampler, Start
from modelyard_runtimes.train.task import Goal

ENGINE = "engine"
"""Names in a configuration the engine that proposed it; one without is of engine Native."""


class Engine(ABC):
    """Proposes configurations, and fits them.

    Attributes:
        name: Its name in `spec.search.engine`.
        package: What is imported of it; empty where nothing has to be installed.
        extra: The extra of modelyard-runtimes that brings it.
        learners: Families of models that it can fit here, by their name in `spec.search.learners`.
    """

    name: EngineName
    package: str = ""
    extra: str = ""
    learners: Mapping[str, Learner]

    @property
    def installed(self) -> bool:
        """Whether it can run here; nothing is imported to find out."""
        # Of a dotted name the parent is imported, and may be missing itself.
        parts = self.package.split(".")
        return not self.package or all(
            find_spec(".".join(parts[: length + 1])) for length in range(len(parts))
        )

    @abstractmethod
    def sampler(
        self,
        search: Search,
        goal: Goal,
        shape: tuple[int, int],
        start: Start,
    ) -> Sampler:
        """Return what proposes configurations: a pure function of these and of what it is told.

        Args:
            search: The declared search.
            goal: What is predicted, and the seed.
            shape: Rows and features of the data.
            start: Where it begins.

        Raises:
            RunFailure: the declared search cannot be carried out.
        """
