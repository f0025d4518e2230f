"""Evaluates all trees of a LightGBM model text at once, many times faster than one after another.

Each leaf of a tree is a bit. For each column, and each interval between its thresholds, a table
holds the leaves of all trees that can still be reached (Lucchese et al., "QuickScorer", 2015). A
row is answered by one look-up for each column, the bitwise and of what was found, and the sum of
the leaves that are left, tree by tree as LightGBM adds them: the sums equal LightGBM's to the last
bit. The code that does it (`kernel.py`) is the same for all models.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modelyard_runtimes.model.errors import NotCompiled
from modelyard_runtimes.model.kernel import LANES, Arguments, kernel
from modelyard_runtimes.model.schema import Floats

WORD = 32
"""Leaves in a word of the table."""
MOST_TABLE_BYTES = 128 * 1024 * 1024
"""Beyond it a model is left to LightGBM: walking down its trees is faster then."""

_SAMPLED = 256
"""Rows that are compared with LightGBM's answers before the compiled code is trusted."""

Words = npt.NDArray[np.uint32]
Integers = npt.NDArray[np.int64]

_CATEGORICAL = 1
_DEFAULT_LEFT = 2
_MISSING_IS_NAN = 2
_SUMS = ("", "regression", "regression_l1", "huber", "fair", "quantile", "mape")
"""Objectives whose outputs are the sums themselves."""


class _Split(NamedTuple):
    """An inner node of a tree.

    Attributes:
        test: Column, and kind of missing value, by which rows are parted.
        goes_left: Threshold up to which a number goes left; or the categories that do.
        missing_left: Whether a missing value goes left.
        words: Words of the table that the leaves below it are in.
        right, left: The leaves that are still reached by going right, or left, in these words.
    """

    test: tuple[int, int]
    goes_left: float | tuple[int, ...]
    missing_left: bool
    words: slice
    right: Words
    left: Words


@dataclass(frozen=True)
class Link:
    """What LightGBM makes of the sums of the leaves."""

    objective: str
    sigmoid: float
    divisor: float | None

    def __call__(self, sums: Floats) -> Floats:
        """Return the answers, rows x outputs."""
        if self.divisor is not None:
            sums = sums / self.divisor
        if self.objective == "binary":
            with np.errstate(over="ignore"):
                positive: Floats = 1.0 / (1.0 + np.exp(-self.sigmoid * sums))
            return positive
        if self.objective == "multiclass":
            exponentials = np.exp(sums - sums.max(axis=1, keepdims=True))
            shares: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
            return shares
        return sums


