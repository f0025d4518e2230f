"""How good the models are that the recipe, FLAML, AutoGluon and LightGBM find in equal time.

It takes 110 minutes. `QUALITY_SETS=telco,titanic make bench ROW=quality` measures some sets; of the
others the page keeps what was measured before. With `QUALITY_SECONDS=10 QUALITY_SEEDS=2` it is a
quick look that does not count, and writes no page.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

THREADS = 2
FULL_SECONDS = 60
"""Runs of any other time are a quick look."""
SECONDS = int(os.environ.get("QUALITY_SECONDS", FULL_SECONDS))
SEARCHED = 0.85
"""Share of the time for our search and refit; the rest is for starting workers and for evidence."""
SPLITS = 5
LEAST_SHARE = 0.8
"""A run that was left a smaller share of the processors is void, where its time is limited."""
MOST_TIMES = 1.1
"""A run that took more times its seconds is void as well."""
TRIES = 3
"""Runs of a side on a split, while they are void; the last one stands."""
UNTIMED = "LightGBM"
"""The side that fits once, however long it takes."""
FASTER = 20
MOST_BEHIND = 0.005
"""Share of the best side's score, or error, that ours may lack on any set."""
DATA = Path(os.environ.get("MODELYARD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
OURS = "modelyard"
PATIENT = "flaml, twice the time"
FLAML_LACKS = "; CatBoost is not installed, for FLAML's extra `automl` does not ask for it"
LACKS = {
    "flaml": FLAML_LACKS,
    PATIENT: FLAML_LACKS,
    "autogluon": "; PyTorch and fastai are not installed, so it skips its neural networks",
}
"""What a page says of a peer's installation."""


@dataclass(frozen=True)
class Task:
    """A data set and what is learned from it; a person would leave the columns in `ignored` out."""

    file: str
    target: str
    metric: str = "roc_auc"
    ignored: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return "Classification" if self.metric == "roc_auc" else "Regression"


TASKS = {
    "telco": Task("telco_churn.csv", "Churn", ignored=("customerID",)),
    "adult": Task("adult.csv", "income"),
    "titanic": Task("titanic.csv", "Survived", ignored=("PassengerId",)),
    "california": Task("california_housing.csv", "median_house_value", "rmse"),
    "bike": Task("bike_sharing.csv", "count", "rmse", ignored=("casual", "registered")),
}
CHOSEN = os.environ.get("QUALITY_SETS", ",".join(TASKS)).split(",")
PEERS: Mapping[str, Sequence[str]] = {
    "flaml": ["flaml[automl]==2.7.0", "pandas==2.3.3", "pyarrow==26.0.1"],
    "autogluon": ["autogluon.tabular[lightgbm,xgboost,catboost]==1.6.3"],
    "tuned LightGBM": [],
    UNTIMED: [],
}

# What the sides do -------------------------------------------------------------------------------


def make_rows(task: Task, seed: int, folder: Path) -> dict[str, Any]:
    """Make the snapshot, and give the peers the rows that the recipe will split off by its seed."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from modelyard.api.runs import DatasetConfig
    from modelyard.api.runtime import StoreConfig
    from modelyard_runtimes.dataset.snapshot import make_snapshot
    from modelyard_runtimes.store import open_store
    from modelyard_runtimes.train.problem import prepare
    from modelyard_runtimes.train.snapshot import read_snapshot

    place = StoreConfig(uri=folder.as_uri())
    made = {
        "namespace": "bench",
        "name": "rows",
        "identity": "1" * 64,
        "spec": {
            "source": {"path": str(DATA / task.file)},
            "privacy": {"detection": "Disabled"},
        },
        "store": {"uri": place.uri},
    }
    record = make_snapshot(DatasetConfig.model_validate(made), open_store(place))
    config = {
        "namespace": "bench",
        "name": "quality",
        "identity": f"{seed:064}",
        "spec": {
            "datasetRef": {"name": "rows"},
            "task": {"type": task.type, "target": task.target, "metric": task.metric},
            "features": {"exclude": list(task.ignored)},
            "search": {"trials": 10_000, "learners": learners()},
            "explain": {"permutationRepeats": 0, "shapRows": 0},
            "budget": {"wallClock": f"{max(1, round(SECONDS * SEARCHED))}s"},
            "seed": seed,
        },
        "parallelism": THREADS,
        "workers": THREADS,
        "snapshot_uri": record.snapshot.uri,
        "snapshot_digest": record.snapshot.digest,
        "fingerprint": record.fingerprint,
        "store": {"uri": place.uri},
    }
    (folder / "config.json").write_text(json.dumps(config))
    parsed = _train_config(folder)
    snapshot = read_snapshot(open_store(place), parsed.snapshot_uri, parsed.snapshot_digest)
    problem = prepare(snapshot, parsed)
    held = problem.holdout.rows
    names = [*problem.schema.names, task.target]
    table = snapshot.table.select(names)
    kept = np.setdiff1d(problem.target.rows, held)
    for name, rows in (("train", kept), ("test", held)):
        pq.write_table(table.take(pa.array(rows)), folder / f"{name}.parquet")
    np.save(folder / "truth.npy", problem.holdout.target)
    return {"rows": len(kept), "positive": problem.target.classes[-1:]}


def learners() -> list[str]:
    """Return the families of the default recipe."""
    from modelyard.api.experiment import Search

    return list(Search().learners)


def _train_config(folder: Path) -> Any:
    from modelyard.api.runs import TrainConfig

    return TrainConfig.model_validate_json((folder / "config.json").read_text())


Predict = Callable[[Any], Any]
Runs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Fitted:
    """A side's model: how long it took, what was fitted, how it predicts many rows and one."""

    seconds: float
    models: Iterable[str]
    predict: Predict
    test: Any
    predict_one: Predict
    one: Any


def modelyard(task: Task, seed: int, folder: Path) -> Fitted:
    """Run the train runtime under a wall-clock budget and load the packed winner.

    Many rows are predicted as by the batch runtime, one as by the server.
    """
    del seed
    import pyarrow.parquet as pq
    from modelyard.api.runtime import StoreConfig
    from modelyard_runtimes.model import load
    from modelyard_runtimes.model.packed import read
    from modelyard_runtimes.model.rows import RowPredictor
    from modelyard_runtimes.store import open_store
    from modelyard_runtimes.train.run import train

    store = open_store(StoreConfig(uri=folder.as_uri()))
    start = time.perf_counter()
    record = train(_train_config(folder), store)
    took = time.perf_counter() - start
    board = [(one.trial, one.learner, one.metric) for one in record.leaderboard[:5]]
    print(json.dumps(board), file=sys.stderr)
    packed = store.open_artifact(record.artifact.uri).folder()
    model = load(packed)
    print(json.dumps(model.compile_trees()), file=sys.stderr)
    server = RowPredictor(read(packed))
    last: Predict = itemgetter((slice(None), 1) if task.type == "Classification" else slice(None))
    test = pq.read_table(folder / "test.parquet")
    one = [[test[name][0].as_py() for name in server.names]]
    models = {entry.learner for entry in record.leaderboard}
    return Fitted(took, models, lambda rows: last(model.predict(rows)), test, server.values, one)


def flaml(task: Task, seed: int, folder: Path, seconds: int = SECONDS) -> Fitted:
    """Fit FLAML's AutoML."""
    from flaml import AutoML

    train, target, test = _frames(task, folder)
    kind = task.type.lower()
    start = time.perf_counter()
    model = AutoML()
    model.fit(
        train,
        target,
        task=kind,
        metric=task.metric,
        time_budget=seconds,
        n_jobs=THREADS,
        seed=seed,
        verbose=0,
    )
    took = time.perf_counter() - start
    models = [name for name, found in model.best_config_per_estimator.items() if found]
    return _frame_model(took, models, _positive(task, model), test)


def autogluon(task: Task, seed: int, folder: Path) -> Fitted:
    """Fit AutoGluon's medium preset; its models are in memory when it predicts."""
    del seed
    from autogluon.tabular import TabularPredictor

    train, target, test = _frames(task, folder)
    metric = {"roc_auc": "roc_auc", "rmse": "root_mean_squared_error"}[task.metric]
    start = time.perf_counter()
    predictor = TabularPredictor(
        task.target, eval_metric=metric, path=str(folder / "autogluon"), verbosity=0
    )
    predictor.fit(
        train.assign(**{task.target: target}),
        presets="medium_quality",
        time_limit=SECONDS,
        num_cpus=THREADS,
        num_gpus=0,
    )
    took = time.perf_counter() - start
    predictor.persist()
    models = predictor.model_names()
    if task.type == "Regression":
        return _frame_model(took, models, predictor.predict, test)
    return _frame_model(took, models, lambda rows: predictor.predict_proba(rows)[1], test)


def lightgbm(task: Task, seed: int, folder: Path) -> Fitted:
    """Fit LightGBM as it is."""
    import lightgbm

    train, target, test = _numbers(task, folder)
    kind = "LGBMClassifier" if task.type == "Classification" else "LGBMRegressor"
    start = time.perf_counter()
    model = getattr(lightgbm, kind)(n_jobs=THREADS, random_state=seed, verbosity=-1)
    model.fit(train, target)
    took = time.perf_counter() - start
    return _frame_model(took, ["LightGBM"], _positive(task, model), test)


def tuned_lightgbm(task: Task, seed: int, folder: Path) -> Fitted:
    """Tune LightGBM by Optuna over five folds with early stopping, and fit it on all rows."""
    import lightgbm
    import numpy as np
    import optuna
    from sklearn.metrics import roc_auc_score, root_mean_squared_error
    from sklearn.model_selection import KFold, StratifiedKFold

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, target, test = _numbers(task, folder)
    classes = task.type == "Classification"
    score = roc_auc_score if classes else root_mean_squared_error
    splitter = (StratifiedKFold if classes else KFold)(5, shuffle=True, random_state=seed)
    splits = list(splitter.split(train, target))

    def settings(trial: Any) -> dict[str, Any]:
        return {
            "objective": "binary" if classes else "regression",
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 4, 256, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 3, 100, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
            "bagging_freq": 1,
            "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10.0, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 10.0, log=True),
            "verbose": -1,
            "num_threads": THREADS,
            "seed": seed,
        }

    def end_in_time(_: Any) -> None:
        # Optuna lets a trial that has begun run on; the first is needed, however long it takes.
        if time.perf_counter() - start > SECONDS and study.best_trials:
            raise optuna.TrialPruned

    def objective(trial: Any) -> float:
        scores, rounds = [], []
        for fitted, judged in splits:
            data = lightgbm.Dataset(train.iloc[fitted], target.iloc[fitted], free_raw_data=False)
            unseen = data.create_valid(train.iloc[judged], target.iloc[judged])
            stop = lightgbm.early_stopping(50, verbose=False)
            booster = lightgbm.train(
                settings(trial), data, 2000, valid_sets=[unseen], callbacks=[stop, end_in_time]
            )
            scores.append(score(target.iloc[judged], booster.predict(train.iloc[judged])))
            rounds.append(booster.best_iteration)
        trial.set_user_attr("rounds", int(np.mean(rounds)))
        return float(np.mean(scores))

    start = time.perf_counter()
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="maximize" if classes else "minimize", sampler=sampler)
    study.optimize(objective, timeout=SECONDS)
    best = study.best_trial
    chosen = settings(optuna.trial.FixedTrial(best.params))
    rounds = max(1, best.user_attrs["rounds"])
    booster = lightgbm.train(chosen, lightgbm.Dataset(train, target), rounds)
    return _frame_model(time.perf_counter() - start, ["LightGBM"], booster.predict, test)


def _frames(task: Task, folder: Path) -> tuple[Any, Any, Any]:
    """Return the rows to learn from, their target as numbers, and the rows to predict.

    Texts are left as they are: FLAML makes categories of them, AutoGluon those or words.
    """
    import pandas as pd

    train, test = (pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "test"))
    target = train.pop(task.target)
    test = test.drop(columns=task.target)
    if task.type == "Classification":
        positive = json.loads((folder / "made.json").read_text())["positive"][0]
        target = (target == positive).astype(int)
    return train, target, test


