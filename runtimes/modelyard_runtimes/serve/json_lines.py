"""An upload of JSON lines: each line is an instance, as `:predict` takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from modelyard_runtimes.model import ValidationError
from modelyard_runtimes.model.rows import Rows
from modelyard_runtimes.model.schema import Floats, Inputs
from modelyard_runtimes.serve.http import RequestError
from modelyard_runtimes.serve.instances import as_row
from modelyard_runtimes.serve.predictor import Predictor
from modelyard_runtimes.serve.scored_rows import RowScorer, ScoredRows, check_line
from modelyard_runtimes.serve.stream import Answer
from modelyard_runtimes.tables.scoring import NOT_FINITE, ROW

_MARK = b"\xef\xbb\xbf"


class JsonLines:
    """Scores JSON lines that come in parts.

    Attributes:
        content_type: Type of the answer.
        headers: None: a row that names what is no feature does not fit.
    """

    content_type = b"application/x-ndjson"

    def __init__(self, predictor: Predictor, scorer: RowScorer) -> None:
        """Start before the first line.

        Args:
            predictor: The model that knows what an instance is.
            scorer: The same one, which scores.
        """
        self.headers: dict[str, str] = {}
        self._predictor = predictor
        self._scorer = scorer
        self._rest = b""
        self._line = 0

    def take(self, block: bytes) -> Iterator[Answer]:
        """Yield the answers to the lines that are whole by now.

        Raises:
            RequestError: a line is too long, or none of the first ones fits.
        """
        whole = self._rest + block
        end = whole.rfind(b"\n") + 1
        self._rest = whole[end:]
        yield from self._answers(whole[:end].split(b"\n")[:-1])
        check_line(len(self._rest), self._line + 1)

    def last(self) -> Iterator[Answer]:
        """Yield the answer to the last line, where it has no end.

        Raises:
            RequestError: it is the only one, and does not fit.
        """
        rest, self._rest = self._rest, b""
        yield from self._answers([rest])

    def ended(self, row: int, message: str) -> bytes:
        """Return the line that says why from this row on there are no others."""
        return orjson.dumps({ROW: row, "error": message}) + b"\n"

    def _answers(self, lines: Iterable[bytes]) -> Iterator[Answer]:
        first, part = 0, []
        for line in lines:
            self._line += 1
            check_line(len(line), self._line)
            text = line.removeprefix(_MARK) if self._line == 1 else line
            if not text or text.isspace():
                continue
            first = first or self._line
            part.append(text)
            if len(part) == self._scorer.most:
                yield self._answer(first, part)
                first, part = 0, []
        if part:
            yield self._answer(first, part)

    def _answer(self, line: int, part: Sequence[bytes]) -> Answer:
        rows: list[Sequence[Any]] = []
        faults: dict[int, str] = {}
        for at, text in enumerate(part):
            try:
                rows.append(as_row(0, orjson.loads(text), self._predictor))
            except orjson.JSONDecodeError as error:
                where = f"{error.msg} at character {error.pos + 1}"
                faults[at] = f"it is no JSON, {where}; write one instance a line"
            except RequestError as error:
                faults[at] = error.message.removeprefix("instances[0]").lstrip(".: ")
        places = [at for at in range(len(part)) if at not in faults]
        values, unfit = self._values(rows)
        faults |= {places[at]: why for at, why in unfit.items()}
        fits = np.ones(len(part), dtype=np.bool_)
        fits[list(faults)] = False
        strange = self._scorer.model.not_finite(values)
        for at in np.flatnonzero(fits)[strange].tolist():
            fits[at] = False
            faults[at] = NOT_FINITE
        ordered = dict(sorted(faults.items()))
        return self._scorer.json(ScoredRows(line, fits, values[~strange], ordered))

    def _values(self, rows: Rows) -> tuple[Floats, dict[int, str]]:
        """Return what the model says of the rows that fit, and why others do not, by position."""
        try:
            inputs, unfit = _inputs(self._predictor, rows), {}
        except ValidationError:
            unfit = _misfits(self._predictor, rows)
            rows = [row for at, row in enumerate(rows) if at not in unfit]
            inputs = _inputs(self._predictor, rows)
        if not rows:
            return self._scorer.model.nothing(), unfit
        return self._scorer.watch(lambda: self._predictor.model.predict_inputs(inputs)), unfit


def _inputs(predictor: Predictor, rows: Rows) -> Inputs:
    columns = predictor.by_column(rows) if rows else dict.fromkeys(predictor.names, ())
    return predictor.model.schema.validate(columns)


def _misfits(predictor: Predictor, rows: Rows) -> dict[int, str]:
    """Return why rows do not fit, by position; of half the rows again where one does not."""
    try:
        _inputs(predictor, rows)
    except ValidationError as error:
        if len(rows) == 1:
            return {0: f"{error.field}: {error.problem}"}
        half = len(rows) // 2
        later = _misfits(predictor, rows[half:])
        return _misfits(predictor, rows[:half]) | {half + at: why for at, why in later.items()}
    return {}
