"""The learning task as arrays: what a search works on, and all that trial processes ever see."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.train.feature_plan import FeaturePlan

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

ONLY_FITTED = -1

MANY_ROWS = 8_000


@dataclass(frozen=True)
class Goal:
    """What is predicted and how candidates are compared.

    Attributes:
        task: Classification or Regression.
        classes: Number of classes; 0 for regression.
        metric: Name of the metric, one of `modelyard.api.experiment.Metric`.
        balanced: Balanced weighs rows inversely to the frequency of their class, None does not.
        seed: Seed of everything random.
        never_negative: Whether a regression's values have square roots, all of them.
    """

    task: str
    classes: int
    metric: str
    balanced: str
    seed: int
    never_negative: bool = False

    @property
    def outputs(self) -> int:
        """Numbers predicted for a row: one, or one for each of three and more classes."""
        return self.classes if self.classes > 2 else 1


@dataclass(frozen=True)
class SearchData:
    """The rows that candidates are compared on; the holdout is not among them.

    Attributes:
        goal: What is predicted.
        inputs: Validated features.
        categories: Number of known categories of each Categorical feature.
        target: Position of the class, or the value, of each row.
        folds: Fold of each row, from 0; `ONLY_FITTED` where no candidate is judged on it.
        plan: Which features a fit sees.
    """

    goal: Goal
    inputs: Inputs
    categories: tuple[int, ...]
    target: Floats
    folds: Rows
    plan: FeaturePlan = field(default_factory=FeaturePlan)

    @property
    def fold_count(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @property
    def fit_count(self) -> int:
        """Number of fits by which a candidate is judged: for each fold, or one for all of them."""
        return 1 if self.folds.min() == ONLY_FITTED else self.fold_count

    @property
    def fits_sparingly(self) -> bool:
        """Whether a fit that finds its iterations on a tenth of its rows is taken as it is.

        Rows are so many that a tenth of them tells as much as all, or time is short.
        """
        return self.fit_count == 1 or len(self.target) >= MANY_ROWS

    def left_out(self, fit: int) -> Mask:
        """Return the rows that a fit does not see, by which it is judged.

        Args:
            fit: Number of the fit, from 0; `fit_count` is the fit on all rows.
        """
        if fit == self.fit_count:
            return np.zeros(len(self.folds), dtype=np.bool_)
        judged: Mask = self.folds >= 0 if self.fit_count == 1 else self.folds == fit
        return judged

    @cached_property
    def judged(self) -> SearchData:
        """The rows that candidates are judged on."""
        if self.fit_count > 1:
            return self
        rows = np.flatnonzero(self.folds >= 0)
        return replace(
            self, inputs=self.inputs.take(rows), target=self.target[rows], folds=self.folds[rows]
        )

    def weights(self, rows: Rows) -> Floats:
        """Return the weight of each of these rows, 1 on average.

        Balanced: `rows / (classes * rows of the class)`, as scikit-learn's `balanced` does.
        """
        if self.goal.balanced != "Balanced":
            return np.ones(len(rows))
        codes = self.target[rows].astype(np.intp)
        counts = np.bincount(codes, minlength=self.goal.classes)
        weights: Floats = len(rows) / (self.goal.classes * counts[codes])
        return weights

    def save(self, folder: Path) -> None:
        """Write the data for trial processes of this machine."""
        np.save(folder / "numbers.npy", self.inputs.numbers)
        np.save(folder / "codes.npy", self.inputs.codes)
        np.save(folder / "target.npy", self.target)
        np.save(folder / "folds.npy", self.folds)
        (folder / "texts.json").write_text(json.dumps(self.inputs.texts))
        described = {
            "goal": asdict(self.goal),
            "categories": self.categories,
            "plan": self.plan.to_json(),
        }
        (folder / "goal.json").write_text(json.dumps(described))


def open_data(folder: Path) -> SearchData:
    """Return data that was saved; arrays are mapped, so that processes share their memory."""
    numbers, codes, target, folds = (
        np.load(folder / f"{name}.npy", mmap_mode="r")
        for name in ("numbers", "codes", "target", "folds")
    )
    texts: Sequence[Sequence[str]] = json.loads((folder / "texts.json").read_text())
    described = json.loads((folder / "goal.json").read_text())
    return SearchData(
        goal=Goal(**described["goal"]),
        inputs=Inputs(numbers, codes, tuple(texts)),
        categories=tuple(described["categories"]),
        target=target,
        folds=folds,
        plan=FeaturePlan.model_validate(described["plan"]),
    )


def derived_seed(*parts: int) -> int:
    """Return a seed below 2**31 that is a pure function of these numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)
