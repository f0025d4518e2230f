"""TorchMLP: a multilayer perceptron. PyTorch fits it; nothing else needs PyTorch."""

from __future__ import annotations

from modelyard_runtimes.train.encoding import EncodingOptions
from modelyard_runtimes.train.learners.base import FitRequest, Fitted, Learner, Parameters


class TorchMLP(Learner):
    """One to four hidden layers, as wide as each other or each half as wide as the one before.

    Up to four residual blocks follow the first of them.

    The number of epochs is found on the folds.
    """

    iterative = True
    training = "modelyard_runtimes.train.learners.torch_training"
    changing = ("learning_rate", "weight_decay", "dropout")
    generation = 10

    def encoding(self, parameters: Parameters) -> EncodingOptions:
        """Return everything imputed and scaled."""
        del parameters
        return EncodingOptions(
            missing="Impute", scaling="Standard", categories="OneHot", min_count=5
        )

    def fit(self, request: FitRequest) -> Fitted:
        """Fit until the validation loss rests, or for exactly the given epochs."""
        # Loading PyTorch takes seconds, which only a process that fits such a model spends.
        from modelyard_runtimes.train.learners.torch_training import train  # noqa: PLC0415

        return train(request)
