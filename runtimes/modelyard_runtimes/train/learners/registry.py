"""The families of models by their name in `spec.search.learners`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from modelyard_runtimes.train.learners.base import Learner
from modelyard_runtimes.train.learners.boosting import LightGBM
from modelyard_runtimes.train.learners.catboost import CatBoost
from modelyard_runtimes.train.learners.extra_trees import ExtraTrees
from modelyard_runtimes.train.learners.linear import Linear
from modelyard_runtimes.train.learners.neighbors import KNeighbors
from modelyard_runtimes.train.learners.torch_mlp import TorchMLP
from modelyard_runtimes.train.learners.xgboost import XGBoost

_INSTALLED: Mapping[str, Learner] = {
    "LightGBM": LightGBM(),
    "Linear": Linear(),
    "ExtraTrees": ExtraTrees(),
    "KNeighbors": KNeighbors(),
}
_OPTIONAL: Mapping[str, tuple[str, Learner]] = {
    "XGBoost": ("xgboost", XGBoost()),
    "CatBoost": ("catboost", CatBoost()),
    "TorchMLP": ("torch", TorchMLP()),
}

EXTRAS: Mapping[str, str] = MappingProxyType(
    {name: extra for name, (extra, _) in _OPTIONAL.items()}
)
"""Families that an extra of modelyard-runtimes brings; it is named like what is imported."""

LEARNERS: Mapping[str, Learner] = MappingProxyType(
    {
        **_INSTALLED,
        **{name: learner for name, (extra, learner) in _OPTIONAL.items() if find_spec(extra)},
    }
)
"""Those that can be fitted here."""
