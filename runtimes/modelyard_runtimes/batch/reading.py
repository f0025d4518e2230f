"""The input as one stream of rows, each block of them within one shard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from modelyard.api.dataset import Source
from modelyard.api.runs import BatchConfig

from modelyard_runtimes.batch.blocks import Block, read_blocks, rows_of
from modelyard_runtimes.batch.files import InputFile

PLAIN = Source(path="/", format="Parquet", null_values=[])
"""How a snapshot is read: what is missing in it is missing."""


class Placed(NamedTuple):
    """Rows of one shard.

    Attributes:
        shard: Its number.
        first: Number of the first row in the input.
        block: The rows.
    """

    shard: int
    first: int
    block: Block


class Input:
    """All rows of a batch.

    Attributes:
        source: The declared source; None for a snapshot.
        versions: Version of each file, by name.
    """

    def __init__(self, config: BatchConfig, files: Sequence[InputFile]) -> None:
        self.source = config.batch.input.source
        self.versions = {file.name: file.version for file in files}
        self._files = files
        self._size = config.batch.rows_per_shard

    def total(self) -> int | None:
        """Return the number of rows, where the files tell it before they are read."""
        if self.source is not None and self.source.path is None:
            return None
        counts = [rows_of(file.local()) for file in self._files]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def rows(self, columns: Collection[str], start: int) -> Iterator[Placed]:
        """Yield the rows from `start` on.

        What is no row belongs to the shard of the row before which it was found.

        Args:
            columns: Columns that matter.
            start: Number of a row with which a shard begins.
        """
        position = 0
        for read in self._readers(columns):
            end = position
            for block in read(max(0, start - position)):
                first, end = position + block.first, position + block.first + block.table.num_rows
                if first >= start:
                    yield from self._split(block, first)
                elif end > start:
                    rest = block.part(start - first, end - start)
                    yield from self._split(rest, start)
            position = end

    def _readers(self, columns: Collection[str]) -> Iterator[Callable[[int], Iterable[Block]]]:
        """Yield what reads each file, given how many of its rows may be left out."""
        if self.source is not None and self.source.builtin is not None:
            # scikit-learn, which brings these along, takes a second to load.
            from modelyard_runtimes.dataset.builtin import read_builtin  # noqa: PLC0415

            bundled = Block(self.source.builtin, 0, read_builtin(self.source.builtin).file.table)
            yield lambda _: [bundled]
        for file in self._files:
            yield partial(read_blocks, file.name, file.local(), self.source or PLAIN, columns)

    def _split(self, block: Block, first: int) -> Iterator[Placed]:
        """Yield a block cut where shards end."""
        done, rows = 0, block.table.num_rows
        while True:
            at = first + done
            count = min(rows - done, self._size - at % self._size)
            yield Placed(at // self._size, at, block.part(done, count))
            done += count
            if done >= rows:
                return
