"""The engines by their name in `spec.search.engine`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from modelyard.api.experiment import Search

from modelyard_runtimes.train.engines.autogluon import AutoGluonEngine
from modelyard_runtimes.train.engines.base import ENGINE, Engine
from modelyard_runtimes.train.engines.flaml import FlamlEngine
from modelyard_runtimes.train.engines.native import NativeEngine
from modelyard_runtimes.train.learners.base import Learner, Parameters, Value
from modelyard_runtimes.train.learners.schedule import ORIGIN, OnSchedule
from modelyard_runtimes.train.learners.square_root import OnSquareRoots
from modelyard_runtimes.train.space import LEARNER, SQUARE_ROOT, TARGET, VALUE

NATIVE = NativeEngine()

ENGINES: Mapping[str, Engine] = MappingProxyType(
    {engine.name: engine for engine in (NATIVE, FlamlEngine(), AutoGluonEngine())}
)
"""All that can be declared, installed or not."""


def engine_of(search: Search) -> Engine:
    """Return the engine of a declared search."""
    return ENGINES[search.engine or NATIVE.name]


def learner_of(configuration: Parameters) -> tuple[Learner, dict[str, Value]]:
    """Return the family of models of a configuration, and its hyperparameters."""
    hyperparameters = dict(configuration)
    engine = ENGINES[str(hyperparameters.pop(ENGINE, NATIVE.name))]
    learner = engine.learners[str(hyperparameters.pop(LEARNER))]
    if hyperparameters.pop(TARGET, VALUE) == SQUARE_ROOT:
        learner = OnSquareRoots(learner)
    if ORIGIN in hyperparameters:
        learner = OnSchedule(learner)
    return learner, hyperparameters
