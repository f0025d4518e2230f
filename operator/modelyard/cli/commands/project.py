"""`init`, `validate`, `plan`: a directory of YAML before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import options
from modelyard.cli.faults import CommandError, Ended, Exit
from modelyard.cli.layout import Layout
from modelyard.cli.output import Format


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (init, validate, plan):
        app.command()(command)


def init(
    name: Annotated[str, typer.Argument(help="Name of the project and of its folder.")],
    template: Annotated[
        str | None,
        typer.Option(help="One of: breast-cancer, wine, diabetes, iris, digits.", metavar="NAME"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="CSV file to learn from; with --target.", metavar="FILE")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column of the CSV file to predict.", metavar="COLUMN")
    ] = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Write a complete project into the new folder NAME, and say what was assumed."""
    from modelyard.cli import inspect_csv, starter
    from modelyard.cli import output as out

    if (template is None) == (data is None) or (data is None) != (target is None):
        raise CommandError("give either --template NAME, or --data FILE with --target COLUMN")
    starter.check_name(name)
    directory = Path(name)
    assumptions: list[str] = []
    if data is not None:
        proposal, assumptions = inspect_csv.propose(data, str(target), directory)
    elif template in starter.TEMPLATES:
        proposal = starter.TEMPLATES[str(template)]
    else:
        known = ", ".join(starter.TEMPLATES)
        raise CommandError(f"no template {template!r}; there are: {known}")
    written = starter.write(directory, starter.project_files(name, proposal))
    if output is Format.JSON:
        out.show_json({"files": list(map(str, written)), "assumptions": assumptions})
        return
    for assumption in assumptions:
        out.show(f"assumed: {assumption}")
    for path in written:
        out.show(f"wrote {path}")
    out.show(f"next: git add {name} && git commit, then modelyard up {name}")


def validate(directory: options.Directory = Path(), output: options.Output = Format.TEXT) -> None:
    """Judge the YAML in DIR as the API server would, and references between objects.

    Prints `file:line: field.path: message` for each fault; status 1 when there is one.
    """
    from modelyard.cli import output as out
    from modelyard.cli import validate as judging
    from modelyard.cli.manifests import project_directory

    judgement = judging.judge(project_directory(directory))
    count = len(judgement.tree.manifests)
    if output is Format.JSON:
        out.show_json(
            {
                "valid": not judgement.faults,
                "objects": count,
                "faults": [fault.to_json() for fault in judgement.faults],
                "notes": list(judgement.tree.notes),
            }
        )
    else:
        for note in judgement.tree.notes:
            out.say(f"note: {note}")
        for fault in judgement.faults:
            out.show(str(fault))
        if not judgement.faults:
            out.show(f"{count} objects, no faults")
    raise Ended(Exit.FAILED if judgement.faults else Exit.OK)


def plan(directory: options.Directory = Path(), output: options.Output = Format.TEXT) -> None:
    """Show what `up` would change, what runs, what is cached, and the policies that judge it.

    Status 0 when nothing changes, 2 when something does, 1 when the YAML is refused.
    """
    from modelyard.cli import apply, connect, planning
    from modelyard.cli import output as out
    from modelyard.cli import validate as judging

    judgement = judging.judge_or_fail(directory)
    layout = Layout(judgement.tree.directory)
    origin = apply.origin_of(layout.directory)
    with connect.running_client(layout) as client:
        planned = planning.Planner(judgement.tree, origin, client, layout.store).plan()
    changed = any(entry.action != "Unchanged" for entry in planned)
    if output is Format.JSON:
        document = [entry.to_json() for entry in planned]
        out.show_json({"changes": changed, "running": client is not None, "objects": document})
    else:
        if client is None:
            out.say("no plane runs here: compared with nothing")
        for line in planning.lines(planned):
            out.show(line)
    if any(entry.action == "Refused" for entry in planned):
        raise Ended(Exit.FAILED)
    raise Ended(Exit.CHANGES if changed else Exit.OK)
