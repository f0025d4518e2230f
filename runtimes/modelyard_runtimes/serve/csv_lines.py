"""An upload of CSV: read as a Deployment in mode Batch reads it, with every row in its place."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from modelyard.api.dataset import NULL_VALUES

from modelyard_runtimes.model.schema import Floats
from modelyard_runtimes.serve.http import RequestError, shortened
from modelyard_runtimes.serve.scored_rows import RowScorer, ScoredRows, check_line
from modelyard_runtimes.serve.stream import Answer
from modelyard_runtimes.tables.delimited import (
    Content,
    find_columns,
    find_delimiter,
    read_content,
)
from modelyard_runtimes.tables.inputs import Marks, Misfit
from modelyard_runtimes.tables.rows import Rejected, Unreadable, clean_cells
from modelyard_runtimes.tables.scoring import first_misfits
from modelyard_runtimes.tables.text import REPLACEMENT, Decoded, Piece, Pieces

IGNORED_HEADER = "x-modelyard-ignored-columns"
_MOST_NAMED = 20


class CsvLines:
    """Scores CSV that comes in parts.

    Attributes:
        content_type: Type of the answer.
        headers: Which columns the model does not know.
    """

    content_type = b"text/csv; charset=utf-8"

    def __init__(self, scorer: RowScorer) -> None:
        """Start before the header line.

        Args:
            scorer: What scores the rows.
        """
        self.headers: dict[str, str] = {}
        self._scorer = scorer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces = Pieces(quoted=True)
        self._content: Content | None = None

    def take(self, block: bytes) -> Iterator[Answer]:
        """Yield the answers to the lines that are whole by now.

        Raises:
            RequestError: a column is missing, a line is too long, or none of the first rows fits.
        """
        piece = self._pieces.take(self._decoder.decode(block))
        if piece is not None:
            yield from self._answers(piece)
        rest = self._pieces.rest
        check_line(len(rest) - rest.rfind("\n") - 1, self._pieces.lines + rest.count("\n") + 1)

    def last(self) -> Iterator[Answer]:
        """Yield the answers to what is left.

        Raises:
            RequestError: as `take`.
        """
        self._pieces.rest += self._decoder.decode(b"", final=True)
        piece = self._pieces.last()
        if piece is not None:
            yield from self._answers(piece)

    def ended(self, row: int, message: str) -> bytes:
        """Return the line that says why from this row on there are no others."""
        nothing = "," * (len(self._scorer.model.names) + 1)
        escaped = message.replace('"', '""')
        return f'{row}{nothing}"{escaped}"\n'.encode()

    def _answers(self, piece: Piece) -> Iterator[Answer]:
        content = self._content_of(piece)
        lines = piece.text.split("\n")
        for number, text in enumerate(lines, start=piece.before + 1):
            check_line(len(text), number)
        table, rejected = read_content(content)
        filled = (at for at, text in enumerate(lines) if at >= content.skip and text)
        line = piece.before + 1 + next(filled, content.skip)
        faults = {(row.kept or 0) + at: _why(row) for at, row in enumerate(rejected)}
        kept = np.ones(table.num_rows + len(rejected), dtype=np.bool_)
        kept[list(faults)] = False
        done, most = 0, self._scorer.most
        for start in range(0, len(kept), most):
            part = kept[start : start + most]
            here = {at - start: why for at, why in faults.items() if 0 <= at - start < most}
            rows = self._cleaned(table.slice(done, int(part.sum())))
            done += rows.num_rows
            yield self._answer(line, part, rows, here)

    def _answer(self, line: int, kept: Marks, rows: pa.Table, faults: dict[int, str]) -> Answer:
        model = self._scorer.model
        misfits: Sequence[tuple[int, Misfit]] = []

        def ask() -> Floats:
            nonlocal misfits
            predicted = model.predict(rows)
            misfits = predicted.misfits
            return predicted.values

        values = self._scorer.watch(ask)
        places = np.flatnonzero(kept)
        unfit = first_misfits(misfits)
        more = {int(places[at]): f"{one.column}: {one.detail}" for at, one in unfit.items()}
        fits = kept.copy()
        fits[list(more)] = False
        every = dict(sorted((faults | more).items()))
        return self._scorer.csv(ScoredRows(line, fits, values[fits[places]], every))

    def _content_of(self, piece: Piece) -> Content:
        """Return a piece with its columns, which the first one names.

        Raises:
            RequestError: it does not, or a column is missing.
        """
        damaged = REPLACEMENT in piece.text
        if self._content is not None:
            return self._content._replace(text=piece.text, skip=0, damaged=damaged)
        found = find_delimiter(piece.text)
        decoded = Decoded(piece.text, "utf-8", damaged)
        try:
            content, _ = find_columns("", decoded, found[0] if found else ",")
        except Unreadable as error:
            raise RequestError(400, f"line 1: {error.detail}") from None
        self._check_columns(content)
        self._content = content
        return content

    def _check_columns(self, content: Content) -> None:
        schema = self._scorer.model.model.schema
        missing = [name for name in self._scorer.model.required if name not in content.columns]
        if missing:
            raise RequestError(
                400,
                f"line {max(content.skip, 1)}: the header names no column {shortened(missing[0])}, "
                "which the model needs; add it",
            )
        known = set(schema.names)
        if not known & set(content.columns):
            raise RequestError(
                400, "line 1: the header names no feature of the model; write it as the first line"
            )
        others = [quote(name) for name in content.columns if name not in known]
        if others:
            more = [f"{len(others) - _MOST_NAMED} more"] if len(others) > _MOST_NAMED else []
            self.headers[IGNORED_HEADER] = ", ".join(others[:_MOST_NAMED] + more)

    def _cleaned(self, table: pa.Table) -> pa.Table:
        """Return the columns of features, trimmed, and missing where they say so."""
        features = self._scorer.model.model.schema.names
        names = [name for name in features if name in table.column_names]
        cells = [clean_cells(table.column(name), NULL_VALUES) for name in names]
        return pa.table(cells, names=names)


def _why(rejected: Rejected) -> str:
    if rejected.reason == "BadEncoding":
        return "some bytes are no UTF-8; repair them"
    return rejected.detail
