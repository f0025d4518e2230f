"""Messy input: every row is kept or quarantined with a reason, none vanishes."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from modelyard_runtimes.entry import RunFailure

PLAIN = "name,amount\nZoë,1\nMüller,2\nJosé,3\n"


class Messy(NamedTuple):
    """A file as it comes, and what must become of it."""

    label: str
    name: str
    content: bytes
    kept: int
    reasons: dict[str, int]
    columns: list[str] = ["name", "amount"]  # noqa: RUF012 - never changed


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def workbook(*sheets: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"sheet{number}")
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return out.getvalue()


ROWS = [{"name": "Zoë", "amount": 1}, {"name": "Müller", "amount": 2}]
MANY = b"name,amount\n" + b"".join(b"n%d,%d\n" % (n, n) for n in range(200))

CORPUS = [
    Messy("UTF-8", "a.csv", PLAIN.encode(), 3, {}),
    Messy("UTF-8 with mark", "a.csv", PLAIN.encode("utf-8-sig"), 3, {}),
    Messy("UTF-16 with mark", "a.csv", PLAIN.encode("utf-16"), 3, {}),
    Messy("UTF-16 without mark", "a.csv", PLAIN.encode("utf-16-be"), 3, {}),
    Messy("Latin-1", "a.csv", PLAIN.encode("latin-1"), 3, {}),
    Messy("cp1252", "a.csv", (PLAIN + "“x”,5\n").encode("cp1252"), 4, {}),
    Messy("semicolon", "a.csv", PLAIN.replace(",", ";").encode(), 3, {}),
    Messy("tab", "a.tsv", PLAIN.replace(",", "\t").encode(), 3, {}),
    Messy("bar", "a.txt", PLAIN.replace(",", "|").encode(), 3, {}),
    Messy("CRLF", "a.csv", PLAIN.replace("\n", "\r\n").encode(), 3, {}),
    Messy("old Mac line ends", "a.csv", PLAIN.replace("\n", "\r").encode(), 3, {}),
    Messy("blank lines", "a.csv", PLAIN.replace("\n", "\n\n").encode(), 3, {}),
    Messy("quoted delimiter", "a.csv", b'name,amount\n"a, b",1\n"say ""x""",2\n', 2, {}),
    Messy("line end in quotes", "a.csv", b'name,amount\n"a\nb",1\nc,2\n', 2, {}),
    Messy("ragged", "a.csv", b"name,amount\na,1\nb\nc,3,4\nd,5\n", 2, {"RaggedRow": 2}),
    Messy("delimiter at line ends", "a.csv", b"name,amount\na,1,\nb,2,\n", 2, {}),
    Messy("open quote", "a.csv", b'name,amount\na,1\n"b,2\nc,3\nd,4\n', 3, {"BrokenQuote": 1}),
    Messy("text after quote", "a.csv", b'name,amount\n"b"x,2\nc,3\n', 1, {"BrokenQuote": 1}),
    Messy("damaged UTF-8", "a.csv", PLAIN.encode() + b"Caf\xe9,4\n", 3, {"BadEncoding": 1}),
    Messy("doubled header", "a.csv", b"x,x\n1,2\n", 1, {}, ["x", "x_2"]),
    Messy("empty header", "a.csv", b"x,\n1,2\n", 1, {}, ["x", "column_2"]),
    Messy("no header", "a.csv", b"1.5,2\n3.5,4\n", 2, {}, ["column_1", "column_2"]),
    Messy("one column with a gap", "a.csv", b"x\n1\n\n3\n", 3, {}, ["x"]),
    Messy("mixed types", "a.csv", MANY + b"odd,many\n", 200, {"TypeMismatch": 1}),
    Messy("empty file", "b.csv", b"", 3, {"EmptyFile": 1}),
    Messy("blank file", "b.csv", b" \n\n", 3, {"EmptyFile": 1}),
    Messy("header only", "b.csv", b"name,amount\n", 3, {}),
    Messy("other columns", "b.csv", b"x,y\n1,2\n3,4\n", 3, {"OtherColumns": 2}),
    Messy("JSON", "a.json", json.dumps(ROWS).encode(), 2, {}),
    Messy("JSON under a key", "a.json", json.dumps({"rows": ROWS, "n": 2}).encode(), 2, {}),
    Messy("JSON of columns", "a.json", b'{"name": ["a", "b"], "amount": [1, 2]}', 2, {}),
    Messy("JSON with others", "a.json", b'[{"name": "a", "amount": 1}, 7]', 1, {"NotAnObject": 1}),
    Messy("broken JSON", "b.json", b'[{"name": "a"', 3, {"BrokenJson": 1}),
    Messy("deep JSON", "b.json", b"[" * 100_000, 3, {"BrokenJson": 1}),
    Messy("JSON lines", "a.jsonl", b'{"name":"a","amount":1}\n{oops\n', 1, {"BrokenJson": 1}),
    Messy("lines named .json", "a.json", b'{"name":"a","amount":1}\n{"name":"b"}\n', 2, {}),
    Messy("Parquet", "a.parquet", parquet(ROWS), 2, {}),
    Messy("Parquet without suffix", "a", parquet(ROWS), 2, {}),
    Messy("truncated Parquet", "b.parquet", parquet(ROWS)[:-20], 3, {"BrokenParquet": 1}),
    Messy("XLSX", "a.xlsx", workbook([["name", "amount"], ["a", 1], [], ["b", 2.5]]), 2, {}),
    Messy("XLSX, two sheets", "a.xlsx", workbook([["name", "amount"], ["a", 1]], []), 1, {}),
    Messy("broken XLSX", "b.xlsx", b"PK\x03\x04 broken", 3, {"BrokenWorkbook": 1}),
    Messy("zip", "a.zip", archive({"x/1.csv": PLAIN.encode(), "2.json": b"[]"}), 3, {}),
    Messy("corrupt zip", "b.zip", archive({"1.csv": MANY})[:-30], 3, {"BrokenArchive": 1}),
    Messy("hostile zip", "b.zip", archive({"../1.csv": MANY}), 3, {"HostilePath": 1}),
    Messy("zip in zip", "b.zip", archive({"c.zip": archive({"d": b"x"})}), 3, {"NestedArchive": 1}),
    Messy("zip bomb", "b.zip", archive({"1.csv": b"0" * (20 << 20)}), 3, {"ArchiveTooLarge": 1}),
    Messy("unknown binary", "b.dat", bytes(range(256)), 3, {"UnknownBinary": 1}),
    Messy("compressed", "b.csv.gz", gzip.compress(PLAIN.encode()), 3, {"UnknownBinary": 1}),
    Messy("prose", "b.txt", b"Read me first.\nThen, perhaps, go on.\n", 3, {"NotATable": 1}),
]


