"""One batch: model and input in, shards of predictions and the record out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from modelyard.api.dataset import Source
from modelyard.api.records import BatchRecord
from modelyard.api.runs import BatchConfig

from modelyard_runtimes.batch.blocks import Block, read_blocks, rows_of
from modelyard_runtimes.batch.files import InputFile, field_of, input_files
from modelyard_runtimes.batch.scoring import Scored, Scorer
from modelyard_runtimes.batch.shards import Journal, changed_input
from modelyard_runtimes.entry import RunFailure, log, now
from modelyard_runtimes.model import Model, ModelError, load
from modelyard_runtimes.provenance import provenance
from modelyard_runtimes.store import Store, open_store

LIBRARIES = ("lightgbm", "llvmlite", "numpy", "pyarrow")
OUTPUT_CREDENTIALS = "OUTPUT_AWS"
MOST_THREADS = 8
"""More would hold more blocks in memory than a pod gets, and wait for the one that reads."""
PLAIN = Source(path="/", format="Parquet", null_values=[])
"""How a snapshot is read: what is missing in it is missing."""


class Placed(NamedTuple):
    """Rows of one shard."""

    shard: int
    first: int
    block: Block


def score(config: BatchConfig, store: Store) -> BatchRecord:
    """Score the input and return the record.

    Raises:
        RunFailure: the configuration cannot be carried out; names the field.
        StoreError: a store refuses, or holds other bytes than were committed.
    """
    started = now()
    model = open_model(config, store)
    evaluation = model.compile_trees()
    log.info("model opened", extra={"fields": {"evaluation": evaluation}})
    scorer = Scorer(model, config.batch.output.include, config.batch.input.source)
    check_privacy(config, model)
    files = input_files(config, store, os.environ)
    output = open_output(config, store)
    journal = Journal(config, store, output)
    versions = {file.name: file.version for file in files}
    journal.agree(versions)
    if journal.shards:
        log.info("resumed", extra={"fields": {"shards": len(journal.shards)}})
    if not journal.complete:
        _score(config, files, scorer, journal)
    _check_unchanged(config, store, versions)
    result, manifest_digest = journal.finish()
    return BatchRecord(
        namespace=config.namespace,
        name=config.name,
        identity=config.identity,
        model_version=config.model_version,
        model_digest=config.model_digest,
        result=result,
        shards=journal.shards,
        manifest_digest=manifest_digest,
        evaluation=evaluation,
        config=config,
        provenance=provenance(started, config.source_revision, LIBRARIES),
    )


def open_model(config: BatchConfig, store: Store) -> Model:
    """Return the packed model, its bytes checked.

    Raises:
        RunFailure: this version cannot read it.
    """
    folder = store.open_artifact(config.model_uri, config.model_digest).folder()
    try:
        return load(folder)
    except ModelError as error:
        raise RunFailure("UnreadableModel", f"{config.model_version}: {error}") from error


def check_privacy(config: BatchConfig, model: Model) -> None:
    """Check that no privacy action of the Dataset is passed by.

    Raises:
        RunFailure: an included column is not to be shown, or the model knows a column only as the
            Dataset hides it.
    """
    hidden = {name for name, action in model.document.privacy.items() if action != "Allow"}
    raw = config.batch.input.source is not None
    kept = {*model.document.never_logged, *(hidden if raw else ())}
    for position, name in enumerate(config.batch.output.include):
        if name in kept:
            raise RunFailure(
                "PersonalData",
                f"spec.batch.output.include[{position}]: {name} holds personal data; remove it, or "
                "declare an action for it in the Dataset's spec.privacy.columns and score its "
                "datasetRef",
            )
    learned = sorted(hidden & set(model.schema.names)) if raw else []
    if learned:
        raise RunFailure(
            "PersonalData",
            f"spec.batch.input.source: the model knows {learned[0]} only after the privacy actions "
            "of its Dataset; score a datasetRef that has the same",
        )


def open_output(config: BatchConfig, store: Store) -> Store:
    """Return the folder of this run's files: in the artifact store, or where it is declared."""
    reach = config.output_store or config.store
    credentials = OUTPUT_CREDENTIALS if config.output_store else "AWS"
    return open_store(reach.model_copy(update={"uri": config.output_uri}), os.environ, credentials)


