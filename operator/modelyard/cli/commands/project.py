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
    name: Annotated[
        str | None,
        typer.Argument(help="Name of the project and of its new folder.", metavar="NAME"),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="One of: breast-cancer, wine, diabetes, iris, digits.", metavar="NAME"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="File or directory to learn from; with --target.", metavar="PATH"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column to predict; with --data.", metavar="COLUMN")
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(help="With --data: what a model must reach, as 'AUC > 0.85'.", metavar="TEXT"),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Plain requirements, as user_requirements.yaml.", metavar="FILE"
        ),
    ] = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Write a complete project into the new folder NAME, and say what was assumed.

    What it cannot know it asks on a terminal; elsewhere it writes nothing and lists the questions.
    """
    from modelyard.cli import interview, starter
    from modelyard.cli import output as out

    if [template is None, data is None, requirements is None].count(False) != 1:
        raise CommandError(
            "give one of --template NAME, --data FILE with --target COLUMN, and --from FILE"
        )
    if template is not None:
        draft = starter.from_template(name, template)
    elif requirements is not None:
        draft = interview.from_file(requirements, name)
    else:
        draft = interview.from_data(data, target, require, name)
    written = list(map(str, starter.write(Path(draft.name), draft.files)))
    if output is Format.JSON:
        out.show_json({"project": draft.name, "files": written, **draft.notes})
        return
    for line in [*draft.said, *(f"wrote {path}" for path in written)]:
        out.show(line)
    where = draft.name
    out.show(f"next: modelyard validate {where}, git add and commit it, modelyard up {where}")


def validate(directory: options.Directory = Path(), output: options.Output = Format.TEXT) -> None:
    """Judge the YAML in DIR as the API server would, and references between objects.

    Prints `file:line: field.path: message` for each fault; status 1 when there is one.
    """
    from modelyard.cli import output as out
    from modelyard.cli import validate as judging
    from modelyard.cli.manifests import project_directory

    judgement = judging.judge(project_directory(directory))
    count = len(judgement.tree.manifests)
    if not judgement.faults and count == 0:
        raise CommandError(judging.nothing_in(directory))
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
        else:
            out.say("the plane follows this folder: an edit is in force within two seconds")
        for line in planning.lines(planned):
            out.show(line)
    if any(entry.action == "Refused" for entry in planned):
        raise Ended(Exit.FAILED)
    raise Ended(Exit.CHANGES if changed else Exit.OK)
