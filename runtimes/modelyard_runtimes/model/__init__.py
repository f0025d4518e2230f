"""The packed model and its predictor: the same code predicts offline and behind an endpoint.

A packed model is a folder with `model.json` and one file for each member of the ensemble. Loading
it needs only NumPy and LightGBM's shared library, so a model server is ready in a moment.
"""

from modelyard_runtimes.model.errors import ModelError, ValidationError
from modelyard_runtimes.model.format import FeatureSchema, ModelDocument
from modelyard_runtimes.model.predictor import Model, load, load_files
from modelyard_runtimes.model.schema import InputSchema

__all__ = [
    "FeatureSchema",
    "InputSchema",
    "Model",
    "ModelDocument",
    "ModelError",
    "ValidationError",
    "load",
    "load_files",
]
