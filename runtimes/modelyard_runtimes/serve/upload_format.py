"""In which format an upload comes, and what scores its lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from modelyard_runtimes.serve.http import Headers, RequestError, check_encoding

if TYPE_CHECKING:
    from modelyard_runtimes.model.schema import Floats
    from modelyard_runtimes.serve.predictor import Predictor
    from modelyard_runtimes.serve.stream import Lines

UploadFormat: TypeAlias = Literal["CSV", "JSON lines"]
Watch: TypeAlias = "Callable[[Callable[[], Floats]], Floats]"
"""Calls what asks a model, and remembers whether that fails."""
_FORMATS: dict[bytes, UploadFormat] = {
    b"text/csv": "CSV",
    b"application/csv": "CSV",
    b"application/x-ndjson": "JSON lines",
    b"application/ndjson": "JSON lines",
    b"application/jsonl": "JSON lines",
    b"application/x-jsonlines": "JSON lines",
}


def upload_format(headers: Headers) -> UploadFormat:
    """Return the format that a request declares.

    Raises:
        RequestError: it declares none that is known, or another encoding than UTF-8.
    """
    check_encoding(headers)
    name, *parameters = headers.get(b"content-type", b"").lower().split(b";")
    found = _FORMATS.get(name.strip())
    if found is None:
        raise RequestError(
            415,
            "Content-Type: expected text/csv, or application/x-ndjson for JSON lines; send the "
            "rows as one of them and say which",
        )
    for parameter in parameters:
        key, _, value = parameter.partition(b"=")
        if key.strip() == b"charset" and value.strip(b'" ') not in (b"utf-8", b"utf8", b"us-ascii"):
            raise RequestError(415, "Content-Type: no charset but utf-8 is read; send the rows so")
    return found


def open_lines(
    kind: UploadFormat, predictor: Predictor, watch: Watch, count: Callable[[int], None]
) -> Lines:
    """Return what scores the lines of one upload; a thread loads what the first one needs.

    Args:
        kind: Its format.
        predictor: The model.
        watch: Calls what asks the model, and remembers whether that fails.
        count: Called with the number of rows that were predicted.
    """
    from modelyard_runtimes.serve.scored_rows import RowScorer  # noqa: PLC0415 - Arrow is large
    from modelyard_runtimes.tables.scoring import TableModel  # noqa: PLC0415 - the same

    scorer = RowScorer(TableModel(predictor.model), watch, count)
    if kind == "CSV":
        from modelyard_runtimes.serve.csv_lines import CsvLines  # noqa: PLC0415 - the same

        return CsvLines(scorer)
    from modelyard_runtimes.serve.json_lines import JsonLines  # noqa: PLC0415 - the same

    return JsonLines(predictor, scorer)