def _numbers(task: Task, folder: Path) -> tuple[Any, Any, Any]:
    """Return the same for LightGBM, which knows neither texts nor times.

    People give it categories, and the parts of times.
    """
    import pandas as pd

    def parts(frame: Any) -> Any:
        times = frame.select_dtypes("datetime")
        found = {
            f"{name} {part}": getattr(times[name].dt, part)
            for name in times
            for part in ("year", "month", "day", "dayofweek", "hour")
        }
        return frame.drop(columns=times).assign(**found)

    train, target, test = _frames(task, folder)
    for name in train.select_dtypes(exclude=["number", "bool", "datetime"]):
        known = pd.CategoricalDtype(sorted(train[name].dropna().unique()))
        train[name], test[name] = train[name].astype(known), test[name].astype(known)
    return parts(train), target, parts(test)


def _frame_model(seconds: float, models: Iterable[str], predict: Predict, test: Any) -> Fitted:
    return Fitted(seconds, models, predict, test, predict, test.iloc[:1])


def _positive(task: Task, model: Any) -> Predict:
    if task.type == "Regression":
        predict: Predict = model.predict
        return predict
    return lambda rows: model.predict_proba(rows)[:, 1]


SIDES: Mapping[str, Callable[[Task, int, Path], Fitted]] = {
    OURS: modelyard,
    "flaml": flaml,
    PATIENT: partial(flaml, seconds=2 * SECONDS),
    "autogluon": autogluon,
    "tuned LightGBM": tuned_lightgbm,
    UNTIMED: lightgbm,
}


