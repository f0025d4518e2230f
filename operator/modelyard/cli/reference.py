"""The reference page of the command line, from the commands themselves."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from modelyard.cli.main import app

_INTRODUCTION = """# Command line

`modelyard COMMAND`, or `kubectl modelyard COMMAND`. This page is generated from the commands by
`make generate`.

Results go to stdout, progress and errors to stderr. With `-o json` stdout holds exactly one JSON
document, on an error `{"error": {"message": ...}}`. Colours follow the terminal and `NO_COLOR`.

## Exit status

| status | meaning |
|---|---|
| 0 | done; `up --wait`, `status`: every object is Ready; `plan`: no changes |
| 1 | failed, refused or not Ready; the message says what and what to do; a wrong option too |
| 2 | `plan` found changes |
| 3 | `replay` could not compare, or was asked wrongly; by 1 it says that something differs |
| 130 | interrupted by Ctrl-C, after what it started was stopped |

## Which API server is asked

That of `--kubeconfig` where given; else that of the project in or around the folder; else the one
kubectl would use.
"""


def cli_page() -> str:
    """Return the page as Markdown."""
    group: Any = get_command(app)
    parts = [_INTRODUCTION]
    for name in sorted(group.commands):
        parts.append(_section(name, group.commands[name]))
    return "\n".join(parts)


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["modelyard", name, *map(_argument, arguments), "[OPTIONS]"])
    lines = [f"## {name}", "", f"`{usage}`", "", _paragraphs(command.help), ""]
    lines += ["| argument or option | what |", "|---|---|"]
    lines += [f"| `{_argument(a)}` | {a.help or ''} |" for a in arguments]
    lines += [f"| {_names(o)} | {o.help or ''} |" for o in options if o.name != "help"]
    return "\n".join(lines) + "\n"


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _names(parameter: Any) -> str:
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _paragraphs(text: str) -> str:
    blocks = text.split("\n\n")
    return "\n\n".join(" ".join(line.strip() for line in block.splitlines()) for block in blocks)
