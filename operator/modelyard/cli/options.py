"""Options that several commands share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.output import Format

Directory = Annotated[
    Path, typer.Argument(help="Folder that holds the YAML.", metavar="DIR", show_default=True)
]
Output = Annotated[
    Format, typer.Option("--output", "-o", help="text, or json: one document on stdout.")
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Only this namespace; all when unset.")
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="API server to ask. Else that of the project around the current folder, "
        "else kubectl's.",
    ),
]
Project = Annotated[
    Path, typer.Option("--directory", "-C", help="Folder of the project.", metavar="DIR")
]
Named = Annotated[str, typer.Argument(help="Object as KIND/NAME.", metavar="KIND/NAME")]
