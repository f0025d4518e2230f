"""Whether ours finds FLAML's model of twice the time: the sides, sets and splits of `quality`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rows import quality
from rows.quality import OURS, PATIENT, PEERS, TASKS


class TimeToScore:
    """The row: the score of our time against FLAML's of twice as much."""

    def measure(self, name: str, repeats: int) -> dict[str, Any]:
        """Return the measurements; `repeats` is the number of split seeds at least."""
        import frame

        requirements = {PATIENT: PEERS["flaml"]}
        new = quality.all_runs(requirements, repeats)
        found = {
            "row": name,
            "title": "Time to a score",
            "quick": quality.quick_look(new, quality.CHOSEN),
            "seconds": quality.SECONDS,
            "requirements": {peer: list(wanted) for peer, wanted in requirements.items()},
            "runs": [*quality.kept(frame.PAGES / f"{name}.json"), *new],
            "machine": frame.machine(),
        }
        return {**found, "goals": list(judged(found["runs"]))}

    def page(self, found: Mapping[str, Any]) -> str:
        """Return the page."""
        means = quality.means(found["runs"], "score")
        seconds = quality.means(found["runs"], "fit")
        most = quality.means(found["runs"], "fit", max)
        scores = [
            [
                f"{name}, {TASKS[name].metric}",
                *(
                    f"{one:.5g} in {seconds[name][side]:.0f} s, at most {most[name][side]:.0f} s"
                    for side, one in sides.items()
                ),
                quality.intervals(found["runs"], name, PATIENT),
            ]
            for name, sides in means.items()
        ]
        goals = [
            [goal["goal"], "yes" if goal["reached"] else "not in this run"]
            for goal in found["goals"]
        ]
        machine = found["machine"]
        return f"""# {found["title"]}

Written by `make bench ROW={found["row"]}`.

Ours has {found["seconds"]} seconds and FLAML twice as many, on the rows and threads of the row
`quality`; scores and seconds are means over {len({run["seed"] for run in found["runs"]})} splits.
A goal counts where both sides have {quality.SPLITS} splits and no run is void.

{quality.table(["goal", "reached"], goals)}

{quality.table(["set", OURS, PATIENT, "lead of ours"], scores)}

{quality.remarks(found["runs"])}
- {machine["cpus"]} processors under a load of {machine["load"]:g}, Python {machine["python"]},
  {", ".join(found["requirements"][PATIENT])}.
"""


def judged(runs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield for each set whether ours is as good as FLAML at twice the time."""
    for name, found in quality.means(runs, "score").items():
        up = 1 if TASKS[name].metric == "roc_auc" else -1
        lead = up * (found[OURS] - found[PATIENT])
        yield {
            "goal": f"{name}: FLAML's score in half its time ({lead:+.5g})",
            "reached": lead >= 0 and quality.count(runs, [name]),
        }


ROW = TimeToScore()