def _score(
    config: BatchConfig, files: Sequence[InputFile], scorer: Scorer, journal: Journal
) -> None:
    """Score what no whole shard covers yet; rows are read, scored and written at the same time."""
    total = _total(config, files)
    journal.tell(total)
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    with ThreadPoolExecutor(threads) as scoring, ThreadPoolExecutor(1) as writing:
        written: Future[None] | None = None
        for parts, last in _shards(_scored(config, files, scorer, journal, scoring, threads)):
            if written is not None:
                written.result()
            written = writing.submit(journal.write, parts, total, last=last)
        if written is None:
            message = f"{field_of(config.batch.input.source)}: no rows to read there; add rows"
            raise RunFailure("EmptySource", message)
        written.result()


def _scored(  # noqa: PLR0913, PLR0917 - what a run consists of
    config: BatchConfig,
    files: Sequence[InputFile],
    scorer: Scorer,
    journal: Journal,
    pool: ThreadPoolExecutor,
    threads: int,
) -> Iterator[tuple[int, Scored]]:
    """Yield the scored blocks with the number of their shard, in the order of the input."""
    ahead: deque[tuple[int, Future[Scored]]] = deque()
    for placed in _placed(config, files, scorer, journal.next_row):
        ahead.append((placed.shard, pool.submit(scorer.score, placed.block, placed.first)))
        if len(ahead) > threads + 1:
            shard, scored = ahead.popleft()
            yield shard, scored.result()
    for shard, scored in ahead:
        yield shard, scored.result()


def _shards(scored: Iterable[tuple[int, Scored]]) -> Iterator[tuple[list[Scored], bool]]:
    """Yield what each shard is made of, and whether it is the last one."""
    parts: list[Scored] = []
    present: int | None = None
    for shard, part in scored:
        if present is not None and shard != present:
            yield parts, False
            parts = []
        present = shard
        parts.append(part)
    if parts:
        yield parts, True


def _placed(
    config: BatchConfig, files: Sequence[InputFile], scorer: Scorer, start: int
) -> Iterator[Placed]:
    """Yield the rows of the input from `start` on, each block within one shard.

    What is no row belongs to the shard of the row before which it was found.
    """
    position = 0
    for read in _readers(config, files, scorer):
        end = position
        for block in read(max(0, start - position)):
            scorer.check(block)
            first, end = position + block.first, position + block.first + block.table.num_rows
            if first >= start:
                yield from _split(block, first, config.batch.rows_per_shard)
            elif end > start:
                rest = block._replace(table=block.table.slice(start - first), rejected=())
                yield from _split(rest, start, config.batch.rows_per_shard)
        position = end


def _readers(
    config: BatchConfig, files: Sequence[InputFile], scorer: Scorer
) -> Iterator[Callable[[int], Iterable[Block]]]:
    """Yield what reads each file, given how many of its rows may be left out."""
    source = config.batch.input.source
    if source is not None and source.builtin is not None:
        # scikit-learn, which brings these along, takes a second to load.
        from modelyard_runtimes.dataset.builtin import read_builtin  # noqa: PLC0415

        bundled = Block(source.builtin, 0, read_builtin(source.builtin).file.table)
        yield lambda _: [bundled]
    for file in files:
        yield partial(read_blocks, file.name, file.local(), source or PLAIN, scorer.columns)


def _split(block: Block, first: int, size: int) -> Iterator[Placed]:
    """Yield a block cut where shards end."""
    done, rows = 0, block.table.num_rows
    while True:
        at = first + done
        count = min(rows - done, size - at % size)
        part = block._replace(
            table=block.table.slice(done, count), rejected=block.rejected if done == 0 else ()
        )
        yield Placed(at // size, at, part)
        done += count
        if done >= rows:
            return


def _total(config: BatchConfig, files: Sequence[InputFile]) -> int | None:
    """Return the number of rows of the input, where it tells before it is read."""
    source = config.batch.input.source
    if source is not None and source.path is None:
        return None
    counts = [rows_of(file.local()) for file in files]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _check_unchanged(config: BatchConfig, store: Store, before: Mapping[str, str]) -> None:
    """Check that the input is what it was when the run began.

    Raises:
        RunFailure: it is not; the output is of no use.
    """
    after = {file.name: file.version for file in input_files(config, store, os.environ)}
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if changed:
        raise changed_input(changed)