def main(side: str) -> None:
    """Fit one side on one split, keep its predictions, and print how long all took."""
    import warnings

    warnings.simplefilter("ignore")
    os.sched_setaffinity(0, processors())
    side, name, seed, place = side.split("/", 3)
    task, folder = TASKS[name], Path(place)
    if side == "rows":
        made = make_rows(task, int(seed), folder)
        (folder / "made.json").write_text(json.dumps(made))
        print(json.dumps(made))
        return
    import numpy as np

    fitted = SIDES[side](task, int(seed), folder)
    found = fitted.predict(fitted.test)
    np.save(folder / f"{side}.npy", np.asarray(found, dtype=np.float64))
    said = {
        "fit": fitted.seconds,
        "models": sorted(fitted.models),
        "rows": len(fitted.test) / least(fitted.predict, fitted.test),
        "one": least(fitted.predict_one, fitted.one),
    }
    print(json.dumps(said))


def least(predict: Predict, rows: Any) -> float:
    """Return the least seconds of a prediction, of those that fit into two seconds."""
    times: list[float] = []
    while not times or (sum(times) < 2 and len(times) < 50):
        start = time.perf_counter()
        predict(rows)
        times.append(time.perf_counter() - start)
    return min(times)


# What is measured --------------------------------------------------------------------------------


