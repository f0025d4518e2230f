"""The families of models by their name in `spec.search.learners`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from modelyard_runtimes.train.learners.base import Learner
from modelyard_runtimes.train.learners.boosting import LightGBM
from modelyard_runtimes.train.learners.extra_trees import ExtraTrees
from modelyard_runtimes.train.learners.linear import Linear

LEARNERS: Mapping[str, Learner] = MappingProxyType(
    {"LightGBM": LightGBM(), "Linear": Linear(), "ExtraTrees": ExtraTrees()}
)
