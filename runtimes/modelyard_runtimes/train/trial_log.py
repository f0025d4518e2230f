"""The durable log of a search: trials.jsonl and out-of-fold predictions in the run's folder.

The first line tells what the log belongs to; each further line is a trial that ended, and `took`,
the seconds of the trial and those of the search by then: one that goes on has the rest of its
budget. Predictions are written before their line, so a trial that is in the log is there whole. A
line that was cut by a kill does not count. A run whose trials are those of an earlier run of the
same object begins with that run's log: only how the winner is chosen differs, and no trial runs
again.
"""

from __future__ import annotations

import io
import json
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import numpy as np
from modelyard.api.artifacts import TRIALS
from modelyard.api.identity import canonical_json

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.store import Store
from modelyard_runtimes.store.files import FileStore, path_of
from modelyard_runtimes.train.trial import TrialResult

log = logging.getLogger("modelyard")

OBJECT_INTERVAL = 2.0
"""Seconds between writes of the whole log, where the store cannot append."""

_FIELDS = [field.name for field in fields(TrialResult)]
_NOTHING: Mapping[int, float] = MappingProxyType({})


class TrialLog(ABC):
    """The trials that ended, kept outside of this process.

    Attributes:
        seconds: What each trial took that had ended when the log was opened, by number.
        elapsed: Seconds that the search had taken by then, in all processes.
    """

    def __init__(self, store: Store, folder: str, kept: bytes) -> None:
        self._store = store
        self._folder = folder
        self.seconds: dict[int, float] = {}
        self.elapsed = 0.0
        for line in kept.splitlines()[1:]:
            told = json.loads(line)
            self.seconds[told["number"]], self.elapsed = told["took"]

    def record(
        self,
        ended: Iterable[tuple[TrialResult, Floats | None]],
        seconds: Mapping[int, float] = _NOTHING,
        elapsed: float = 0.0,
    ) -> None:
        """Keep trials that ended, all of them in one commit.

        Args:
            ended: How each ended, with its out-of-fold predictions where an ensemble may want them.
            seconds: What they took, by number.
            elapsed: Seconds that the search has taken, in all processes.
        """
        lines = []
        for result, outputs in ended:
            if outputs is not None:
                stream = io.BytesIO()
                np.save(stream, outputs)
                self._store.write_record(self._outputs_key(result.number), stream.getvalue())
            told = {name: getattr(result, name) for name in _FIELDS}
            told["took"] = [seconds.get(result.number, 0.0), elapsed]
            lines.append(canonical_json(told) + b"\n")
        if lines:
            self._append(b"".join(lines))

    def outputs(self, number: int) -> Floats:
        """Return the out-of-fold predictions of a trial.

        Raises:
            FileNotFoundError: they were not kept.
        """
        content = self._store.read_bytes(self._outputs_key(number))
        outputs: Floats = np.load(io.BytesIO(content), allow_pickle=False)
        return outputs

    @abstractmethod
    def close(self) -> None:
        """Make everything durable."""

    @abstractmethod
    def _append(self, lines: bytes) -> None:
        """Add lines."""

    def _outputs_key(self, number: int) -> str:
        return f"{self._folder}/oof/{number}.npy"


class AppendedLog(TrialLog):
    """In a directory: lines are appended and synced before `record` returns."""

    def __init__(self, store: Store, folder: str, kept: bytes) -> None:
        super().__init__(store, folder, kept)
        key = f"{folder}/{TRIALS}"
        # Rewriting it first drops a line that was cut.
        store.write_record(key, kept)
        path = path_of(store.uri) / key
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)

    def close(self) -> None:
        """Close the file; it is durable already."""
        os.close(self._descriptor)

    def _append(self, lines: bytes) -> None:
        os.write(self._descriptor, lines)
        os.fsync(self._descriptor)


class ObjectLog(TrialLog):
    """In a bucket: the whole log is written again every other second."""

    def __init__(self, store: Store, folder: str, kept: bytes) -> None:
        super().__init__(store, folder, kept)
        self._content = kept
        self._written_at = -OBJECT_INTERVAL

    def close(self) -> None:
        """Write the log."""
        self._store.write_record(f"{self._folder}/{TRIALS}", self._content)
        self._written_at = time.monotonic()

    def _append(self, lines: bytes) -> None:
        self._content += lines
        if time.monotonic() - self._written_at >= OBJECT_INTERVAL:
            self.close()


def open_log(
    store: Store, folder: str, header: Mapping[str, Any]
) -> tuple[TrialLog, dict[int, TrialResult]]:
    """Return the log of a run and the trials that ended before, by number.

    Args:
        store: The artifact store.
        folder: Key of the run's folder.
        header: What the log belongs to. A log of something else is begun anew.
    """
    first = canonical_json(dict(header)) + b"\n"
    kept, trials = _read(store, f"{folder}/{TRIALS}", first)
    if not trials:
        kept, trials = _adopted(store, folder, first)
    kind = AppendedLog if isinstance(store, FileStore) else ObjectLog
    return kind(store, folder, kept), trials


def _read(store: Store, key: str, first: bytes) -> tuple[bytes, dict[int, TrialResult]]:
    try:
        content = store.read_bytes(key)
    except FileNotFoundError:
        return first, {}
    if not content.startswith(first):
        log.warning("the trial log is of another version of code or data; all trials run again")
        return first, {}
    return _whole(content)


def _whole(content: bytes) -> tuple[bytes, dict[int, TrialResult]]:
    """Return the whole lines of a log, and the trials that they tell of by number."""
    lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    trials = [parse_trial(line) for line in lines[1:]]
    return b"".join(lines), {trial.number: trial for trial in trials}


def _adopted(store: Store, folder: str, first: bytes) -> tuple[bytes, dict[int, TrialResult]]:
    """Return the longest log of an earlier run with the same first line; copies its predictions."""
    runs = folder.rpartition("/")[0]
    kept, trials, source = first, dict[int, TrialResult](), ""
    for key in store.list(runs) if runs else ():
        earlier = key.removesuffix(f"/{TRIALS}")
        if earlier in (key, folder):
            continue
        content = store.read_bytes(key)
        found = _whole(content) if content.startswith(first) else (first, {})
        if len(found[1]) > len(trials):
            kept, trials, source = *found, earlier
    for number in trials:
        outputs = f"oof/{number}.npy"
        if store.exists(f"{source}/{outputs}"):
            store.write_record(f"{folder}/{outputs}", store.read_bytes(f"{source}/{outputs}"))
    if trials:
        log.info("%d trials of the run %s are taken over", len(trials), source)
    return kept, trials


def parse_trial(line: bytes) -> TrialResult:
    """Return the trial that a line of a log tells of."""
    told = {name: value for name, value in json.loads(line).items() if name in _FIELDS}
    return TrialResult(**{**told, "folds": tuple(told["folds"])})
