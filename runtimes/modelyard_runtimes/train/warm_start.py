"""Warm start: the best configurations of earlier runs of the project are tried first, others guide.

Which runs there are depends on when a search starts, so what was taken is written into the run's
folder before the first trial, stands in the record, and is given to a replay.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice

from modelyard.api.artifacts import RECORD, TRIALS, run_key
from modelyard.api.identity import canonical_json
from modelyard.api.records import MetaFeatures, TrainRecord
from modelyard.api.runs import TrainConfig, WarmTrial
from pydantic import ValidationError

from modelyard_runtimes.store import Store
from modelyard_runtimes.train.declared_space import is_known
from modelyard_runtimes.train.space import LEARNER
from modelyard_runtimes.train.trial_log import parse_trial

WARM_START = "warmstart.json"

GUIDING_RUNS, GUIDES_OF_A_RUN = 5, 5
"""Of how many runs how many trials guide the search. docs/decisions/2026-11-29-warm-start.md has
what was tried."""


def warm_trials(config: TrainConfig, store: Store, data: MetaFeatures) -> list[WarmTrial]:
    """Return what a search knows at first: what it knew, if it began before.

    Args:
        config: The configuration of the run.
        store: The artifact store.
        data: What the data of the search are like.
    """
    declared = config.spec.search.warm_start
    if declared is None:
        return []
    if config.measured is not None:
        return config.measured.warm_start
    key = f"{run_key(config.namespace, 'Experiment', config.name, config.identity)}/{WARM_START}"
    try:
        return [WarmTrial.model_validate(found) for found in json.loads(store.read_bytes(key))]
    except FileNotFoundError:
        found = _choose(config, store, data, declared.k)
    store.write_record(key, canonical_json([trial.to_json() for trial in found]))
    return found


def _choose(config: TrainConfig, store: Store, data: MetaFeatures, count: int) -> list[WarmTrial]:
    """Return good trials of the runs that are most alike: of the same Dataset, then by the data.

    The best of each run is tried, so many at most; the best few of the first runs guide the search.
    A run counts when it had the same kind of task, a trial when its family may be tried and has
    these hyperparameters still. Of runs that are equally alike the latest come first.
    """

    def likeness(run: TrainRecord) -> tuple[bool, float, str]:
        same = run.lineage.dataset == config.spec.dataset_ref.name
        return same, -distance(run.meta_features, data), run.provenance.finished_at

    runs = sorted(_records(config, store), key=likeness, reverse=True)
    most = GUIDES_OF_A_RUN if config.spec.search.algorithm == "TPE" else 1
    known: dict[bytes, WarmTrial] = {}
    guiding = tried = 0
    for run in runs:
        if guiding == GUIDING_RUNS and tried == count:
            break
        best = list(islice(_best_trials(config, store, run), most))
        for position, trial in enumerate(best):
            key = canonical_json(trial.parameters)
            before = known.get(key)
            if position == 0 and tried < count and not (before and before.tried):
                known[key] = trial
                tried += 1
            elif before is None and guiding < GUIDING_RUNS:
                known[key] = trial.model_copy(update={"tried": False})
        guiding = min(guiding + bool(best), GUIDING_RUNS)
    return list(known.values())


def _records(config: TrainConfig, store: Store) -> Iterator[TrainRecord]:
    folder = run_key(config.namespace, "Experiment", "", "").rstrip("/")
    for key in store.list(folder):
        if not key.endswith(f"/{RECORD}"):
            continue
        try:
            record = TrainRecord.model_validate_json(store.read_bytes(key))
        except ValidationError:
            # Of another version, whose hyperparameters may mean something else.
            continue
        own = (record.name, record.identity) == (config.name, config.identity)
        if not own and record.task_type == config.spec.task.type:
            yield record


def _best_trials(config: TrainConfig, store: Store, run: TrainRecord) -> Iterator[WarmTrial]:
    """Yield the trials of a run that may be tried again, the best first."""
    key = run_key(run.namespace, "Experiment", run.name, run.identity)
    ranks = {entry.trial: entry.rank for entry in run.leaderboard}
    try:
        lines = store.read_bytes(f"{key}/{TRIALS}").splitlines()[1:]
    except FileNotFoundError:
        return
    trials = sorted(
        (trial for trial in map(parse_trial, lines) if str(trial.number) in ranks),
        key=lambda trial: ranks[str(trial.number)],
    )
    for trial in trials:
        if trial.learner in config.spec.search.learners and is_known(trial.parameters):
            yield WarmTrial(
                experiment=run.name,
                identity=run.identity,
                trial=trial.number,
                learner=str(trial.parameters[LEARNER]),
                parameters=trial.parameters,
            )


def distance(one: MetaFeatures | None, other: MetaFeatures) -> float:
    """Return how unlike two tables are: 0 where nothing tells them apart.

    Ten times as many rows or features count as much as numbers in place of categories. The
    features are those that auto-sklearn calls simple (Feurer et al., "Efficient and Robust
    Automated Machine Learning", 2015).
    """
    if one is None:
        return math.inf
    ratios = ((one.rows, other.rows), (one.features, other.features))
    shares = (
        (one.numeric, other.numeric),
        (one.text, other.text),
        (one.missing, other.missing),
        (one.majority, other.majority),
    )
    return sum(abs(math.log10(left / right)) for left, right in ratios) + sum(
        abs(left - right) for left, right in shares
    )
