"""Questions: `get`, `why`, `predict`, `logs`, `card`, `report`, `doctor`, `version` and more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import options
from modelyard.cli.faults import CommandError, Ended, Exit, writing
from modelyard.cli.output import Format


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (get, why, predict, logs, card, report, doctor, kubeconfig, schema, version):
        app.command()(command)


def get(
    what: Annotated[
        str | None, typer.Argument(help="KIND or KIND/NAME; all when unset.", metavar="KIND[/NAME]")
    ] = None,
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Show objects: all, those of a kind, or one, whole with -o json."""
    from modelyard.cli import lookup, settle, viewer
    from modelyard.cli import output as out
    from modelyard.cli.connect import connect

    with connect(kubeconfig, directory) as connection:
        if what and "/" in what:
            views = [lookup.find(connection.client, *lookup.split(what, namespace))]
        else:
            views = settle.read(connection.client, [namespace] if namespace else None)
            kind = lookup.kind_of(what) if what else None
            views = [view for view in views if kind in (None, view.key.kind)]
    if output is Format.JSON:
        bodies = [view.body for view in views]
        out.show_json(bodies[0] if what and "/" in what else {"items": bodies})
    else:
        out.stdout().print(out.table(viewer.HEADINGS, viewer.rows(views, connection.layout)))


