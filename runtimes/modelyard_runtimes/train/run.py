"""One run of an Experiment: snapshot and configuration in, model, evidence and record out."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from modelyard.api.artifacts import MODEL_MEDIA_TYPE, run_key
from modelyard.api.experiment import Search
from modelyard.api.identity import canonical_json, digest
from modelyard.api.meta import seconds
from modelyard.api.modelversion import Lineage
from modelyard.api.records import CARD_FILE, EVIDENCE_MEDIA_TYPE, TrainRecord
from modelyard.api.runs import TrainConfig

from modelyard_runtimes.entry import RunFailure, now
from modelyard_runtimes.model import load_files
from modelyard_runtimes.provenance import provenance
from modelyard_runtimes.store import Store, open_store
from modelyard_runtimes.train import winner
from modelyard_runtimes.train.engines.registry import engine_of
from modelyard_runtimes.train.evidence.collect import collect
from modelyard_runtimes.train.executor import Executor, ProcessPool
from modelyard_runtimes.train.learners.registry import EXTRAS
from modelyard_runtimes.train.objectives import choose_by_objectives, kept_folds, most_refits
from modelyard_runtimes.train.one_fold import (
    fit_seconds,
    haste,
    most_members,
    refit_share,
)
from modelyard_runtimes.train.problem import Problem, prepare
from modelyard_runtimes.train.progress import ProgressFile
from modelyard_runtimes.train.sampler import Start
from modelyard_runtimes.train.search import Plan, SearchRun
from modelyard_runtimes.train.snapshot import read_snapshot
from modelyard_runtimes.train.task import SearchData
from modelyard_runtimes.train.trial import TrialResult
from modelyard_runtimes.train.trial_log import open_log
from modelyard_runtimes.train.warm_start import warm_trials

log = logging.getLogger("modelyard")

LIBRARIES = (
    "autogluon.tabular",
    "catboost",
    "flaml",
    "lightgbm",
    "numpy",
    "optuna",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "torch",
    "xgboost-cpu",
)

OpenExecutor = Callable[[TrainConfig, SearchData, Path], Executor]
"""Starts the executor of a run; the folder is one that the run removes in the end."""


def train(config: TrainConfig, store: Store) -> TrainRecord:
    """Run the search on the Ray cluster it was started in, else on this machine.

    Raises:
        RunFailure: the configuration cannot be carried out; names the field.
        StoreError: the store refuses, or holds other bytes than were committed.
    """
    on_ray = config.spec.execution.backend == "Ray" and in_ray_cluster()
    return train_with(config, store, open_ray_pool if on_ray else open_pool)


def in_ray_cluster() -> bool:
    """Return whether this process is a driver that a Ray cluster started."""
    return "RAY_ADDRESS" in os.environ


def open_ray_pool(config: TrainConfig, data: SearchData, folder: Path) -> Executor:
    """Return a pool of actors on the Ray cluster."""
    from modelyard_runtimes.train.ray_pool import RayPool  # noqa: PLC0415 - only its image has Ray

    data.save(folder)
    timeout = seconds(config.spec.search.trial_timeout)
    return RayPool(min(config.workers, config.spec.search.trials), folder, timeout)


def open_pool(config: TrainConfig, data: SearchData, folder: Path) -> Executor:
    """Return a pool of warm processes on this machine."""
    data.save(folder)
    timeout = seconds(config.spec.search.trial_timeout)
    return ProcessPool(min(config.workers, config.spec.search.trials), folder, timeout)


def train_with(config: TrainConfig, store: Store, open_executor: OpenExecutor) -> TrainRecord:
    """Run the search on an executor and return its record.

    Raises:
        RunFailure: the configuration cannot be carried out; names the field.
        StoreError: the store refuses, or holds other bytes than were committed.
    """
    started_at = now()
    check_installed(config.spec.search)
    snapshots = open_store(config.snapshot_store) if config.snapshot_store else store
    snapshot = read_snapshot(snapshots, config.snapshot_uri, config.snapshot_digest)
    problem = prepare(snapshot, config)
    folder = run_key(config.namespace, "Experiment", config.name, config.identity)
    with (
        tempfile.TemporaryDirectory(prefix="modelyard-train-") as temporary,
        closing(ProgressFile(store, folder)) as progress,
    ):
        executor = open_executor(config, problem.search, Path(temporary))
        try:
            run, choice, files = _search(config, store, problem, executor, progress)
        finally:
            executor.close()
    artifact = store.put_artifact(MODEL_MEDIA_TYPE, files)
    evidence = collect(config, problem, load_files(files), artifact.digest, choice, run)
    evidence_artifact = store.put_artifact(EVIDENCE_MEDIA_TYPE, evidence.files)
    return TrainRecord(
        namespace=config.namespace,
        name=config.name,
        identity=config.identity,
        task_type=config.spec.task.type,
        metric=problem.search.goal.metric,
        metrics=evidence.metrics,
        metric_interval=evidence.metric_interval,
        leaderboard=choice.leaderboard,
        progress=progress.latest,
        artifact=artifact,
        evidence=evidence_artifact,
        card_uri=f"{evidence_artifact.uri}/{CARD_FILE}",
        card_digest=digest(evidence.files[CARD_FILE]),
        fairness=evidence.fairness,
        defects=evidence.defects,
        lineage=Lineage(
            experiment=config.name,
            run_identity=config.identity,
            dataset=config.spec.dataset_ref.name,
            data_fingerprint=config.fingerprint,
            source_revision=config.source_revision,
        ),
        snapshot_uri=config.snapshot_uri,
        snapshot_digest=config.snapshot_digest,
        meta_features=problem.meta_features,
        warm_start=warm_trials(config, store, problem.meta_features),
        replayable=not run.timed,
        config=config,
        provenance=provenance(started_at, config.source_revision, LIBRARIES),
    )


def check_installed(search: Search) -> None:
    """Check that the declared engine runs here, and can fit every declared family of models.

    Raises:
        RunFailure: it cannot; neither is ever skipped.
    """
    engine = engine_of(search)
    if not engine.installed:
        raise _missing(f"engine: {engine.name}", engine.extra, "field")
    for index, learner in enumerate(search.learners):
        if learner not in engine.learners:
            raise _missing(f"learners[{index}]: {learner}", EXTRAS[learner], "learner")


def _missing(what: str, extra: str, removed: str) -> RunFailure:
    return RunFailure(
        "BackendMissing",
        f"spec.search.{what} is not installed; it comes with the extra "
        f"modelyard-runtimes[{extra}]; install that or remove the {removed}",
    )


def _search(
    config: TrainConfig,
    store: Store,
    problem: Problem,
    executor: Executor,
    progress: ProgressFile,
) -> tuple[SearchRun, winner.Choice, dict[str, bytes]]:
    """Search, choose and pack; return also the search, which knows what was cut."""
    spec = config.spec
    folder = run_key(config.namespace, "Experiment", config.name, config.identity)
    warm = warm_trials(config, store, problem.meta_features)
    wall_clock = seconds(spec.budget.wall_clock) if spec.budget.wall_clock else None
    members = most_members(config, problem.search)
    plan = Plan(
        goal=problem.search.goal,
        search=spec.search,
        fits=problem.search.fit_count,
        parallelism=config.parallelism,
        wall_clock=wall_clock,
        refits=most_refits(spec, members),
        measured=config.measured,
        start=Start(
            warm=tuple(trial.parameters for trial in warm if trial.tried),
            liked=tuple(trial.parameters for trial in warm),
            haste=haste(config, problem.search),
        ),
        shape=(len(problem.search.target), len(problem.choice.features)),
        fit_seconds=fit_seconds(problem.search, wall_clock),
        refit=refit_share(config, problem.search),
        refit_fits=kept_folds(spec, problem.search) or 1,
    )
    versions = provenance(now(), "", LIBRARIES)
    header = {
        "log": "modelyard/trials.v3",
        "trials": digest(canonical_json(spec.trial_fields())),
        "parallelism": config.parallelism,
        "warmStart": [trial.to_json() for trial in warm],
        "snapshot": config.snapshot_digest,
        "codeVersion": versions.code_version,
        "codeDigest": versions.code_digest,
        "environment": versions.environment,
    }
    trial_log, logged = open_log(store, folder, header)
    try:
        run = SearchRun(plan, executor, trial_log, logged, progress.report)
        results: Sequence[TrialResult] = run.run()
        choice = winner.choose(
            problem.search.judged, results, trial_log, spec.ensemble.type, members
        )
    finally:
        trial_log.close()
    choice, files = choose_by_objectives(config, problem, executor, choice)
    return run, choice, files
