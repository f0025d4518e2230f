"""Model servers as the reconcilers see them: who answers at a URL."""

from __future__ import annotations

from typing import Protocol

from modelyard.api.runtime import LoadFailure, ServedModel


class NoAnswer(Exception):
    """No model server answered; the message says what came instead.

    Attributes:
        failure: Why a shared server cannot answer for this model, as it says itself.
    """

    def __init__(self, message: str, failure: LoadFailure | None = None) -> None:
        super().__init__(message)
        self.failure = failure


class Prober(Protocol):
    """Asks model servers what they serve."""

    async def served_model(self, url: str, name: str) -> ServedModel:
        """Return what answers for the model of a name, over a connection of its own.

        Raises:
            NoAnswer: nothing answers there, it is not ready, or it is no model server of ours.
        """
