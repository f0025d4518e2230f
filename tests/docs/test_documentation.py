"""The documentation tells the truth: its commands run, its links lead somewhere, it is complete."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.cli.generate import generated_files

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
FENCE = re.compile(r"^```bash(?P<header>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SKIP = re.compile(r'skip="(?P<reason>[^"]+)"')
LINK = re.compile(r"\]\((?P<target>[^)#:]+)(#[^)]*)?\)")
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    DOCS.rglob("*.md")
)


@dataclass(frozen=True)
class Block:
    """One block of commands."""

    header: str
    body: str

    @property
    def reason_to_skip(self) -> str:
        found = SKIP.search(self.header)
        return found["reason"] if found else ""


def blocks(page: Path) -> list[Block]:
    return [Block(m["header"].strip(), m["body"]) for m in FENCE.finditer(page.read_text())]


def navigation(entries: list[Any]) -> Iterator[Path]:
    """Yield the pages in the order of mkdocs.yml."""
    for entry in entries:
        for target in entry.values():
            if isinstance(target, list):
                yield from navigation(target)
            else:
                yield DOCS / target


NAVIGATION = list(navigation(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]))


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(NAVIGATION) == sorted(DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_that_does_not_run_says_why(page: Path) -> None:
    odd = [b.header for b in blocks(page) if b.header and not b.reason_to_skip]
    assert odd == []


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that all pages share, as a reader does who goes through them in order."""
    folder = tmp_path_factory.mktemp("workspace")
    yield folder
    for project in folder.glob("*/.modelyard"):
        run(f"modelyard down {project.parent}", folder)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, "PATH": path}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip


RUNNABLE = [p for p in NAVIGATION if any(not b.reason_to_skip for b in blocks(p))]


@pytest.mark.xdist_group("documentation")
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page: Path, workspace: Path) -> None:
    for block in blocks(page):
        if not block.reason_to_skip:
            done = run(block.body, workspace)
            assert done.returncode == 0, f"{block.body}\n{done.stdout[-4000:]}"


REASON_PLACE = {"ready": 0, "progressing": 0, "stalled": 0, "Fact": 2, "Problem": 0,
                "GateState": 1, "RunFailure": 0}  # fmt: skip


def reasons_in(path: Path) -> Iterator[str]:
    """Yield every reason that a file may give to a condition."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        given: list[ast.expr] = [k.value for k in node.keywords if k.arg == "reason"]
        place = REASON_PLACE.get(name)
        if place is not None and len(node.args) > place:
            given.append(node.args[place])
        for expression in given:
            options = (
                [expression.body, expression.orelse]
                if isinstance(expression, ast.IfExp)
                else [expression]
            )
            yield from (o.value for o in options if isinstance(o, ast.Constant) and o.value)


def test_every_reason_of_a_condition_is_documented() -> None:
    folders = [REPOSITORY / "operator" / "modelyard" / name for name in ("judge", "reconcile")]
    folders.append(REPOSITORY / "runtimes" / "modelyard_runtimes")
    used = {r for folder in folders for path in folder.rglob("*.py") for r in reasons_in(path)}
    page = (DOCS / "reference" / "conditions.md").read_text()
    documented = set(re.findall(r"^\| `([A-Za-z]+)` \|", page, re.MULTILINE))
    assert len(used) > 30
    assert sorted(used - documented) == []


def test_generated_pages_are_up_to_date() -> None:
    stale = [
        name for name, text in generated_files().items() if (REPOSITORY / name).read_text() != text
    ]
    assert stale == [], "run make generate"
