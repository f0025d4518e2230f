"""Writes shards and remembers each that is whole: what a killed run goes on from.

A shard is the predictions of a fixed range of the input's rows. Its files are written first, each
whole or not at all, then the note about it. So a run that is killed at any moment has either noted
a shard, and never scores its rows again, or writes the very same bytes to the very same names.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pv  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from modelyard.api.artifacts import PROGRESS, run_key
from modelyard.api.deployment import BatchProgress, BatchResult
from modelyard.api.identity import canonical_json, digest
from modelyard.api.records import Shard
from modelyard.api.runs import BatchConfig

from modelyard_runtimes.batch.json_cells import json_cells
from modelyard_runtimes.batch.output import Output
from modelyard_runtimes.batch.scoring import Scored
from modelyard_runtimes.dataset.jsonl import json_lines
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store import Store
from modelyard_runtimes.tables.scoring import LABEL, ROW

INPUT = "input.json"
MANIFEST = "_manifest.json"
REJECTED = "_rejected"
"""What reads a folder of files as one table passes over names that begin so."""
SUFFIXES = {"Parquet": "parquet", "JSONL": "jsonl", "CSV": "csv"}
MOST_REASONS = 50
LONGEST_REASON = 512
_ROW_GROUP = 1 << 17


class Journal:
    """The shards of one run, in the artifact store and in the output."""

    def __init__(self, config: BatchConfig, store: Store, output: Output) -> None:
        self._config = config
        self._store = store
        self._output = output
        self._folder = run_key(config.namespace, "Deployment", config.name, config.identity)
        self.shards = self._noted()

    @property
    def next_row(self) -> int:
        """Number of the first row of the input that no whole shard covers."""
        return self.shards[-1].next_row if self.shards else 0

    @property
    def complete(self) -> bool:
        """Whether the last shard of the input is whole too."""
        return bool(self.shards) and self.shards[-1].last

    def agree(self, versions: Mapping[str, str]) -> None:
        """Check that the input is what the whole shards were made of, or note it for the first.

        Raises:
            RunFailure: it is not; what the shards hold and what is still to come do not belong
                together.
        """
        key = f"{self._folder}/{INPUT}"
        if self.shards:
            noted = json.loads(self._store.read_bytes(key))
            changed = differing(noted, versions)
            if changed:
                raise changed_input(changed)
            return
        self._store.write_record(key, canonical_json(dict(versions)))

    def write(self, scored: Sequence[Scored], total: int | None, *, last: bool) -> None:
        """Write the next shard of the input, then note it."""
        number, first = len(self.shards), self.next_row
        # A part without rows may have columns without a type, which take that of the others.
        table = pa.concat_tables([part.table for part in scored], promote_options="default")
        rejected = [row for part in scored for row in part.rejected]
        data = encoded(table, self._config.batch.output.format)
        file = f"part-{number:05d}.{SUFFIXES[self._config.batch.output.format]}"
        self._output.write(file, data)
        apart = f"{REJECTED}-{number:05d}.jsonl" if rejected else ""
        if rejected:
            lines = [canonical_json(row) for row in rejected]
            self._output.write(apart, b"\n".join([*lines, b""]))
        no_rows = sum(1 for row in rejected if "row" not in row)
        read = sum(part.read for part in scored)
        shard = Shard(
            number=number,
            first_row=first,
            next_row=first + read - no_rows,
            rows_read=read,
            rows_written=table.num_rows,
            file=file,
            digest=digest(data),
            size=len(data),
            rejected=apart,
            reasons=dict(Counter(row["reason"] for row in rejected)),
            rejected_for=dict(Counter(map(_why, rejected))),
            last=last,
        )
        self._store.write_record(self._note(number), canonical_json(shard.to_json()))
        self.shards.append(shard)
        self.tell(total)

    def tell(self, total: int | None) -> None:
        """Write how far the run is."""
        done = sum(shard.rows_read for shard in self.shards)
        progress = BatchProgress(done=done, total=total, shards=len(self.shards))
        self._store.write_record(f"{self._folder}/{PROGRESS}", canonical_json(progress.to_json()))

    def finish(self) -> tuple[BatchResult, str]:
        """Write the output's manifest; return what the run made, and the manifest's digest."""
        reasons: Counter[str] = Counter()
        rejected_for: Counter[str] = Counter()
        for shard in self.shards:
            reasons.update(shard.reasons)
            rejected_for.update(shard.rejected_for)
        read = sum(shard.rows_read for shard in self.shards)
        written = sum(shard.rows_written for shard in self.shards)
        most = _most_frequent(rejected_for)
        result = BatchResult(
            output_uri=self._config.output_uri,
            rows_read=read,
            rows_written=written,
            rows_rejected=read - written,
            reasons=dict(_most_frequent(reasons)[:MOST_REASONS]),
            most_rejected_for=most[0][0][:LONGEST_REASON] if most else "",
            shards=len(self.shards),
        )
        manifest = canonical_json(
            {
                "modelVersion": self._config.model_version,
                "modelDigest": self._config.model_digest,
                "identity": self._config.identity,
                "format": self._config.batch.output.format,
                **result.to_json(),
                "shards": [shard.to_json() for shard in self.shards],
            }
        )
        self._output.write(MANIFEST, manifest)
        return result, digest(manifest)

    def _noted(self) -> list[Shard]:
        """Return the whole shards from the first on, as long as their files are there."""
        shards: list[Shard] = []
        while self._store.exists(self._note(len(shards))):
            data = self._store.read_bytes(self._note(len(shards)))
            shard = Shard.model_validate_json(data)
            if not all(map(self._output.exists, filter(None, [shard.file, shard.rejected]))):
                break
            shards.append(shard)
        return shards

    def _note(self, number: int) -> str:
        return f"{self._folder}/shards/{number:05d}.json"


def _why(rejected: Mapping[str, Any]) -> str:
    """Return the reason of a rejected row, after the column where it has one."""
    column, reason = rejected.get("column"), str(rejected["reason"])
    return f"{column}: {reason}" if column else reason


def _most_frequent(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the files that changed, came or went, by their versions."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def changed_input(names: Sequence[str]) -> RunFailure:
    """Return the failure of a run whose input changed under it."""
    some = ", ".join(names[:5])
    return RunFailure(
        "InputChanged",
        f"spec.batch.input: {some} changed while the run was under way; a new spec.run.token "
        "scores all of it as it is then",
    )


def encoded(table: pa.Table, kind: str) -> bytes:
    """Return the bytes of an output file: the same for the same rows, whoever computed them."""
    if kind == "JSONL":
        columns = [json_cells(column) for column in table.columns]
        return json_lines(pa.table(columns, names=table.column_names))
    sink = io.BytesIO()
    if kind == "CSV":
        pv.write_csv(table, sink)
    else:
        floating = [field.name for field in table.schema if pa.types.is_floating(field.type)]
        others = [n for n in table.column_names if n not in floating and n != ROW]
        pq.write_table(
            table.combine_chunks(),
            sink,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            use_dictionary=others or [LABEL],
            column_encoding={ROW: "DELTA_BINARY_PACKED"},
            write_statistics=[ROW, *others],
        )
    return sink.getvalue()
