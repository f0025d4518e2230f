"""Counterfactuals: the few changes of a row that make the model predict another class.

Values are taken from rows of the search that are predicted otherwise, nearest first, and taken back
one by one as long as the class stays turned. So no value is made up, and what remains is needed
(after Keane and Smyth, "Good Counterfactuals and Where to Find Them", 2020).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model import Model
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.train.evidence.exchange import (
    Mask,
    Values,
    distances,
    exchanged,
    scale_of,
)

NEAREST, TRIED = 200, 5
"""Nearest rows that are asked, and those of them that turn the class and are thinned out."""


def counterfactuals(
    model: Model, rows: Inputs, others: Inputs, immutable: list[int]
) -> list[dict[str, Any]]:
    """Return what would turn the class of each row.

    Each is `predicted`, `found`, and where one was found `becomes` and `changes`: `feature`, `from`
    and `to`.

    Args:
        model: The packed model.
        rows: Rows to explain.
        others: Rows that values are taken from.
        immutable: Positions of features that must stay as they are.
    """
    search = _Search(model, others, immutable)
    return [search.explain(rows.take(np.array([row]))) for row in range(len(rows))]


class _Search:
    def __init__(self, model: Model, others: Inputs, immutable: list[int]) -> None:
        self._model = model
        self._others = others
        self._chosen = self._classes(others)
        self._scale = scale_of(others)
        self._values = Values(model)
        self._mutable = np.ones(len(model.schema.names), dtype=np.bool_)
        self._mutable[immutable] = False

    def explain(self, row: Inputs) -> dict[str, Any]:
        model = self._model
        (own,) = self._classes(row)
        told: dict[str, Any] = {"predicted": model.classes[own], "found": False}
        best = self._best(row, int(own))
        if best is None:
            return told
        giver, mask = best
        changed = exchanged(model.schema, row, giver, mask)
        return told | {
            "found": True,
            "becomes": model.classes[int(self._classes(changed)[0])],
            "changes": [
                {
                    "feature": model.schema.names[feature],
                    "from": self._values.of(row, 0, int(feature)),
                    "to": self._values.of(changed, 0, int(feature)),
                }
                for feature in np.flatnonzero(mask)
            ],
        }

    def _best(self, row: Inputs, own: int) -> tuple[Inputs, Mask] | None:
        """Return the giver and the features of the fewest and smallest changes."""
        different = np.flatnonzero(self._chosen != own)
        if not len(different):
            return None
        apart = distances(self._model.schema, row, self._others.take(different), self._scale)
        apart[:, ~self._mutable] = 0.0
        nearest = np.argsort(apart.sum(axis=1), kind="stable")[:NEAREST]
        givers, apart = self._others.take(different[nearest]), apart[nearest]
        masks = apart > 0
        turned = np.flatnonzero(self._turns(row, own, givers, masks))[:TRIED]
        found: list[tuple[int, float, int, Mask]] = []
        for place in turned.tolist():
            mask = self._thinned(
                row, own, givers.take(np.array([place])), masks[place], apart[place]
            )
            found.append((int(mask.sum()), float(apart[place][mask].sum()), place, mask))
        if not found:
            return None
        _, _, place, mask = min(found, key=lambda one: one[:3])
        return givers.take(np.array([place])), mask

    def _thinned(self, row: Inputs, own: int, giver: Inputs, mask: Mask, apart: Floats) -> Mask:
        """Return the features without those that can stay as they were, the largest first."""
        while mask.sum() > 1:
            features = np.flatnonzero(mask)
            tried = np.repeat(mask[None], len(features), axis=0)
            tried[np.arange(len(features)), features] = False
            copies = giver.take(np.zeros(len(features), dtype=np.intp))
            spared = features[self._turns(row, own, copies, tried)]
            if not len(spared):
                break
            mask = mask.copy()
            mask[spared[np.argmax(apart[spared])]] = False
        return mask

    def _turns(self, row: Inputs, own: int, givers: Inputs, masks: Mask) -> npt.NDArray[np.bool_]:
        repeated = row.take(np.zeros(len(givers), dtype=np.intp))
        changed = exchanged(self._model.schema, repeated, givers, masks)
        turned: npt.NDArray[np.bool_] = self._classes(changed) != own
        return turned

    def _classes(self, inputs: Inputs) -> npt.NDArray[np.intp]:
        predicted = self._model.predict_inputs(inputs)
        return self._model.chosen(predicted)
