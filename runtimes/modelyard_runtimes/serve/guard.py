"""What is answered when the model fails: by its fallback, or after a while by nobody.

A model fails by an error that is not the caller's, or by a prediction that is no finite number. A
guard is only there where `spec.traffic` declares a breaker or a fallback.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from modelyard_runtimes.entry import failure_of, log
from modelyard_runtimes.model import ValidationError
from modelyard_runtimes.model.errors import NotFinite
from modelyard_runtimes.model.format import FeatureSchema, ModelDocument
from modelyard_runtimes.model.rows import Columns, Rows
from modelyard_runtimes.serve.breaker import CircuitBreaker
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.metrics import Metrics
from modelyard_runtimes.serve.predictor import Predictions, Predictor
from modelyard_runtimes.serve.substitute import FallbackReason, Substitute

T = TypeVar("T")


class NotTogether(Exception):
    """Requests have to be predicted one by one, since the breaker is not closed."""


@dataclass(frozen=True)
class Fallback:
    """The model that answers where another one fails."""

    predictor: Predictor
    version: str
    digest: str

    def predict(self, columns: Columns, reason: FallbackReason) -> Predictions:
        """Return its predictions, which say whose they are and why.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
            NotFinite: it fails as well.
        """
        names = self.predictor.names
        known = {name: columns[name] for name in names if name in columns}
        predictions = self.predictor.predict(known)
        predictions.substitute = Substitute(self.version, self.digest, reason)
        return predictions


class Guard:
    """Predicts by a model, and where that fails by its fallback; several threads may use it."""

    def __init__(
        self, model: Predictor, fallback: Fallback | None, breaker: CircuitBreaker, metrics: Metrics
    ) -> None:
        """Start with a model that nothing is known of.

        Args:
            model: The model that is asked for.
            fallback: What answers instead; without one its failures are errors.
            breaker: Says when the model is not asked.
            metrics: Where failures are counted.
        """
        self._model = model
        self._fallback = fallback
        self._breaker = breaker
        self._metrics = metrics

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions of rows given by column.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
            RequestError: the breaker is open, and there is no fallback.
        """
        return self._guarded(lambda: self._model.predict(columns), lambda: columns)

    def predict_rows(self, rows: Rows) -> Predictions:
        """Return the predictions of rows, each with the values of all features in order.

        Raises:
            ValidationError: a value does not fit the schema; it names field and row.
            RequestError: the breaker is open, and there is no fallback.
        """
        return self._guarded(
            lambda: self._model.predict_rows(rows), lambda: self._model.by_column(rows)
        )

    def predict_together(self, rows: Rows) -> Predictions:
        """Return the predictions of rows of several requests, by the model alone.

        Raises:
            Exception: the model fails one of them, or is not to be asked now; nothing is counted,
                and each request has to be predicted by itself.
        """
        if not self._breaker.is_closed:
            raise NotTogether
        predictions = self._model.predict_rows(rows)
        self._breaker.succeeded()
        return predictions

    def watch(self, ask: Callable[[], T]) -> T:
        """Return what the model alone answers, and remember whether it failed.

        Args:
            ask: Asks the model; what it raises is the model's fault.

        Raises:
            RequestError: the breaker is open.
            Exception: what asking raises.
        """
        wait = self._breaker.take()
        if wait:
            raise _left_alone(wait)
        try:
            answer = ask()
        except Exception:
            self._failed()
            raise
        self._breaker.succeeded()
        return answer

    def _guarded(
        self, ask: Callable[[], Predictions], columns: Callable[[], Columns]
    ) -> Predictions:
        wait = self._breaker.take()
        if wait:
            if self._fallback is None:
                raise _left_alone(wait)
            return self._fall_back(self._fallback, columns(), "BreakerOpen")
        try:
            predictions = ask()
        except ValidationError:
            self._breaker.undecided()
            raise
        except Exception as error:
            self._failed()
            if self._fallback is None:
                raise
            why = str(error) if isinstance(error, NotFinite) else failure_of(error).message
            log.error("the fallback answers: %s", why)
            return self._fall_back(self._fallback, columns(), "ModelFailed")
        self._breaker.succeeded()
        return predictions

    def _failed(self) -> None:
        self._metrics.model_failures.inc()
        if self._breaker.failed():
            self._metrics.breaker_openings.inc()
            log.error("the breaker opens: the model failed again and again")

    def _fall_back(
        self, fallback: Fallback, columns: Columns, reason: FallbackReason
    ) -> Predictions:
        predictions = fallback.predict(columns, reason)
        self._metrics.fallback_answers(reason).inc()
        return predictions


def _left_alone(seconds: float) -> RequestError:
    later = str(max(1, math.ceil(seconds))).encode()
    return RequestError(
        503,
        "the model failed again and again and is not asked for a while, as spec.traffic.breaker "
        "says; send the request again later",
        (b"retry-after", later),
    )


def misfits(model: ModelDocument, fallback: ModelDocument) -> list[str]:
    """Return what keeps a model from answering instead of another one; nothing when it can."""
    found = []
    if fallback.classes != model.classes:
        found.append(f"it predicts {_outputs(fallback)}, the model {_outputs(model)}")
    if (fallback.conformal is None) != (model.conformal is None):
        found.append("only one of the two says how sure it is (spec.evaluation.intervals)")
    taken = {feature.name: feature for feature in model.features}
    return found + [
        trouble
        for feature in fallback.features
        if (trouble := _misfit(taken.get(feature.name), feature))
    ]


def _outputs(document: ModelDocument) -> str:
    classes = document.classes
    if not classes:
        return "a value"
    return f"the classes {', '.join(map(str, classes[:10]))}{', ...' if len(classes) > 10 else ''}"


def _misfit(taken: FeatureSchema | None, needed: FeatureSchema) -> str:
    """Return why the input of a fallback is not there when the model's are."""
    if taken is None:
        return f"it takes {needed.name!r}, which the model does not" if needed.required else ""
    if taken.type != needed.type:
        return f"it takes {needed.name!r} as {needed.type}, the model as {taken.type}"
    if needed.required and not taken.required:
        return f"it requires {needed.name!r}, which requests to the model may leave out"
    return ""