class Quality:
    """The row: all sides on each split of each set, and what follows from their scores."""

    def measure(self, name: str, repeats: int) -> dict[str, Any]:
        """Return the measurements; `repeats` is the number of split seeds at least."""
        import frame

        new = all_runs(PEERS, repeats)
        runs = [*kept(frame.PAGES / f"{name}.json"), *new]
        return {
            "row": name,
            "title": "Quality of models found in equal time",
            "quick": quick_look(new, CHOSEN),
            "seconds": SECONDS,
            "requirements": {peer: list(wanted) for peer, wanted in PEERS.items()},
            "runs": runs,
            "machine": frame.machine(),
            "goals": list(judged(runs)),
        }

    def page(self, found: Mapping[str, Any]) -> str:
        """Return the page."""
        return page(found)


def kept(file: Path) -> list[dict[str, Any]]:
    """Return the earlier runs of the sets that are not measured now; none of another time."""
    if not file.exists():
        return []
    found = json.loads(file.read_text())
    if found["seconds"] != SECONDS:
        return []
    return [run for run in found["runs"] if run["set"] not in CHOSEN]


def all_runs(peers: Mapping[str, Sequence[str]], repeats: int) -> list[dict[str, Any]]:
    """Return the runs of ours and of the peers on each split of each set."""
    import frame

    missing = [DATA / TASKS[name].file for name in CHOSEN if not (DATA / TASKS[name].file).exists()]
    if missing:
        sys.exit(f"{missing[0]}: no such file; set MODELYARD_TEST_DATA to the folder of the data")
    # Workers that outlive their parent become ours, so that their seconds are counted too.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    splits = int(os.environ.get("QUALITY_SEEDS", max(SPLITS, repeats)))
    pythons = {OURS: Path(sys.executable)}
    for peer, wanted in peers.items():
        pythons[peer] = frame.environment(peer, wanted) if wanted else Path(sys.executable)
    return [
        run
        for seed, task in itertools.product(range(42, 42 + splits), CHOSEN)
        for run in one_split(frame.once, pythons, task, seed)
    ]


