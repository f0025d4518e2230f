"""The packed model and its predictor: the same code predicts offline and behind an endpoint.

A packed model is a folder with `model.json` and one file for each member of the ensemble. Loading
it needs only NumPy and LightGBM's shared library, so a model server is ready in a moment; one that
meets only single rows of trees does without NumPy, whose import is a quarter of its start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelyard_runtimes.model.errors import ModelError, ValidationError
from modelyard_runtimes.model.format import FeatureSchema, ModelDocument
from modelyard_runtimes.model.packed import Packed, read

if TYPE_CHECKING:
    from modelyard_runtimes.model.predictor import Model, load, load_files
    from modelyard_runtimes.model.schema import InputSchema

__all__ = [
    "FeatureSchema",
    "InputSchema",
    "Model",
    "ModelDocument",
    "ModelError",
    "Packed",
    "ValidationError",
    "load",
    "load_files",
    "read",
]

_WITH_NUMPY = {
    "InputSchema": "schema",
    "Model": "predictor",
    "load": "predictor",
    "load_files": "predictor",
}


def __getattr__(name: str) -> Any:
    """Import what needs NumPy once somebody asks for it."""
    if name not in _WITH_NUMPY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WITH_NUMPY[name]}"), name)
