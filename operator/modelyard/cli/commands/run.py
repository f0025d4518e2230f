"""`up`, `down`, `status`: the plane of a project and what it makes of the YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import options
from modelyard.cli.faults import Ended, Exit
from modelyard.cli.output import Format

DEFAULT_TIMEOUT = 900.0


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    directory: options.Directory = Path(),
    wait: Annotated[
        bool,
        typer.Option("--wait", help="End when settled: 0 all Ready, 1 not; stops what it started."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave everything running and return.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="With --wait: seconds after which it gives up.")
    ] = DEFAULT_TIMEOUT,
    opa_url: Annotated[
        str | None,
        typer.Option(envvar="MODELYARD_OPA_URL", help="OPA to ask; else policies run in process."),
    ] = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Start the plane, apply DIR, follow it, and show what becomes of it.

    Stays up until Ctrl-C, which stops what it started; a plane that ran before goes on. With --wait
    it ends once every object is Ready (status 0) or one needs somebody (status 1), and stops what
    it started unless --detach.
    """
    from modelyard.cli import session

    mode = session.Mode(wait=wait, detach=detach, timeout=timeout, opa_url=opa_url, format=output)
    raise Ended(session.up(directory, mode))


def down(directory: options.Directory = Path(), output: options.Output = Format.TEXT) -> None:
    """Stop everything that runs for DIR. State stays; the next `up` carries on from it."""
    from modelyard.cli import output as out
    from modelyard.cli import plane
    from modelyard.cli.layout import Layout
    from modelyard.cli.manifests import project_directory

    found = plane.running(Layout(project_directory(directory)))
    if found is not None:
        found.stop()
    if output is Format.JSON:
        out.show_json({"stopped": found is not None})
    else:
        out.show("stopped" if found is not None else "nothing runs here")


def status(
    directory: options.Directory = Path(),
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    output: options.Output = Format.TEXT,
) -> None:
    """Show every object, whether it is Ready and what it waits for. Status 1 when one is not.

    Names what of DIR is not applied, as a file with a fault; that is status 1 too.
    """
    from modelyard.cli import output as out
    from modelyard.cli import settle, state, viewer
    from modelyard.cli.connect import connect

    with connect(kubeconfig, directory) as connection:
        views = settle.read(connection.client, [namespace] if namespace else None)
    unapplied = state.unapplied(connection.layout)
    ready = not unapplied and all(view.state == "Ready" for view in views)
    if output is Format.JSON:
        out.show_json({"ready": ready, "notApplied": unapplied, **state.document(views)})
    else:
        console = out.stdout()
        for part in viewer.summary(views, connection.layout):
            console.print(part, markup=False) if isinstance(part, str) else console.print(part)
    for reason in unapplied:
        out.say(f"not applied: {reason}")
    raise Ended(Exit.OK if ready else Exit.FAILED)