def one_split(
    once: Callable[..., dict[str, Any]], pythons: Mapping[str, Path], name: str, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield the run of each side on one split; one that is void is tried again."""
    import numpy as np
    from sklearn.metrics import roc_auc_score, root_mean_squared_error

    with tempfile.TemporaryDirectory(prefix="modelyard-quality-") as place:
        folder = Path(place)
        once(pythons[OURS], Path(__file__), f"rows/{name}/{seed}/{folder}")
        truth = np.load(folder / "truth.npy")
        score = roc_auc_score if TASKS[name].metric == "roc_auc" else root_mean_squared_error
        made = set(folder.rglob("*"))
        for side, python in pythons.items():
            for _ in range(TRIES):
                used = _used(once, python, f"{side}/{name}/{seed}/{folder}")
                found = float(score(truth, np.load(folder / f"{side}.npy")))
                what = {"set": name, "seed": seed, "side": side, "seconds": seconds_of(side)}
                run = {**what, "code": code(), "score": found, **used}
                print(json.dumps(run), flush=True)
                _remove_but(made, folder)
                if not void([run]):
                    break
            yield run


def code() -> str:
    """Return a digest of our packages and of this file."""
    import frame

    digest = hashlib.sha256(Path(__file__).read_bytes())
    for package in ("operator/modelyard", "runtimes/modelyard_runtimes"):
        for file in sorted((frame.ROOT / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _used(once: Callable[..., dict[str, Any]], python: Path, what: str) -> dict[str, Any]:
    """Return what a run says, its CPU seconds, and the share of the processors left to it."""
    before = _own(), _busy(), time.perf_counter()
    said = once(python, Path(__file__), what)
    _reap()
    after = _own(), _busy(), time.perf_counter()
    own, busy, wall = (now - then for now, then in zip(after, before, strict=True))
    share = 1 - max(0.0, busy - own) / (wall * THREADS)
    return {"cpuSeconds": round(own, 1), "share": round(share, 2), **said}


def _remove_but(made: Set[Path], folder: Path) -> None:
    """Remove what a run left, which would be a head start for the same run again."""
    for path in sorted(set(folder.rglob("*")) - made, reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _busy() -> float:
    """Return the seconds for which the sides' processors were busy."""
    ticks = busy_ticks(Path("/proc/stat").read_text(), processors())
    return ticks / os.sysconf("SC_CLK_TCK")


def busy_ticks(stat: str, chosen: Sequence[int]) -> int:
    """Return the ticks for which some processors were busy; what a hypervisor stole is busy too."""
    lines = {name: numbers for name, *numbers in map(str.split, stat.splitlines())}
    found = 0
    for number in chosen:
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, lines[f"cpu{number}"])
        found += user + nice + system + irq + softirq + steal
    return found


def processors() -> list[int]:
    """Return those that the sides run on."""
    return sorted(os.sched_getaffinity(0))[:THREADS]


