"""What benchmarks make of their runs: which count, what a page says, and what is written."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = REPOSITORY / "docs" / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _programs() -> Iterator[None]:
    """Let the rows import what lies beside them, as they do as programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "tests" / "bench")
        patch.delenv("QUALITY_SECONDS", raising=False)
        patch.delenv("QUALITY_SETS", raising=False)
        yield


@pytest.fixture
def quality() -> Any:
    return importlib.import_module("rows.quality")


@pytest.fixture
def frame() -> Any:
    return importlib.import_module("frame")


def run(name: str, seed: int, side: str = "modelyard", **others: Any) -> dict[str, Any]:
    about = {"set": name, "seed": seed, "side": side, "score": 0.9, "share": 1.0}
    return about | {"seconds": 60, "fit": 60.0} | others


def runs_of(splits: Mapping[str, int]) -> list[dict[str, Any]]:
    return [run(name, seed) for name, count in splits.items() for seed in range(count)]


def test_runs_count_with_five_splits_of_each_set(quality: Any) -> None:
    assert quality.count(runs_of({"telco": 5, "adult": 5}), ["telco", "adult"])
    assert not quality.count(runs_of({"telco": 5, "adult": 4}), ["telco", "adult"])
    seven = runs_of(dict.fromkeys(["telco", "adult", "titanic", "california"], 7))
    assert not quality.count(seven, quality.TASKS)
    assert quality.count(seven, ["telco"])


@pytest.mark.parametrize(
    ("bad", "voids"),
    [
        ({"share": 0.79}, 1),
        ({"fit": 66.1}, 1),
        ({"fit": 65.9}, 0),
        ({"side": "LightGBM", "fit": 80.0, "share": 0.1}, 0),
        ({"side": "flaml, twice the time", "seconds": 120, "fit": 125.0}, 0),
    ],
)
def test_a_run_with_too_little_of_the_processors_or_too_late_is_void(
    quality: Any, bad: dict[str, Any], voids: int
) -> None:
    side = bad.get("side", "modelyard")
    runs = [*(run("telco", seed, side) for seed in range(5)), run("telco", 0) | bad]
    assert quality.void(runs) == voids
    assert quality.count(runs, ["telco"]) == (not voids)


def test_each_side_needs_its_splits(quality: Any) -> None:
    few = [run("telco", seed, "flaml") for seed in range(4)]
    assert not quality.count([*runs_of({"telco": 5}), *few], ["telco"])
    assert quality.count([*runs_of({"telco": 5}), *few, run("telco", 4, "flaml")], ["telco"])


def test_flaml_has_to_be_met_by_runs_that_count(quality: Any) -> None:
    judged = importlib.import_module("rows.time_to_score").judged
    runs = [
        run("telco", seed, side) for seed in range(5) for side in (quality.OURS, quality.PATIENT)
    ]
    assert [goal["reached"] for goal in judged(runs)] == [True]
    assert [goal["reached"] for goal in judged(runs[:8])] == [False]
    assert [goal["reached"] for goal in judged([*runs[:9], runs[9] | {"share": 0.5}])] == [False]


def test_runs_of_another_time_are_not_kept(quality: Any, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    file.write_text(json.dumps({"seconds": 10, "runs": [{"set": "gone"}]}))
    assert quality.kept(file) == []
    file.write_text(json.dumps({"seconds": 60, "runs": [{"set": "gone"}, {"set": "telco"}]}))
    assert quality.kept(file) == [{"set": "gone"}]


def test_the_busy_time_is_that_of_the_chosen_processors_with_what_was_stolen(quality: Any) -> None:
    stat = (
        "cpu 0 0 0 0 0 0 0 0 0 0\ncpu0 1 2 4 8 16 32 64 128 0 0\ncpu7 1 0 0 9 9 0 0 2 0 0\nctxt 3\n"
    )
    assert quality.busy_ticks(stat, [0]) == 1 + 2 + 4 + 32 + 64 + 128
    assert quality.busy_ticks(stat, [7]) == 3


def test_an_interval_is_given_from_two_splits_on(quality: Any) -> None:
    runs = [
        run("telco", seed, side, score=score)
        for seed in range(7)
        for side, score in ((quality.OURS, 0.9 + seed / 100), ("flaml", 0.9))
    ]
    assert quality.intervals(runs, "telco", "flaml") == "+0.03 ± 0.02"
    assert quality.intervals(runs[:2], "telco", "flaml") == "+0"


@pytest.mark.parametrize("row", ["batch", "quality", "time_to_score", "trial_overhead"])
def test_a_page_can_be_made_of_what_was_measured_before(row: str) -> None:
    found = json.loads((PAGES / f"{row}.json").read_text())
    assert importlib.import_module(f"rows.{row}").ROW.page(found).startswith(f"# {found['title']}")


def test_a_page_says_what_its_runs_do_not_tell(quality: Any) -> None:
    new = run("telco", 0, code="0123", models=["CatBoost"]) | {"side": "autogluon"}
    old = {name: new[name] for name in ("set", "seed", "score", "share", "fit")} | {"side": "flaml"}
    said = quality.remarks([new, old])
    assert "\n- 1 runs are older." in said
    assert "0123 (telco), unknown (telco)" in said
    assert "Models of autogluon: CatBoost; PyTorch and fastai are not installed" in said
    assert "Models of flaml: unknown, for its runs do not tell; CatBoost is not" in said
    assert "older" not in quality.remarks([new])


def test_each_turn_is_checked(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([1, 1, 1, 2])
    monkeypatch.setattr(frame, "once", lambda *_: {"seconds": 1.0, "answer": next(answers)})

    def equal(ours: Any, peers: Any) -> str:
        assert ours["answer"] == peers["other"]["answer"]
        return "Both are equal."

    row = frame.Row("", "", {"other": []}, [], equal, {"seconds": "seconds"})
    with pytest.raises(AssertionError):
        frame.measure("row", row, 2)


def test_a_quick_look_writes_nothing(
    frame: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = {"quick": True, "goals": [], "limits": []}

    class Row:
        def measure(self, name: str, repeats: int) -> dict[str, Any]:
            return dict(quick)

        def page(self, found: Mapping[str, Any]) -> str:
            return "a page"

    monkeypatch.setattr(importlib.import_module("rows.drift"), "ROW", Row())
    monkeypatch.setattr(frame, "PAGES", tmp_path)
    assert frame.main(["drift"]) == 0
    assert not list(tmp_path.iterdir())
    quick["quick"] = False
    frame.main(["drift"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["drift.json", "drift.md"]
    assert "quick" not in json.loads((tmp_path / "drift.json").read_text())


def test_the_memory_of_a_batch_is_that_of_its_process() -> None:
    batch = importlib.import_module("rows.batch")
    assert batch.peak_memory() > 10
