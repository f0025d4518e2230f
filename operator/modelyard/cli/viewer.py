"""Shows objects as they become ready: a live table on a terminal, else a line for each change."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelyard.api.resources import Key
from modelyard.cli import output
from modelyard.cli.layout import Layout
from modelyard.cli.state import View, predict_url, progress_of

if TYPE_CHECKING:
    from rich.live import Live

HEADINGS = ("Kind", "Name", "State", "Reason", "Message")


def rows(views: Iterable[View], layout: Layout | None) -> list[tuple[str, ...]]:
    """Return one row for each object."""
    return [
        (view.key.kind, view.key.name, view.state, view.reason, detail(view, layout))
        for view in views
    ]


def detail(view: View, layout: Layout | None) -> str:
    """Return what an object waits for, how far it is, or what it offers."""
    if view.state != "Ready":
        return progress_of(view, layout) or view.message
    return predict_url(view) or view.message


class Viewer:
    """Shows what changed since the last look; a context manager."""

    def __init__(self, layout: Layout | None) -> None:
        """Show searches of this project with their own progress."""
        self._layout = layout
        self._said: dict[Key, tuple[str, ...]] = {}
        self._console = output.stderr()
        self._live: Live | None = None

    def __enter__(self) -> Viewer:
        """Take the terminal, when there is one."""
        if self._console.is_terminal:
            from rich.live import Live

            # Transient: a summary follows, which says the same and more.
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def __call__(self, views: list[View]) -> None:
        """Show objects."""
        lines = dict(zip((v.key for v in views), rows(views, self._layout), strict=True))
        if self._live is not None:
            self._live.update(output.table(HEADINGS, lines.values()))
            return
        for key, line in lines.items():
            if self._said.get(key) != line:
                self._console.print(f"{key.kind}/{key.name}: {': '.join(line[2:])}", markup=False)
        self._said = lines


def summary(views: list[View], layout: Layout | None) -> list[Any]:
    """Return what a settled project offers, as things a console prints."""
    parts: list[Any] = [output.table(HEADINGS, rows(views, layout))]
    for view in views:
        parts.extend(_summary_of(view))
    return parts


def _summary_of(view: View) -> list[Any]:
    status, made = view.status, []
    if view.key.kind == "Experiment" and status.get("leaderboard"):
        made.append(f"\nLeaderboard of {view.key.name} ({status['metric']}, out of fold):")
        entries = (
            (str(entry["rank"]), entry["trial"], entry["learner"], f"{entry['metric']:.6g}")
            for entry in status["leaderboard"]
        )
        made.append(output.table(("Rank", "Trial", "Learner", status["metric"]), entries))
    if status.get("verdicts"):
        made.append(f"\nVerdicts on {view.key.kind} {view.key.name}:")
        made.append(output.table(VERDICT_HEADINGS, verdict_rows(view)))
    if predict_url(view):
        made.append(f"\nEndpoint of {view.key.name}: {predict_url(view)}")
        made.append(f"Model: {status.get('modelVersion')} {status.get('modelDigest')}")
    if status.get("batch"):
        made.append(f"\nScored rows of {view.key.name}: {status['batch']['outputUri']}")
    if status.get("canary"):
        canary = status["canary"]
        share = f"{canary['percent']} % of the requests"
        made.append(f"Canary: {canary['modelVersion']} {canary.get('url', '')} {share}")
    return made


VERDICT_HEADINGS = ("Gate", "Policy", "Subject", "Verdict", "Reasons")


def verdict_rows(view: View) -> list[tuple[str, ...]]:
    """Return one row for each verdict on an object."""
    return [
        (
            verdict["gate"],
            verdict["policy"],
            verdict.get("subject", ""),
            "allowed" if verdict["allowed"] else "denied",
            "; ".join(verdict.get("reasons") or []),
        )
        for verdict in view.status.get("verdicts") or []
    ]