def _reap() -> None:
    """Wait for what a side left running."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def means(
    runs: Runs, figure: str, mean: Callable[[Iterable[float]], float] = statistics.mean
) -> dict[str, dict[str, float]]:
    """Return the mean of a figure, or what else is asked for, by set and side."""
    names = dict.fromkeys(run["set"] for run in runs)
    sides = dict.fromkeys(run["side"] for run in runs)
    return {
        name: {
            side: mean(run[figure] for run in runs if run["set"] == name and run["side"] == side)
            for side in sides
        }
        for name in names
    }


def ranks(runs: Runs) -> dict[str, float]:
    """Return each side's mean rank over the sets, by its mean score."""
    places: dict[str, list[int]] = {}
    for name, found in means(runs, "score").items():
        up = TASKS[name].metric == "roc_auc"
        for place, side in enumerate(sorted(found, key=found.__getitem__, reverse=up), 1):
            places.setdefault(side, []).append(place)
    return {side: statistics.mean(found) for side, found in places.items()}


def seconds_of(side: str) -> int:
    """Return how long a side may take."""
    return 2 * SECONDS if side == PATIENT else SECONDS


def void(runs: Runs) -> int:
    """Return how many runs had too little of the processors for their time, or took more of it.

    Runs from before they told their seconds are not judged by them.
    """
    return sum(
        run["side"] != UNTIMED
        and (run["share"] < LEAST_SHARE or run["fit"] > MOST_TIMES * run.get("seconds", math.inf))
        for run in runs
    )


def count(runs: Runs, sets: Collection[str]) -> bool:
    """Return whether runs of sets count: none is void, and each set had enough splits."""
    chosen = [run for run in runs if run["set"] in sets]
    return not void(chosen) and not quick_look(chosen, sets)


def quick_look(runs: Runs, sets: Collection[str]) -> bool:
    """Return whether runs are of another time, or a side has too few splits of any set."""
    sides = {run["side"] for run in runs}
    found = Counter(each[:2] for each in {(run["set"], run["side"], run["seed"]) for run in runs})
    few = any(found[name, side] < SPLITS for name in sets for side in sides)
    return SECONDS != FULL_SECONDS or few or not sides


def judged(runs: Runs) -> Iterator[dict[str, Any]]:
    """Yield the goals, in words, and whether they were reached by runs that count."""

    def goal(words: str, reached: bool, *sets: str) -> dict[str, Any]:
        return {"goal": words, "reached": bool(reached and count(runs, sets or TASKS))}

    for name, found in means(runs, "score").items():
        up = 1 if TASKS[name].metric == "roc_auc" else -1
        best = max((value for side, value in found.items() if side != OURS), key=lambda v: up * v)
        lead = up * (found[OURS] - best)
        yield goal(f"{name}: ahead of all ({lead:+.5g})", lead > 0, name)
        behind = -MOST_BEHIND * abs(best)
        yield goal(f"{name}: at most 0.5 % behind the best", lead >= behind, name)
    places = ranks(runs)
    others = min(place for side, place in places.items() if side != OURS)
    yield goal(
        f"best mean rank ({places[OURS]:.2f}, next {others:.2f})",
        places[OURS] < others,
    )
    for figure, words, power in (("rows", "rows of the test set", 1), ("one", "one row", -1)):
        ratios = [
            (found[OURS] / found["autogluon"]) ** power for found in means(runs, figure).values()
        ]
        yield goal(
            f"predicts {words} {FASTER} times as fast as AutoGluon (least {min(ratios):.1f})",
            min(ratios) >= FASTER,
        )