@pytest.mark.parametrize("messy", CORPUS, ids=lambda messy: messy.label)
def test_every_row_is_kept_or_quarantined_with_a_reason(
    messy: Messy, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / messy.name).write_bytes(messy.content)
    if messy.name.startswith("b"):  # a bad file beside a good one
        (folder / "a.csv").write_bytes(PLAIN.encode())

    outcome = snapshot(folder)

    record = outcome.record
    assert record.snapshot.rows == messy.kept
    assert record.quarantine.reasons == messy.reasons
    assert record.rows_read == record.snapshot.rows + record.quarantine.rows
    assert len(outcome.quarantined) == record.quarantine.rows
    assert all(row["reason"] and row["detail"] for row in outcome.quarantined)
    assert outcome.table.column_names == messy.columns
    assert any(decision.startswith(messy.name) for decision in record.files)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-16", "latin-1", "cp1252", "utf-8-sig", "utf-16-le"]
)
def test_names_survive_every_encoding(
    encoding: str, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(PLAIN.encode(encoding))

    outcome = snapshot(tmp_path / "a.csv")

    assert set(outcome.table.column("name").to_pylist()) == {"Zoë", "Müller", "José"}


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp1251", "Иван Петров и Пётр Иванов"), ("cp932", "東京都と大阪府の間")]
)
def test_other_scripts_are_recognised(
    encoding: str, text: str, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    lines = [f"{text} {number},{number}" for number in range(30)]
    (tmp_path / "a.csv").write_bytes("\n".join(["name,amount", *lines]).encode(encoding))

    outcome = snapshot(tmp_path / "a.csv")

    assert f"{text} 7" in outcome.table.column("name").to_pylist()


@pytest.mark.parametrize("rows", [100, 60_000], ids=["few rows", "more than are looked at"])
def test_letters_far_down_tell_the_encoding(
    rows: int, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    lines = ["name,amount", *["plain,1"] * rows, "José,5", ""]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode("cp1252"))

    assert "José" in snapshot(tmp_path / "a.csv").table.column("name").to_pylist()


def test_a_declared_encoding_and_delimiter_win(
    snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes("name!amount\nŁódź,!1\n".encode("cp1250"))

    outcome = snapshot(tmp_path / "a.csv", source={"encoding": "cp1250", "delimiter": "!"})

    assert outcome.clean == [{"name": "Łódź,", "amount": 1}]


def test_all_formats_together_account_for_every_row(
    snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for number, messy in enumerate(messy for messy in CORPUS if messy.columns[0] == "name"):
        (folder / f"{number:02d}-{messy.name}").write_bytes(messy.content)

    record = snapshot(folder).record

    named = [messy for messy in CORPUS if messy.columns[0] == "name" and messy.name[0] == "a"]
    broken = [messy for messy in CORPUS if messy.name[0] == "b"]
    assert record.snapshot.rows == sum(messy.kept for messy in named)
    assert record.quarantine.rows == sum(sum(messy.reasons.values()) for messy in [*named, *broken])
    assert record.rows_read == record.snapshot.rows + record.quarantine.rows


def test_hidden_files_are_left_out_and_said(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    folder = csv("x,y", "1,2").parent
    csv("x,y", "3,4", name=".hidden.csv")
    csv("x,y", "5,6", name="below/deep.csv")

    record = snapshot(folder).record

    assert record.snapshot.rows == 2
    assert ".hidden.csv: hidden, not read." in record.files


def test_a_quarantined_line_keeps_file_line_and_text(
    snapshot: Callable[..., Any], csv: Callable[..., Path]
) -> None:
    (row,) = snapshot(csv("x,y", "1,2", "3", "4,5")).quarantined

    assert (row["file"], row["line"], row["text"]) == ("rows.csv", 3, "3")


def test_typed_values_equal_their_texts(snapshot: Callable[..., Any], tmp_path: Path) -> None:
    moment = datetime(2020, 1, 2, 3, 4, 5)
    rows: list[dict[str, Any]] = [
        {"n": 1.0, "f": 0.1, "t": moment, "b": True, "l": [1, 2]},
        {"n": None, "f": 1e300, "t": None, "b": False, "l": None},
    ]
    (tmp_path / "a.parquet").write_bytes(parquet(rows))
    (tmp_path / "a.csv").write_text(
        'n,f,t,b,l\n1,0.1,2020-01-02 03:04:05,true,"[1,2]"\n,1e300,,false,\n'
    )

    first, second = snapshot(tmp_path / "a.parquet"), snapshot(tmp_path / "a.csv")

    assert first.record.fingerprint == second.record.fingerprint
    assert first.types == {
        "n": "Numeric",
        "f": "Numeric",
        "t": "Datetime",
        "b": "Boolean",
        "l": "Categorical",
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "UnreadableSource"),
        (b"name,amount\n", "EmptySource"),
        (bytes(99), "UnreadableSource"),
        (b"\x00\xff\xfe\x00" * 50, "EmptySource"),
    ],
    ids=["empty", "header only", "zeros", "no text at all"],
)
def test_a_source_without_rows_fails_and_names_the_field(
    content: bytes, reason: str, snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    with pytest.raises(RunFailure, match=r"spec\.source\.path") as caught:
        snapshot(tmp_path / "a.csv")
    assert caught.value.reason == reason


def test_a_missing_source_fails_and_names_the_field(
    snapshot: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(RunFailure, match=r"spec\.source\.path.*No such file") as caught:
        snapshot(tmp_path / "none.csv")
    assert caught.value.reason == "UnreadableSource"


def test_an_empty_directory_fails(snapshot: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()

    with pytest.raises(RunFailure, match="no file to read"):
        snapshot(tmp_path / "source")