def why(
    what: Annotated[
        str | None, typer.Argument(help="Object as KIND/NAME.", metavar="KIND/NAME")
    ] = None,
    model_version: Annotated[
        str | None,
        typer.Option(
            help="The x-modelyard-model-version header of an answer; leads to its commit."
        ),
    ] = None,
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Say why an object is as it is: its chain, the root cause, the next step, the commit."""
    from modelyard.cli import lookup
    from modelyard.cli import output as out
    from modelyard.cli import why as explaining
    from modelyard.cli.connect import connect

    if (what is None) == (model_version is None):
        raise CommandError("name one object: KIND/NAME, or --model-version NAME")
    named = what or f"modelversion/{model_version}"
    kind, name, namespace = lookup.split(named, namespace)
    with connect(kubeconfig, directory) as connection:
        view = lookup.find(connection.client, kind, name, namespace)
        explanation = explaining.explain(connection.client, view, connection.layout)
    if output is Format.JSON:
        out.show_json(explanation.to_json())
        return
    for line in explaining.lines(explanation):
        out.show(line)


def predict(
    name: Annotated[str, typer.Argument(help="Name of the Deployment.", metavar="NAME")],
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="CSV, JSON or JSON Lines file; - reads JSON from stdin."),
    ] = None,
    row: Annotated[str | None, typer.Option(help="One row as a JSON object.")] = None,
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Send rows to a Deployment and print its predictions, one a line."""
    import json

    from modelyard.cli import lookup
    from modelyard.cli import output as out
    from modelyard.cli import predict as predicting
    from modelyard.cli.connect import connect

    rows = predicting.rows_of(data, row)
    with connect(kubeconfig, directory) as connection:
        view = lookup.find_of_kind(connection.client, "Deployment", name, namespace)
    answer = predicting.predict(view, rows)
    if output is Format.JSON:
        out.show_json(answer)
        return
    out.say(f"answered by {answer['modelVersion']}")
    for line in predicting.differences(answer):
        out.say(line)
    for prediction in answer.get("predictions", []):
        out.show(json.dumps(prediction, ensure_ascii=False))


def logs(
    what: Annotated[
        str,
        typer.Argument(
            help="KIND/NAME, or operator, apiserver, standins, follower.", metavar="WHAT"
        ),
    ],
    lines: Annotated[int, typer.Option(help="Last lines of each log.", min=1)] = 200,
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    output: options.Output = Format.TEXT,
) -> None:
    """Print the logs of what an object runs, or of a part of the plane."""
    from modelyard.cli import logs as reading
    from modelyard.cli import lookup
    from modelyard.cli import output as out
    from modelyard.cli.connect import connect
    from modelyard.cli.layout import find_project

    layout = find_project(directory)
    if layout is None:
        raise CommandError(f"no plane was started in {directory.resolve()} or above; use -C DIR")
    if "/" in what:
        with connect(layout.kubeconfig, layout.directory) as connection:
            view = lookup.find(connection.client, *lookup.split(what, namespace))
            children = lookup.children(connection.client, view)
        files = [path for child in children for path in reading.files_of(layout, child)]
    else:
        files = reading.of_process(layout, what)
    if not files:
        known = ", ".join(reading.processes(layout))
        raise CommandError(f"{what} has no logs here; write KIND/NAME or one of: {known}")
    if output is Format.JSON:
        found = [{"file": str(file), "lines": list(reading.tail(file, lines))} for file in files]
        out.show_json({"logs": found})
        return
    for file in files:
        out.say(f"==> {file}")
        for line in reading.tail(file, lines):
            out.show(line)


def card(
    name: Annotated[str, typer.Argument(help="Name of the ModelVersion.", metavar="MODELVERSION")],
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Print the model card of a ModelVersion: what it is, how good, from what, for whom."""
    from modelyard.cli import card as reading
    from modelyard.cli import lookup
    from modelyard.cli import output as out
    from modelyard.cli.connect import connect

    with connect(kubeconfig, directory) as connection:
        view = lookup.find_of_kind(connection.client, "ModelVersion", name, namespace)
        text = reading.card(view, connection.client)
    if output is Format.JSON:
        out.show_json({**view.to_json(), "card": text})
    else:
        out.show(text)


def report(
    name: Annotated[str, typer.Argument(help="Name of the ModelVersion.", metavar="MODELVERSION")],
    file: Annotated[
        Path | None, typer.Option(help="Write the page here instead of printing it.")
    ] = None,
    namespace: options.Namespace = None,
    directory: options.Project = Path(),
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Print the report of the run that made a ModelVersion, as one page of HTML."""
    from modelyard.cli import card as reading
    from modelyard.cli import lookup
    from modelyard.cli import output as out
    from modelyard.cli.connect import connect

    with connect(kubeconfig, directory) as connection:
        view = lookup.find_of_kind(connection.client, "ModelVersion", name, namespace)
        page = reading.report(view, connection.client)
    if file is not None:
        with writing(file, "name a file in a folder that is there", "--file"):
            file.write_text(page, encoding="utf-8")
        out.say(f"wrote {file}")
    if output is Format.JSON:
        out.show_json({**view.to_json(), "report": str(file) if file else page})
    elif file is None:
        out.show(page)


def doctor(directory: options.Directory = Path(), output: options.Output = Format.TEXT) -> None:
    """Check this machine, the installation, and the plane of DIR. Status 1 when one is bad."""
    from modelyard.cli import doctor as checking
    from modelyard.cli import output as out

    checks = list(checking.examine(directory))
    healthy = all(check.verdict != "Bad" for check in checks)
    if output is Format.JSON:
        out.show_json({"healthy": healthy, "checks": [check.to_json() for check in checks]})
    else:
        rows = ((check.verdict, check.name, check.message) for check in checks)
        out.stdout().print(out.table(("Verdict", "Check", "Found"), rows))
    raise Ended(Exit.OK if healthy else Exit.FAILED)


def kubeconfig(directory: options.Directory = Path(), output: options.Output = Format.TEXT) -> None:
    """Print the path of DIR's kubeconfig: export KUBECONFIG=$(modelyard kubeconfig DIR)."""
    from modelyard.cli import output as out
    from modelyard.cli.layout import find_project

    layout = find_project(directory)
    if layout is None or not layout.kubeconfig.exists():
        raise CommandError(f"no plane was started in {directory.resolve()}; run `modelyard up`")
    if output is Format.JSON:
        out.show_json({"kubeconfig": str(layout.kubeconfig)})
    else:
        out.show(str(layout.kubeconfig))


def schema() -> None:
    """Print the JSON Schema of all kinds, by which editors check and complete manifests."""
    from modelyard.api.crd import bundle_schema
    from modelyard.cli import output as out

    out.show_json(bundle_schema())


def version(output: options.Output = Format.TEXT) -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    from modelyard.cli import output as out

    number = installed("modelyard")
    if output is Format.JSON:
        out.show_json({"version": number})
    else:
        out.show(f"modelyard {number}")
