"""The families of models by their name in `spec.search.learners`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType

from modelyard_runtimes.train.learners.base import Learner
from modelyard_runtimes.train.learners.boosting import LightGBM
from modelyard_runtimes.train.learners.extra_trees import ExtraTrees
from modelyard_runtimes.train.learners.linear import Linear
from modelyard_runtimes.train.learners.torch_mlp import TorchMLP

_INSTALLED: Mapping[str, Learner] = {
    "LightGBM": LightGBM(),
    "Linear": Linear(),
    "ExtraTrees": ExtraTrees(),
}
_OPTIONAL: Mapping[str, Learner] = {"TorchMLP": TorchMLP()} if find_spec("torch") else {}

LEARNERS: Mapping[str, Learner] = MappingProxyType({**_INSTALLED, **_OPTIONAL})
"""Those that can be fitted here; TorchMLP is one of them where torch is installed."""
