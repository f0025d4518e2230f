"""Compiles one member of trees: `python -m modelyard_runtimes.model.compile_trees COLUMNS FILE`.

A model server starts it beside itself, since the compiler and NumPy take 110 MiB and half a second.
It reads the model text from standard input and writes code and tables as `compiled_trees` takes
them, at the lowest priority. It ends with status 0 once the file is whole and answers as LightGBM
does; otherwise with another status, and the last line of standard error says why.
"""

from __future__ import annotations

import mmap
import os
import sys
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard_runtimes.model.compiled_trees import (
    HEADER_BYTES,
    TABLES,
    CompiledTrees,
    Header,
)
from modelyard_runtimes.model.errors import ModelError, NotCompiled
from modelyard_runtimes.model.kernel import machine_code
from modelyard_runtimes.model.trees import Trees

if TYPE_CHECKING:
    from modelyard_runtimes.model.forest import Forest

MOST_TABLE_BYTES = 8 * 1024 * 1024
"""Beyond it LightGBM goes on: a server has other uses for memory and cache than looking up leaves.
200 trees of 31 leaves over 30 columns take a third."""

MOST_BYTES_A_TREE = 2048
"""What is looked at of the table for a row, by the number of trees: with more, of 200 trees over
many hundred columns say, LightGBM's walk down them takes no longer."""

ALIGNMENT = 64
LOWEST_PRIORITY = 19


def main() -> None:
    """Compile what standard input holds, or say why not."""
    os.nice(LOWEST_PRIORITY)
    columns, file = sys.argv[1:]
    try:
        compile_trees(sys.stdin.buffer.read(), int(columns), Path(file))
    except (NotCompiled, ModelError, OSError) as reason:
        sys.exit(" ".join(str(reason).split()))


def compile_trees(text: bytes, columns: int, path: Path) -> None:
    """Compile trees into a file, which only its owner can read.

    Args:
        text: The model text.
        columns: Number of columns that rows have.
        path: The file, which is not there yet.

    Raises:
        NotCompiled: it has something that only LightGBM evaluates, or the code answers otherwise.
        ModelError: it is not a model text.
        OSError: the file cannot be written, or its code may not be run.
    """
    from modelyard_runtimes.model.forest import Forest  # noqa: PLC0415 - first the priority

    trees, forest = Trees(text, columns), Forest(text, columns, MOST_TABLE_BYTES)
    if len(forest.tests) * forest.table[0].nbytes > MOST_BYTES_A_TREE * len(forest.first):
        raise NotCompiled("it has too many columns for its trees")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(_content(forest, columns))
    compiled = CompiledTrees(path)
    for row in forest.sample().tolist():
        if list(compiled.predict_one(row)) != list(trees.predict_one(row)):
            raise NotCompiled("the compiled code answers otherwise")


def _content(forest: Forest, columns: int) -> bytes:
    """Return the file's content."""
    parts = [getattr(forest, name).tobytes() for name in TABLES]
    parts = [part + bytes(-len(part) % ALIGNMENT) for part in parts]
    *places, end = accumulate(map(len, parts), initial=HEADER_BYTES)
    code = machine_code()
    gap = bytes(-end % mmap.PAGESIZE)
    header = Header(
        columns=columns,
        outputs=forest.outputs,
        objective=forest.link.objective,
        sigmoid=forest.link.sigmoid,
        divisor=forest.link.divisor,
        places=dict(zip(TABLES, places, strict=True)),
        test_count=len(forest.tests),
        words=forest.table.shape[1],
        trees=len(forest.first),
        code=end + len(gap),
        size=end + len(gap) + len(code),
    )
    return b"".join((header.to_bytes(), *parts, gap, code))


if __name__ == "__main__":
    main()
