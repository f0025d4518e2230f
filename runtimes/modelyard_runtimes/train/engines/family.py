"""Families of models that a library fits on the columns of our encoder, so that they can be packed.

No library sees a raw table: its own encoding would have to be served as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import FitRequest, Fitted, Learner, Parameters
from modelyard_runtimes.train.learners.registry import LEARNERS

_ENCODINGS: Mapping[str, EncodingOptions] = {
    **dict.fromkeys(
        ("LightGBM", "XGBoost", "CatBoost"),
        EncodingOptions(missing="Keep", scaling="None", categories="Ordinal", min_count=5),
    ),
    "ExtraTrees": EncodingOptions(
        missing="Impute", scaling="None", categories="Ordinal", min_count=5
    ),
    "Linear": EncodingOptions(
        missing="Impute", scaling="Standard", categories="OneHot", min_count=5
    ),
}


class Family(Learner):
    """A family of models of a library."""

    def __init__(
        self, options: EncodingOptions, train: Callable[[FitRequest], Fitted], training: str
    ) -> None:
        """Take how the columns are encoded, what fits one estimator, and what that imports."""
        self._options = options
        self._train = train
        self.training = training

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return how the columns are to be encoded."""
        return self._options

    def fit(self, request: FitRequest) -> Fitted:
        """Fit one estimator."""
        return self._train(request)


class IterativeFamily(Family):
    """One whose number of iterations is found on the folds."""

    iterative = True


def families(
    train: Callable[[FitRequest], Fitted], training: str, iterative: Collection[str] = ()
) -> Mapping[str, Learner]:
    """Return the families that can be fitted here: all fit with the libraries of our own.

    Args:
        train: Fits one estimator of any of them.
        training: Module that it imports.
        iterative: Those whose number of iterations is found on the folds.
    """
    return MappingProxyType(
        {
            name: (IterativeFamily if name in iterative else Family)(options, train, training)
            for name, options in _ENCODINGS.items()
            if name in LEARNERS
        }
    )