def intervals(runs: Runs, name: str, peer: str) -> str:
    """Return the mean lead of ours over a peer, with the paired 95 % interval."""
    from scipy import stats

    up = 1 if TASKS[name].metric == "roc_auc" else -1
    scores = {(run["side"], run["seed"]): run["score"] for run in runs if run["set"] == name}
    seeds = sorted({seed for _, seed in scores})
    leads = [up * (scores[OURS, seed] - scores[peer, seed]) for seed in seeds]
    if len(leads) < 2:
        return f"{statistics.mean(leads):+.4g}"
    quantile = stats.t.ppf(0.975, len(leads) - 1)
    spread = quantile * statistics.stdev(leads) / len(leads) ** 0.5
    return f"{statistics.mean(leads):+.4g} ± {spread:.2g}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of a page."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def remarks(runs: Runs) -> str:
    """Return what a page says of its runs: the void ones, their code, and what the sides fitted."""
    lines = [
        f"{void(runs)} of {len(runs)} runs are void: they were left less than {LEAST_SHARE:.0%} of "
        f"the processors, or took more than {MOST_TIMES:g} times their seconds to fit. "
        f"{UNTIMED} as it is has no such limits."
    ]
    old = sum("seconds" not in run for run in runs)
    if old:
        lines.append(
            f"{old} runs are older. They are not judged by their seconds, their code is unknown, "
            "their share is one of all processors and ignores stolen time, and their peers got "
            "texts as categories and could end a trial that had begun."
        )
    codes: dict[str, list[str]] = {}
    for run in runs:
        codes.setdefault(run.get("code", "unknown"), []).append(run["set"])
    digests = (f"{digest} ({', '.join(dict.fromkeys(sets))})" for digest, sets in codes.items())
    lines.append(f"Digests of our code: {', '.join(digests)}.")
    for side in dict.fromkeys(run["side"] for run in runs):
        models = {name for run in runs if run["side"] == side for name in run.get("models", ())}
        fitted = ", ".join(sorted(models)) or "unknown, for its runs do not tell"
        lines.append(f"Models of {side}: {fitted}{LACKS.get(side, '')}.")
    return "\n".join(f"- {line}" for line in lines)


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a measurement."""
    runs = found["runs"]
    scores = means(runs, "score")
    sides = list(next(iter(scores.values())))
    places = ranks(runs)

    by_score = [
        [f"{name}, {TASKS[name].metric}", *(f"{scores[name][side]:.5g}" for side in sides)]
        for name in scores
    ]
    by_score.append(["mean rank", *(f"{places[side]:.2f}" for side in sides)])
    peers = [side for side in sides if side != OURS]
    leads = [[name, *(intervals(runs, name, peer) for peer in peers)] for name in scores]
    figures = {
        "seconds to fit": means(runs, "fit"),
        "most seconds to fit": means(runs, "fit", max),
        "CPU seconds, of all processes": means(runs, "cpuSeconds"),
        "share of the processors left to it": means(runs, "share"),
        "rows predicted a second": means(runs, "rows"),
        "seconds to predict one row": means(runs, "one"),
    }
    effort = [
        [f"{name}: {says}", *(f"{figure[name][side]:.3g}" for side in sides)]
        for name in scores
        for says, figure in figures.items()
    ]
    goals = [
        [goal["goal"], "yes" if goal["reached"] else "not in this run"] for goal in found["goals"]
    ]
    machine = found["machine"]
    installed = [name for wanted in found["requirements"].values() for name in wanted]
    return f"""# {found["title"]}

Written by `make bench ROW={found["row"]}`.

Every side learns from the same 80 % of the rows for {found["seconds"]} seconds on {THREADS} processors
and predicts the other 20 %; the scores are means over {len({run["seed"] for run in runs})} splits. Ours
is the train runtime with its defaults; `budget.wallClock` is a little less than the time (by now
{SEARCHED:.0%}), the rest for the start of workers and for evidence. Its snapshot, and its own split by the seed, are what the peers
get: AutoGluon and FLAML with texts as they are, LightGBM with texts as categories. Tuned LightGBM
is Optuna's TPE over five folds; its last trial ends when the time is over. A set's goals count where
each side has {SPLITS} splits and no run is void, goals of all sets once all were measured.

{table(["goal", "reached"], goals)}

Means:

{table(["set", *sides], by_score)}

Lead of ours, more is better, with the paired 95 % interval over the splits:

{table(["set", *peers], leads)}

Effort, means but for the most seconds:

{table(["", *sides], effort)}

{remarks(runs)}
- Of the times of bike sharing AutoGluon makes year, month, day and weekday, but no hour.
- {machine["cpus"]} processors under a load of {machine["load"]:g}, Python {machine["python"]},
  {", ".join(installed)}.
"""


if __name__ == "__main__":
    main(sys.argv[1])
else:
    ROW = Quality()
