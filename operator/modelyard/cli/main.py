"""`modelyard`, also as `kubectl modelyard`. Imports happen in the commands, so help is quick."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from modelyard.cli.commands import ask, project, replay, run
from modelyard.cli.faults import CommandError, Ended, Exit


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer's signature
    if value:
        ask.version()
        raise typer.Exit


app = typer.Typer(
    name="modelyard",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit status: 0 done, 1 failed or not Ready, 2 `plan` found changes, "
    "3 `replay` could not compare, 130 interrupted.",
)


@app.callback()
def _program(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Commit YAML, get a governed, served, watched model."""


project.register(app)
run.register(app)
ask.register(app)
replay.register(app)


def main() -> NoReturn:
    """Run the command line and exit.

    A wrong option exits 1, not 2: `plan` says by 2 that there are changes. Of `replay` it exits
    3, for 1 says that results differ.
    """
    try:
        app()
    except Ended as ended:
        sys.exit(ended.code)
    except SystemExit as done:
        if done.code == 2:
            _refuse_usage(done)
        sys.exit(done.code)
    except CommandError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(Exit.OK)


def _refuse_usage(done: SystemExit) -> NoReturn:
    """End with a wrong option; typer has said which on stderr, and holds it in the context."""
    wrong = done.__context__
    said = wrong.format_message() if isinstance(wrong, typer.BadParameter) else str(wrong or "")
    _document_error(said or "name a command; see --help")
    context = getattr(wrong, "ctx", None)
    asked = context.info_name if context is not None else None
    sys.exit(Exit.UNABLE if asked == replay.replay.__name__ else Exit.FAILED)


def _fail(error: CommandError) -> NoReturn:
    from modelyard.cli import output

    output.say(f"error: {error}")
    _document_error(str(error))
    sys.exit(error.exit)


def _document_error(message: str) -> None:
    from modelyard.cli import output

    if _wants_json(sys.argv[1:]):
        output.show_json({"error": {"message": message}})


def _wants_json(arguments: list[str]) -> bool:
    return any(
        argument in ("-ojson", "--output=json", "-o=json")
        or (argument in ("-o", "--output") and arguments[place + 1 : place + 2] == ["json"])
        for place, argument in enumerate(arguments)
    )


if __name__ == "__main__":
    main()
