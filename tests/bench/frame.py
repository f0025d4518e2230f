"""Benchmarks: all sides in one run, in fresh processes, in turns; medians, JSON and a page.

A row is a file in `rows`. It defines ROW, and it is the program of every side as well:
`python drift.py SIDE` does the side's work once and prints one JSON object, with the row's figures
and whatever `check` compares. `make bench` runs all rows, `make bench ROW=drift` one of them.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent
ROWS = BENCH / "rows"
ROOT = BENCH.parents[1]
PAGES = ROOT / "docs" / "benchmarks"
ENVIRONMENTS = ROOT / ".cache" / "bench"
REPEATS = 5
LEAST_REPEATS = 5
OURS = "modelyard"

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """What has to hold between a figure of ours and a peer's.

    Attributes:
        peer: Name of the other side.
        times: How many times ours the peer's figure has to be, at least.
        figure: Name of the figure.
    """

    peer: str
    times: float
    figure: str = "seconds"


@dataclass(frozen=True)
class Limit:
    """What has to hold of a figure of ours, whatever the peers come to.

    Attributes:
        most: What the figure may be at most.
        figure: Name of the figure.
    """

    most: float
    figure: str = "seconds"


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        title: What is measured, for people.
        work: The work all sides do, in a sentence or two.
        peers: The other sides by name, each with what is installed into an environment of its own;
            with nothing it runs in ours.
        goals: What has to hold against the peers.
        check: Takes a result of ours and one of each peer; raises AssertionError unless all came
            to the same, and returns how equal they are, in a sentence.
        figures: What is measured, each with what it says; the less the better.
        limits: What has to hold of ours alone.
    """

    title: str
    work: str
    peers: Mapping[str, Sequence[str]]
    goals: Sequence[Goal]
    check: Callable[[Result, Mapping[str, Result]], str]
    figures: Mapping[str, str]
    limits: Sequence[Limit] = ()

    def measure(self, name: str, repeats: int) -> dict[str, Any]:
        """Return the measurements."""
        return measure(name, self, repeats)

    def page(self, found: Mapping[str, Any]) -> str:
        """Return the page."""
        return page(found)


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment of the peer's own, made at the first run."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    done = folder / ".requirements"
    wanted = "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        uv = str(Path(sys.executable).parent / "uv")
        make = [uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(folder)]
        subprocess.run(make, check=True)
        install = [uv, "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
        subprocess.run([*install, *requirements], check=True)
        done.write_text(wanted)
    return python


def once(python: Path, file: Path, side: str) -> dict[str, Any]:
    """Return what one fresh process of a side printed."""
    finished = subprocess.run(
        [str(python), str(file), side],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{BENCH}{os.pathsep}{ROOT}"},
    )
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def measure(name: str, row: Row, repeats: int) -> dict[str, Any]:
    """Return the measurements of a row: the sides take turns, so that load meets all."""
    file = ROWS / f"{name}.py"
    pythons = {OURS: Path(sys.executable)}
    for peer, requirements in row.peers.items():
        pythons[peer] = environment(peer, requirements) if requirements else Path(sys.executable)
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in pythons}
    equal: list[str] = []
    for turn in range(repeats):
        for side, python in pythons.items():
            result = once(python, file, side)
            results[side].append(result)
            shown = ", ".join(f"{figure} {result[figure]:.4g}" for figure in row.figures)
            print(f"{name} {turn + 1}/{repeats} {side}: {shown}", flush=True)
        equal.append(
            row.check(results[OURS][turn], {peer: results[peer][turn] for peer in row.peers})
        )
    sides = {
        side: {figure: _figure([run[figure] for run in runs]) for figure in row.figures}
        for side, runs in results.items()
    }
    return {
        "row": name,
        "title": row.title,
        "work": row.work,
        "requirements": {peer: list(wanted) for peer, wanted in row.peers.items()},
        "figures": dict(row.figures),
        "goals": [_judged(goal, sides) for goal in row.goals],
        "limits": [_limited(limit, sides) for limit in row.limits],
        "equal": f"{equal[0]} That was the first of {repeats} turns; all were checked.",
        "sides": sides,
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """Return what a page says of the machine."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }


def _figure(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "runs": values}


def _judged(goal: Goal, sides: Mapping[str, Any]) -> dict[str, Any]:
    theirs, ours = (sides[side][goal.figure]["median"] for side in (goal.peer, OURS))
    return {
        "figure": goal.figure,
        "peer": goal.peer,
        "ratio": theirs / ours,
        "goal": goal.times,
        "reached": theirs / ours >= goal.times,
    }


def _limited(limit: Limit, sides: Mapping[str, Any]) -> dict[str, Any]:
    ours = sides[OURS][limit.figure]["median"]
    return {
        "figure": limit.figure,
        "ours": ours,
        "most": limit.most,
        "reached": ours <= limit.most,
    }


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a row."""
    goals = "\n".join(
        f"| {found['figures'][goal['figure']]} | {goal['peer']} | {goal['ratio']:.2f} | "
        f"{goal['goal']:g} | {_reached(goal)} |"
        for goal in found["goals"]
    )
    figures = "\n".join(
        f"| {says} | {side} | {numbers[figure]['median']:.4g} | "
        f"{', '.join(f'{value:.4g}' for value in numbers[figure]['runs'])} |"
        for figure, says in found["figures"].items()
        for side, numbers in found["sides"].items()
    )
    machine = found["machine"]
    installed = [name for wanted in found["requirements"].values() for name in wanted]
    software = ", ".join([f"Python {machine['python']}", *installed])
    return f"""# {found["title"]}

Written by `make bench ROW={found["row"]}`.

{found["work"]}

| figure | against | times ours | goal on idle processors | reached |
|---|---|---|---|---|
{goals}
{_limits(found)}
| figure | side | median | each run |
|---|---|---|---|
{figures}

- {found["equal"]}
- {machine["cpus"]} processors under a load of {machine["load"]:g}, {software}.
"""


def _limits(found: Mapping[str, Any]) -> str:
    """Return the table of what has to hold of ours alone; nothing where nothing has."""
    lines = [
        f"| {found['figures'][limit['figure']]} | {limit['ours']:.4g} | {limit['most']:g} | "
        f"{_reached(limit)} |"
        for limit in found.get("limits", [])
    ]
    head = ["", "| figure | ours | at most, on idle processors | reached |", "|---|---|---|---|"]
    return "\n".join([*head, *lines, ""]) if lines else ""


def _reached(judged: Mapping[str, Any]) -> str:
    return "yes" if judged["reached"] else "not in this run"


def rows() -> list[str]:
    """Return the names of all rows."""
    return sorted(file.stem for file in ROWS.glob("*.py"))


def main(chosen: Sequence[str]) -> int:
    """Measure rows, write their JSON and pages, and return 1 where a goal is missed."""
    unknown = sorted(set(chosen) - set(rows()))
    if unknown:
        print(f"error: no row {', '.join(unknown)}; there are {', '.join(rows())}", file=sys.stderr)
        return 2
    repeats = max(LEAST_REPEATS, int(os.environ.get("REPEATS", REPEATS)))
    missed = 0
    for name in chosen or rows():
        row = importlib.import_module(f"rows.{name}").ROW
        found = row.measure(name, repeats)
        print(row.page(found))
        if found.pop("quick", False):
            print(f"{name}: a quick look, which is not written", file=sys.stderr)
        else:
            PAGES.mkdir(parents=True, exist_ok=True)
            (PAGES / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
            (PAGES / f"{name}.md").write_text(row.page(found))
        judged = [*found["goals"], *found.get("limits", [])]
        missed += not all(one["reached"] for one in judged)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
