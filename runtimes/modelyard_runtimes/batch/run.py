"""One batch: model and input in, shards of predictions and the record out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from modelyard.api.dataset import Source
from modelyard.api.records import BatchRecord
from modelyard.api.runs import BatchConfig

from modelyard_runtimes.batch.files import field_of, input_files
from modelyard_runtimes.batch.output import Output
from modelyard_runtimes.batch.reading import Input, Placed
from modelyard_runtimes.batch.scoring import Scored, Scorer
from modelyard_runtimes.batch.shards import Journal, changed_input, differing
from modelyard_runtimes.entry import RunFailure, log, now
from modelyard_runtimes.model import Model, ModelError, load
from modelyard_runtimes.provenance import provenance
from modelyard_runtimes.store import Store

LIBRARIES = ("lightgbm", "llvmlite", "numpy", "pyarrow")
MOST_THREADS = 8
"""More would hold more blocks in memory than a pod gets, and wait for the one that reads."""


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
    scorer = Scorer(model, config.batch.output, config.batch.input.source)
    check_privacy(config, model)
    given = Input(config, input_files(config, store, os.environ))
    journal = Journal(config, store, Output(config))
    journal.agree(given.versions)
    if journal.shards:
        log.info("resumed", extra={"fields": {"shards": len(journal.shards)}})
    if not journal.complete:
        _score(given, scorer, journal)
    check_unchanged(given, Input(config, input_files(config, store, os.environ)))
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
    artifact = store.open_artifact(config.model_uri, config.model_digest)
    folder = artifact.folder()  # which is there for as long as the artifact is
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


def check_unchanged(before: Input, after: Input) -> None:
    """Check that the input is what it was when the run began.

    Raises:
        RunFailure: it is not; the output is of no use.
    """
    changed = differing(before.versions, after.versions)
    if changed:
        raise changed_input(changed)


def _score(given: Input, scorer: Scorer, journal: Journal) -> None:
    """Score what no whole shard covers yet; rows are read, scored and written at the same time."""
    total = given.total()
    journal.tell(total)
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    with ThreadPoolExecutor(threads) as scoring, ThreadPoolExecutor(1) as writing:
        written: Future[None] | None = None
        placed = given.rows(scorer.columns, journal.next_row)
        for parts, last in _shards(_scored(placed, scorer, scoring, threads + 1)):
            if not (scorer.begun or journal.shards):
                _check_any_readable(given.source, parts)
                break
            if written is not None:
                written.result()
            written = writing.submit(journal.write, parts, total, last=last)
        if written is None:
            message = f"{field_of(given.source)}: no rows to read there; add rows"
            raise RunFailure("EmptySource", message)
        written.result()


def _check_any_readable(source: Source | None, parts: Sequence[Scored]) -> None:
    """Check that an input without rows is no file that cannot be read.

    Raises:
        RunFailure: it is; the first such file is named.
    """
    for part in parts:
        for apart in part.rejected:
            message = f"{field_of(source)}: {apart['file']}: {apart['detail']}; or remove the file"
            raise RunFailure(apart["reason"], message)


def _scored(
    rows: Iterable[Placed], scorer: Scorer, pool: ThreadPoolExecutor, most: int
) -> Iterator[tuple[int, Scored]]:
    """Yield the scored blocks with the number of their shard, in the order of the input.

    Args:
        rows: The blocks.
        scorer: Scores them.
        pool: Where it does.
        most: Blocks that are read ahead of the one that is yielded.
    """
    ahead: deque[tuple[int, Future[Scored]]] = deque()
    for placed in rows:
        scorer.check(placed.block)
        ahead.append((placed.shard, pool.submit(scorer.score, placed.block, placed.first)))
        if len(ahead) > most:
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