class Forest:
    """The trees of a LightGBM model text, as tables that the compiled code looks up.

    Attributes:
        outputs: Numbers that a row gets: 1, or the number of classes.
        link: What becomes of the sums.
        tests: What is asked of a row, a test in a row as `kernel.py` takes it.
        thresholds: Those of all tests.
        table: The leaves that each answer to a test leaves.
        first: Where the leaves of each tree begin, in words.
        leaves: Value of each leaf, at its bit.
    """

    def __init__(self, text: bytes, columns: int, most_table_bytes: int = MOST_TABLE_BYTES) -> None:
        """Read the text and make the table.

        Args:
            text: The model text.
            columns: Number of columns that rows have.
            most_table_bytes: How large the table may become.

        Raises:
            NotCompiled: it has something that only LightGBM evaluates, or too many leaves.
        """
        header, trees = _parsed(text.decode())
        self._columns = columns
        self.outputs = int(header["num_tree_per_iteration"])
        self.link = _link(header, len(trees) // self.outputs)
        sizes = [-(-int(tree["num_leaves"]) // WORD) for tree in trees]
        self.first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        words = -(-sum(sizes) // LANES) * LANES
        _check_size(_least_rows(trees), words, most_table_bytes)  # before much is made of them
        self.leaves = np.zeros(words * WORD, dtype=np.float64)
        splits: list[_Split] = []
        for tree, first, size in zip(trees, self.first.tolist(), sizes, strict=True):
            splits += self._planted(tree, first, size)
        self.tests, self.thresholds, self.table = _table(splits, words, most_table_bytes)

    def predict(self, rows: Floats) -> Floats:
        """Return rows x `outputs` for rows x columns.

        Raises:
            NotCompiled: there is no compiler.
        """
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        sums = np.empty((len(rows), self.outputs), dtype=np.float64)
        words = self.table.shape[1]
        found = np.empty(len(self.tests), dtype=np.int64)
        left = np.empty(words, dtype=np.uint32)
        arguments = Arguments(
            rows=rows.ctypes.data,
            count=len(rows),
            width=self._columns,
            tests=self.tests.ctypes.data,
            test_count=len(self.tests),
            thresholds=self.thresholds.ctypes.data,
            table=self.table.ctypes.data,
            words=words,
            first=self.first.ctypes.data,
            trees=len(self.first),
            leaves=self.leaves.ctypes.data,
            outputs=self.outputs,
            found=found.ctypes.data,
            left=left.ctypes.data,
            sums=sums.ctypes.data,
        )
        kernel()(ctypes.byref(arguments))
        return self.link(sums)

    def sample(self) -> Floats:
        """Return rows of values at, next to and far from thresholds, and of missing ones."""
        random = np.random.default_rng(0)
        rows = random.normal(size=(_SAMPLED, self._columns))
        for column, _, begin, half, *_ in self.tests.tolist():
            limits = self.thresholds[begin : begin + max(2 * half - 1, 1)]
            finite = limits[np.isfinite(limits)]
            if len(finite) == 0:  # all that counts is whether it is missing
                continue
            drawn = random.choice(finite, _SAMPLED)
            rows[:, column] = np.nextafter(drawn, drawn + random.integers(-1, 2, _SAMPLED))
        rows[random.random(rows.shape) < 0.1] = np.nan
        return rows

    def _planted(self, tree: Mapping[str, str], first: int, size: int) -> Iterator[_Split]:
        """Put the leaves of a tree in their places, from left to right, and yield its splits."""
        values = _floats(tree["leaf_value"])
        if len(values) == 1:
            self.leaves[first * WORD] = values[0]
            return
        nodes = _Nodes(tree)
        places, spans = nodes.spans()
        self.leaves[first * WORD + places] = values
        for node, (begin, middle, end) in enumerate(spans):
            yield _Split(
                nodes.test(node),
                nodes.goes_left(node),
                nodes.missing_left(node),
                slice(first, first + size),
                _without(begin, middle, size),
                _without(middle, end, size),
            )


def compiled(
    text: bytes, columns: int, reference: Callable[[Floats], Floats]
) -> Callable[[Floats], Floats]:
    """Return what evaluates a model text by compiled code, once it answers as LightGBM does.

    Args:
        text: The model text.
        columns: Number of columns that rows have.
        reference: LightGBM's evaluation, with which some rows are compared.

    Raises:
        NotCompiled: it cannot be, or answers otherwise.
    """
    forest = Forest(text, columns)
    rows = forest.sample()
    if not np.allclose(forest.predict(rows), reference(rows), rtol=1e-12, atol=1e-12):
        raise NotCompiled("the compiled code answers otherwise")
    return forest.predict


class _Nodes:
    """The inner nodes of one tree."""

    def __init__(self, tree: Mapping[str, str]) -> None:
        self._tree = tree
        self._columns = _integers(tree["split_feature"])
        self._thresholds = _floats(tree["threshold"])
        self._decisions = _integers(tree["decision_type"])
        self._left = _integers(tree["left_child"]).tolist()
        self._right = _integers(tree["right_child"]).tolist()

    def spans(self) -> tuple[Integers, list[tuple[int, int, int]]]:
        """Return the place of each leaf from left to right, and what each inner node spans.

        A node spans the places from its first to its second number on the left and from there to
        its third on the right.
        """
        places = np.zeros(len(self._left) + 1, dtype=np.int64)
        spans = [(0, 0, 0)] * len(self._left)
        middles = [0] * len(self._left)
        begins = [0] * len(self._left)
        count = 0
        pending: list[tuple[str, int]] = [("enter", 0)]
        while pending:  # trees are deeper than Python calls itself
            step, node = pending.pop()
            if node < 0:
                places[~node] = count
                count += 1
            elif step == "enter":
                begins[node] = count
                pending += [("turn", node), ("enter", self._left[node])]
            elif step == "turn":
                middles[node] = count
                pending += [("leave", node), ("enter", self._right[node])]
            else:
                spans[node] = (begins[node], middles[node], count)
        return places, spans

    def test(self, node: int) -> tuple[int, int]:
        """Return column and kind of missing value; a missing category is never among those left."""
        decision = int(self._decisions[node])
        kind = _MISSING_IS_NAN if decision & _CATEGORICAL else (decision >> 2) & 3
        return int(self._columns[node]), kind

    def goes_left(self, node: int) -> float | tuple[int, ...]:
        """Return the threshold, or the categories that go left."""
        if not self._decisions[node] & _CATEGORICAL:
            return float(self._thresholds[node])
        bounds = _integers(self._tree["cat_boundaries"])
        number = int(self._thresholds[node])
        words = _integers(self._tree["cat_threshold"])[bounds[number] : bounds[number + 1]]
        return tuple(
            position * 32 + bit
            for position, word in enumerate(words.tolist())
            for bit in range(32)
            if word >> bit & 1
        )

    def missing_left(self, node: int) -> bool:
        """Return whether a missing value goes left."""
        decision = int(self._decisions[node])
        return bool(decision & _DEFAULT_LEFT) and not decision & _CATEGORICAL


def _parsed(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the lines of the header and of each tree, by name.

    Raises:
        NotCompiled: there is something that only LightGBM evaluates.
    """
    head, *bodies = text.partition("end of trees")[0].split("\nTree=")
    header = _lines(head)
    trees = [_lines(body) for body in bodies]
    if not trees:
        raise NotCompiled("it has no trees")
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise NotCompiled("its leaves are linear models")
    return header, trees


def _lines(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines())


def _link(header: Mapping[str, str], iterations: int) -> Link:
    objective, *settings = header.get("objective", "").split(" ")
    given = dict(setting.partition(":")[::2] for setting in settings)
    if objective not in (*_SUMS, "binary", "multiclass") or "sqrt" in given:
        raise NotCompiled(f"its objective is {header['objective']}")
    divisor = float(iterations) if "average_output" in header else None
    return Link(objective, float(given.get("sigmoid", 1)), divisor)


def _integers(text: str) -> Integers:
    return np.array(text.split(), dtype=np.int64)


def _floats(text: str) -> Floats:
    return np.array(text.split(), dtype=np.float64)


def _without(begin: int, end: int, size: int) -> Words:
    """Return words in which all bits are set but those from `begin` up to `end`."""
    bits = np.ones(size * WORD, dtype=np.uint8)
    bits[begin:end] = 0
    return np.packbits(bits, bitorder="little").view(np.uint32)


def _least_rows(trees: list[dict[str, str]]) -> int:
    """Return how many rows the table has at least: those of the thresholds of numbers."""
    inner = [tree for tree in trees if int(tree["num_leaves"]) > 1]
    if not inner:
        return 0
    names = ("split_feature", "decision_type", "threshold")
    columns, decisions, limits = (
        np.concatenate([_floats(tree[name]) for tree in inner]) for name in names
    )
    numbers = decisions.astype(np.int64) & _CATEGORICAL == 0
    return len(np.unique(np.stack([columns[numbers], limits[numbers]]), axis=1).T)


def _check_size(rows: int, words: int, most_bytes: int) -> None:
    if rows * words * 4 > most_bytes:
        raise NotCompiled("it has too many leaves")


def _table(splits: list[_Split], words: int, most_bytes: int) -> tuple[Integers, Floats, Words]:
    """Return the tests as the kernel takes them, all thresholds, and the table."""
    by_test: dict[tuple[int, int, bool], list[_Split]] = {}
    for split in splits:
        key = (*split.test, isinstance(split.goes_left, tuple))
        by_test.setdefault(key, []).append(split)
    tests: list[tuple[int, ...]] = []
    limits: list[Floats] = []
    parts: list[Words] = []
    begin = base = 0
    for (column, kind, _), found in sorted(by_test.items()):
        thresholds = _thresholds(found)
        rows = len(thresholds) + 2
        _check_size(base + rows, words, most_bytes)
        half = 1 << (len(thresholds).bit_length() - 1)
        padded = np.full(2 * half - 1, np.inf)
        padded[: len(thresholds)] = thresholds
        tests.append((column, kind, begin, half, base, base + rows - 1))
        limits.append(padded)
        parts.append(_part(found, thresholds, words))
        begin += len(padded)
        base += rows
    if not tests:  # nothing but single leaves: one look-up that leaves all
        tests, limits = [(0, 0, 0, 0, 0, 0)], [np.zeros(1)]
        parts = [np.full((1, words), 0xFFFFFFFF, dtype=np.uint32)]
    return np.array(tests, dtype=np.int64), np.concatenate(limits), np.concatenate(parts)


def _thresholds(splits: list[_Split]) -> Floats:
    """Return the sorted values beyond which another row of the table begins.

    A category c is what lies between c and c + 1, 0 what lies between -1 and 1: LightGBM cuts off
    fractions.
    """
    numbers = [split.goes_left for split in splits if isinstance(split.goes_left, float)]
    if numbers:
        return np.unique(np.array(numbers))
    highest = max(max(split.goes_left, default=0) for split in splits)  # type: ignore[arg-type]
    starts = np.nextafter(np.arange(1.0, highest + 2), -np.inf)
    return np.concatenate([[-1.0], starts])


def _part(splits: list[_Split], thresholds: Floats, words: int) -> Words:
    """Return the rows of the table of one test; the last is the one of missing values."""
    intervals = len(thresholds) + 1
    part = np.full((intervals + 1, words), 0xFFFFFFFF, dtype=np.uint32)
    for split in splits:
        if isinstance(split.goes_left, float):
            right = np.arange(intervals) > np.searchsorted(thresholds, split.goes_left)
        else:
            right = np.ones(intervals, dtype=np.bool_)
            right[[category + 1 for category in split.goes_left]] = False
        goes_right = np.append(right, not split.missing_left)
        kept = np.where(goes_right[:, None], split.right, split.left)
        part[:, split.words] &= kept
    return part
