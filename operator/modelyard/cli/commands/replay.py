"""`replay`: whether what is recorded of a commit comes again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import options
from modelyard.cli.faults import CommandError, Ended, Exit, Unable
from modelyard.cli.output import Format


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(replay)


def replay(
    commit: Annotated[
        str,
        typer.Argument(help="Commit whose runs are replayed, for example HEAD.", metavar="COMMIT"),
    ],
    what: Annotated[
        str | None,
        typer.Argument(
            help="Dataset or Experiment as KIND/NAME; all when unset.", metavar="KIND/NAME"
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="New folder to replay into and leave; a temporary one when unset.", metavar="DIR"
        ),
    ] = None,
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    output: options.Output = Format.TEXT,
) -> None:
    """Run again what is recorded of a commit, elsewhere, and name the first step that differs.

    Each Dataset and Experiment of the commit is run from its recorded configuration and input into
    a fresh folder; what is recorded, and the plane, stay as they are. Status 0 when all digests are
    equal, 1 when one differs, 3 when something cannot be compared.
    """
    from modelyard.cli import lookup
    from modelyard.cli import output as out
    from modelyard.cli.replay import replaying
    from modelyard.cli.replay.report import lines

    try:
        wanted = lookup.split(what, namespace) if what else None
        request = replaying.Request(commit, wanted, namespace, directory, into)
        result = replaying.replay(request)
    except CommandError as error:
        raise Unable(str(error)) from error
    verdicts = {report.verdict for report in result.reports}
    if output is Format.JSON:
        runs = [report.to_json() for report in result.reports]
        out.show_json({"commit": result.commit, "equal": verdicts == {"Equal"}, "runs": runs})
    else:
        for line in lines(result.reports):
            out.show(line)
    if "Different" in verdicts:
        raise Ended(Exit.FAILED)
    raise Ended(Exit.UNABLE if "NotCompared" in verdicts else Exit.OK)
