"""Benchmarks: both sides in one run, in fresh processes, in turns; medians, JSON and a page.

A row is a file in `rows`, named as the row but for its dashes. It defines ROW, and it is the
program of every side as well: `python drift.py SIDE` does the side's work once and prints one JSON
object, with `seconds`, `cpuSeconds` and whatever `check` compares. `make bench` runs all rows,
`make bench ROW=drift` one of them.
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

ROWS = Path(__file__).parent / "rows"
ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "benchmarks"
ENVIRONMENTS = ROOT / ".cache" / "bench"
REPEATS = 5
LEAST_REPEATS = 5

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        title: What is measured, for people.
        work: The work both sides do, in a sentence or two.
        peer: Name of the other side.
        requirements: What is installed into the peer's own environment; ours is used without any.
        goal: How many times faster we have to be; below 1 where the peer does less.
        check: Raises AssertionError unless both sides came to the same result, and returns how
            equal they are, in a sentence.
    """

    title: str
    work: str
    peer: str
    requirements: Sequence[str]
    goal: float
    check: Callable[[Result, Result], str]


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment of the peer's own, made at the first run."""
    if not requirements:
        return Path(sys.executable)
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
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def measure(name: str, row: Row, repeats: int) -> dict[str, Any]:
    """Return the measurements of a row: the sides take turns, so that load meets both."""
    file = ROWS / f"{module_name(name)}.py"
    pythons = {
        "modelyard": Path(sys.executable),
        row.peer: environment(name, row.requirements),
    }
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in pythons}
    for turn in range(repeats):
        for side, python in pythons.items():
            results[side].append(once(python, file, side))
            print(f"{name} {turn + 1}/{repeats} {side}: {results[side][-1]['seconds']:.3f} s")
    equal = row.check(results["modelyard"][0], results[row.peer][0])
    sides = {
        side: {
            "seconds": [run["seconds"] for run in runs],
            "median": statistics.median(run["seconds"] for run in runs),
            "cpuSeconds": statistics.median(run["cpuSeconds"] for run in runs),
        }
        for side, runs in results.items()
    }
    ratio = sides[row.peer]["median"] / sides["modelyard"]["median"]
    return {
        "row": name,
        "title": row.title,
        "work": row.work,
        "peer": row.peer,
        "requirements": list(row.requirements),
        "goal": row.goal,
        "ratio": ratio,
        "cpuRatio": sides[row.peer]["cpuSeconds"] / sides["modelyard"]["cpuSeconds"],
        "reached": ratio >= row.goal,
        "equal": equal,
        "sides": sides,
        "machine": {
            "cpus": len(os.sched_getaffinity(0)),
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
    }


def page(found: Mapping[str, Any]) -> str:
    """Return the page of a row."""
    sides = "\n".join(
        f"| {side} | {numbers['median']:.3f} | {numbers['cpuSeconds']:.3f} | "
        f"{', '.join(f'{second:.3f}' for second in numbers['seconds'])} |"
        for side, numbers in found["sides"].items()
    )
    verdict = "reached" if found["reached"] else "not reached in this run"
    machine = found["machine"]
    software = [f"Python {machine['python']}", *found["requirements"]]
    return f"""# {found["title"]}

Written by `make bench ROW={found["row"]}`.

{found["work"]}

| side | median s | CPU s | each run, s |
|---|---|---|---|
{sides}

- {found["ratio"]:.3g} times as fast as {found["peer"]}, in CPU seconds {found["cpuRatio"]:.3g}
  times; the goal is {found["goal"]:g} times on idle processors: {verdict}.
- {found["equal"]}
- {machine["cpus"]} processors under a load of {machine["load"]:g}, {", ".join(software)}.
"""


def rows() -> list[str]:
    """Return the names of all rows."""
    return sorted(file.stem.replace("_", "-") for file in ROWS.glob("*.py"))


def module_name(row: str) -> str:
    """Return the name of the module that defines a row."""
    return row.replace("-", "_")


def main(chosen: Sequence[str]) -> int:
    """Measure rows, write their JSON and pages, and return 1 where a goal is missed."""
    unknown = sorted(set(chosen) - set(rows()))
    if unknown:
        print(f"error: no row {', '.join(unknown)}; there are {', '.join(rows())}", file=sys.stderr)
        return 2
    repeats = max(LEAST_REPEATS, int(os.environ.get("REPEATS", REPEATS)))
    missed = 0
    for name in chosen or rows():
        found = measure(name, importlib.import_module(f"rows.{module_name(name)}").ROW, repeats)
        PAGES.mkdir(parents=True, exist_ok=True)
        (PAGES / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        (PAGES / f"{name}.md").write_text(page(found))
        print(page(found))
        missed += not found["reached"]
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
