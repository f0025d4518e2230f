"""A batch answers as the model does, whatever its container, and accounts for every row."""

from __future__ import annotations

import errno
import json
import sys
import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pytest
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.batch.run import score
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.model import kernel
from modelyard_runtimes.store.files import FileStore

from tests.batch.conftest import Site, table
from tests.model.conftest import trees


def expected(site: Site, rows: pa.Table) -> np.ndarray[Any, Any]:
    """Return the positive probabilities as the model server computes them, from JSON values."""
    columns = {name: rows[name].to_pylist() for name in site.model.schema.names}
    columns["joined"] = [None if v is None else v.isoformat() for v in columns["joined"]]
    found: np.ndarray[Any, Any] = site.model.predict(columns)[:, 1]
    return found


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.jsonl"])
def test_answers_equal_those_of_the_server(site: Site, name: str) -> None:
    rows = table(3000)
    site.write(name, rows)

    record = site.score(rowsPerShard=1000, output={"include": ["id"]})

    scored = site.scored()
    assert record.evaluation == {"members/0.txt": "compiled"}
    assert np.abs(scored["probability_yes"].to_numpy() - expected(site, rows)).max() <= 1e-12
    assert scored["row"].to_pylist() == list(range(3000))
    assert [int(found) for found in scored["id"].to_pylist()] == list(range(3000))
    assert (record.result.rows_read, record.result.rows_written) == (3000, 3000)
    assert [shard.rows_read for shard in record.shards] == [1000, 1000, 1000]


def test_labels_and_scores_follow_the_threshold(site: Site) -> None:
    site.write("rows.parquet", table(500))
    site.score()

    for row in site.scored().to_pylist():
        assert row["label"] == ("yes" if row["probability_yes"] >= 0.5 else "no")
        assert row["score"] == row[f"probability_{row['label']}"]


def test_how_sure_a_prediction_is_stands_beside_it(site: Site) -> None:
    site.pack(conformal={"coverage": 0.9, "radius": 0.7}, threshold=0.2)
    site.write("rows.parquet", table(500))
    site.score()

    rows = site.scored().to_pylist()
    for row in rows:
        inside = {name: row[f"probability_{name}"] >= 1 - 0.7 for name in ("no", "yes")}
        assert row["label"] == ("yes" if row["probability_yes"] >= 0.2 else "no")
        inside[row["label"]] = True
        assert {name: row[f"plausible_{name}"] for name in ("no", "yes")} == inside
    assert len({row["plausible_no"] for row in rows}) == 2


def test_the_ends_of_an_interval_stand_beside_a_value(site: Site) -> None:
    changes = {"task": "Regression", "classes": [], "positiveLabel": None}
    site.pack(**changes, conformal={"coverage": 0.9, "radius": 0.25}, objective="regression")
    site.write("rows.parquet", table(500))
    site.score()

    for row in site.scored().to_pylist():
        assert (row["lower"], row["upper"]) == (row["prediction"] - 0.25, row["prediction"] + 0.25)


def test_a_row_that_the_server_would_refuse_is_set_apart_and_counted(site: Site) -> None:
    rows = table(100)
    ages = [str(age) for age in rows["age"].to_pylist()]
    ages[7], ages[50] = "old", "1e999"
    members: list[Any] = rows["member"].to_pylist()
    texts = ["" if value is None else str(value).lower() for value in members]
    texts[50], texts[51] = "perhaps", "perhaps"
    bad = rows.set_column(1, "age", pa.array(ages)).set_column(3, "member", pa.array(texts))
    pv.write_csv(bad, site.input / "rows.csv")

    record = site.score(output={"include": ["id"]})

    assert record.result.rows_read == record.result.rows_written + record.result.rows_rejected
    assert record.result.reasons == {"TypeMismatch": 3}
    assert record.result.most_rejected_for == "member: TypeMismatch"
    found = {row["row"]: row for row in site.rejected()}
    assert sorted(found) == [7, 50, 51]
    assert found[7]["column"] == "age"
    assert "plain notation" in found[7]["detail"]
    assert found[7]["include"] == {"id": "7"}
    assert "old" not in json.dumps(site.rejected())
    assert not set(site.scored()["row"].to_pylist()) & set(found)


def test_numbers_that_are_not_finite_are_set_apart(site: Site) -> None:
    rows = table(10)
    balance = [float("inf"), *rows["balance"].to_pylist()[1:]]
    site.write("rows.parquet", rows.set_column(2, "balance", pa.array(balance, pa.float64())))

    assert site.score().result.reasons == {"NotFinite": 1}
    assert site.scored()["row"].to_pylist() == list(range(1, 10))


def test_no_value_stands_for_a_prediction_that_is_no_number(site: Site) -> None:
    at_missing_left = 10
    huge = (0, 40.5, at_missing_left, 1e308, 0.5)
    changes = {"task": "Regression", "classes": [], "positiveLabel": None}
    site.pack(text=trees("regression", huge, huge, columns=10), **changes)
    site.write("rows.parquet", table(500))

    result = site.score().result

    assert result.reasons == {"PredictionNotFinite": result.rows_rejected}
    assert 0 < result.rows_rejected < 500
    assert set(site.scored()["prediction"].to_pylist()) == {1.0}
    assert {row["column"] for row in site.rejected()} == {"prediction"}


@pytest.mark.parametrize(
    ("name", "piece", "rows_per_shard"),
    [
        pytest.param("rows.jsonl", 1 << 23, 500, id="JSON lines"),
        pytest.param("rows.jsonl", 300, 500, id="JSON lines of many pieces"),
        pytest.param("rows.jsonl", 300, 3, id="JSON lines, small shards"),
        pytest.param("rows.json", 1 << 23, 7, id="a JSON document"),
    ],
)
def test_a_row_that_lacks_a_required_value_is_set_apart_whatever_the_size_of_the_file(
    site: Site, monkeypatch: Any, name: str, piece: int, rows_per_shard: int
) -> None:
    rows = [{"id": at, "age": 30, "plan": None} for at in range(40)]
    apart = {*range(6), 11, *range(20, 30)}
    for at in apart:
        del rows[at]["age" if at != 11 else "plan"]
    lines = [json.dumps(row) for row in rows]
    text = "\n".join([*lines, ""]) if name == "rows.jsonl" else f"[{','.join(lines)}]"
    (site.input / name).write_text(text)
    monkeypatch.setattr("modelyard_runtimes.batch.text.PIECE", piece)

    record = site.score(rowsPerShard=rows_per_shard, output={"include": ["id"]})

    assert record.result.reasons == {"MissingValue": len(apart)}
    found = {row["row"]: row for row in site.rejected()}
    assert set(found) == apart
    assert (found[0]["column"], found[11]["column"]) == ("age", "plan")
    assert "write it" in found[0]["detail"]
    assert site.scored()["row"].to_pylist() == sorted(set(range(40)) - apart)


@pytest.mark.parametrize(
    ("kind", "cell", "written"),
    [
        pytest.param(pa.date32(), date(2020, 1, 2), "2020-01-02", id="a day"),
        pytest.param(pa.time64("us"), time(3, 4), "03:04:00", id="a time of day"),
        pytest.param(pa.timestamp("us"), datetime(2020, 1, 2), "2020-01-02T00:00:00Z",
                     id="a moment"),
        pytest.param(pa.timestamp("us", "Europe/Berlin"), datetime(2020, 1, 2, 3, tzinfo=UTC),
                     "2020-01-02T03:00:00Z", id="a moment with a zone"),
        pytest.param(pa.binary(), b"\xff", "\\xff", id="bytes"),
        pytest.param(pa.large_binary(), b"\xff", "\\xff", id="many bytes"),
        pytest.param(pa.binary(2), b"\xff\xfe", "\\xff\\xfe", id="a number of bytes"),
        pytest.param(pa.float64(), float("nan"), None, id="no number"),
        pytest.param(pa.float32(), 0.1, 0.1, id="a float of 32 bits"),
        pytest.param(pa.float32(), float("inf"), None, id="an infinite float of 32 bits"),
        pytest.param(pa.float16(), 0.5, 0.5, id="a float of 16 bits"),
        pytest.param(pa.uint64(), 2**64 - 1, 2**64 - 1, id="a large number without sign"),
        pytest.param(pa.decimal128(10, 2), Decimal("12.50"), 12.5, id="a decimal"),
        pytest.param(pa.decimal128(20, 2), Decimal("12.50"), "12.50",
                     id="a decimal of more digits than a float has"),
        pytest.param(pa.dictionary(pa.int32(), pa.string()), "a", "a", id="a category"),
        pytest.param(pa.list_(pa.int64()), [1, 2], "[1,2]", id="a list"),
    ],
)  # fmt: skip
def test_an_included_value_is_written_alike_beside_a_prediction_and_set_apart(
    site: Site, kind: pa.DataType, cell: Any, written: Any
) -> None:
    rows = table(4)
    balance = pa.array([float("inf"), 1.0, 2.0, 3.0])
    rows = rows.set_column(2, "balance", balance)
    site.write("rows.parquet", rows.append_column("kept", pa.array([cell] * 4, kind)))

    record = site.score(output={"format": "JSONL", "include": ["kept"]})

    assert record.result.reasons == {"NotFinite": 1}
    (shard,) = site.shards()
    assert [json.loads(line)["kept"] for line in shard.read_text().splitlines()] == [written] * 3
    assert [row["include"] for row in site.rejected()] == [{"kept": written}]


def test_lines_that_are_no_rows_are_counted_and_swallow_no_others(site: Site) -> None:
    header, *lines = site.write("rows.csv", table(50)).read_text().splitlines()
    lines.insert(20, "one,two")
    lines.insert(30, '5,"broken')
    (site.input / "rows.csv").write_text("\n".join([header, *lines, ""]))

    record = site.score(rowsPerShard=7)

    assert record.result.rows_read == 52
    assert record.result.rows_written == 50
    assert [row["line"] for row in site.rejected()] == [22, 32]


def test_blank_lines_are_counted_where_a_line_is_named(site: Site) -> None:
    header, *lines = site.write("rows.csv", table(50)).read_text().splitlines()
    lines[10:10] = ["", "", "one,two"]
    (site.input / "rows.csv").write_text("\n".join([header, "", *lines, ""]))

    site.score()

    assert [row["line"] for row in site.rejected()] == [15]


def test_the_bytes_do_not_depend_on_threads(site: Site, monkeypatch: Any) -> None:
    site.write("rows.parquet", table(5000))
    digests = []
    for processors in ({0}, {0, 1, 2, 3}):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, found=processors: found)
        record = site.score(rowsPerShard=2000)
        digests.append([shard.digest for shard in record.shards])
        site.forget()

    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", ["Parquet", "JSONL", "CSV"])
def test_every_format_of_the_output_holds_the_same(site: Site, kind: str) -> None:
    site.write("rows.parquet", table(200))
    site.score(output={"format": kind, "include": ["plan"]})

    (shard,) = site.shards()
    if kind == "JSONL":
        rows = [json.loads(line) for line in shard.read_text().splitlines()]
    else:
        found = site.scored() if kind == "Parquet" else pv.read_csv(shard)
        rows = found.to_pylist()
    assert len(rows) == 200
    assert list(rows[0]) == ["row", "plan", "label", "score", "probability_no", "probability_yes"]
    sums = [row["probability_no"] + row["probability_yes"] for row in rows]
    assert sums == pytest.approx([1.0] * 200, abs=1e-12)


def test_many_files_of_all_formats_are_one_table(site: Site) -> None:
    rows = table(90)
    for at, name in enumerate(["a.parquet", "b.csv", "c.jsonl"]):
        site.write(name, rows.slice(at * 30, 30))
    with zipfile.ZipFile(site.input / "d.zip", "w") as archive:
        archive.write(site.input / "b.csv", "b.csv")

    record = site.score(rowsPerShard=50)

    assert [shard.rows_read for shard in record.shards] == [50, 50, 20]
    scored = site.scored()
    assert np.abs(scored["probability_yes"].to_numpy()[:90] - expected(site, rows)).max() <= 1e-12
    assert (
        pc.equal(scored["probability_yes"][30:60], scored["probability_yes"][90:]).to_pylist()
        == [True] * 30
    )


def zipped(site: Site) -> None:
    """Write rows in an archive, beside what macOS adds and a document that is cut off."""
    rows = site.write("rows.csv", table(30))
    with zipfile.ZipFile(site.input / "rows.zip", "w") as archive:
        archive.writestr("__MACOSX/._d.csv", b"\0\5\x16\7")
        archive.writestr("a.json", '[{"age": 1')
        archive.write(rows, "d.csv")
        archive.writestr("e.json", '[{"age": 1')
    rows.unlink()


def workbook(site: Site) -> None:
    """Write rows in a workbook whose first and last sheets are empty."""
    book = openpyxl.Workbook()
    sheet = book.create_sheet("rows")
    for line in site.write("rows.csv", table(30)).read_text().splitlines():
        sheet.append([cell.strip('"') for cell in line.split(",")])
    book.create_sheet("notes")
    (site.input / "rows.csv").unlink()
    book.save(site.input / "rows.xlsx")


@pytest.mark.parametrize("rows_per_shard", [7, 30], ids=["rows in the last shard", "none in it"])
@pytest.mark.parametrize("kind", ["Parquet", "JSONL", "CSV"])
@pytest.mark.parametrize(
    ("write", "reasons"),
    [
        pytest.param(zipped, {"BrokenJson": 2}, id="members of an archive"),
        pytest.param(workbook, {}, id="sheets of a workbook"),
    ],
)
def test_what_holds_no_table_is_passed_over_and_told_where_it_is_broken(
    site: Site, write: Any, reasons: dict[str, int], kind: str, rows_per_shard: int
) -> None:
    write(site)

    output = {"format": kind, "include": ["id"]}
    record = site.score(rowsPerShard=rows_per_shard, output=output)

    apart = sum(reasons.values())
    assert record.result.reasons == reasons
    assert (record.result.rows_read, record.result.rows_written) == (30 + apart, 30)
    assert {row["file"] for row in site.rejected()} == (
        {"rows.zip/a.json", "rows.zip/e.json"} if apart else set()
    )


@pytest.mark.parametrize(
    ("members", "reason", "says"),
    [
        pytest.param({"a.json": b"[{"}, "BrokenJson", "in.zip/a.json: the JSON is broken",
                     id="a broken document"),
        pytest.param({"__MACOSX/a.csv": b"x"}, "EmptySource", "no rows to read", id="a hidden one"),
    ],
)  # fmt: skip
def test_an_archive_of_which_nothing_can_be_read_is_named_and_not_done(
    site: Site, members: dict[str, bytes], reason: str, says: str
) -> None:
    with zipfile.ZipFile(site.input / "in.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)

    for _ in range(2):
        with pytest.raises(RunFailure, match=says) as failed:
            site.score()
        assert failed.value.reason == reason


def test_lines_none_of_which_is_a_row_are_set_apart_and_no_others(site: Site) -> None:
    (site.input / "a.jsonl").write_text("oops\n{\n")
    site.write("b.jsonl", table(30))

    record = site.score(output={"include": ["id"]})

    assert (record.result.rows_read, record.result.reasons) == (32, {"BrokenJson": 2})
    assert site.scored()["row"].to_pylist() == list(range(30))


@pytest.mark.parametrize(
    ("encoding", "piece"),
    [
        pytest.param("cp1252", 1 << 23, id="one piece of an older encoding"),
        pytest.param("cp1252", 1 << 16, id="many pieces of an older encoding"),
        pytest.param("cp1251", 1 << 16, id="another alphabet"),
        pytest.param("utf-8", 1 << 16, id="UTF-8"),
        pytest.param("utf-16", 1 << 16, id="UTF-16"),
        pytest.param("utf-16-le", 1 << 16, id="UTF-16 without a mark"),
        pytest.param("utf-16-be", 1 << 16, id="UTF-16 without a mark, high bytes first"),
    ],
)
def test_letters_far_down_in_a_large_file_are_read(
    site: Site, monkeypatch: Any, encoding: str, piece: int
) -> None:
    city = "Москва и Петров" if encoding == "cp1251" else "Zoë Müller"
    path = large_file(site, city, encoding)
    monkeypatch.setattr("modelyard_runtimes.batch.text.PIECE", piece)

    record = site.score(path, output={"include": ["city"]})

    cities = site.scored()["city"].to_pylist()
    assert record.result.rows_rejected == 0
    assert (cities[0], cities[-100:]) == ("Rome", [city] * 100)


def test_a_broken_letter_far_down_in_a_large_file_is_set_apart(site: Site) -> None:
    path = large_file(site, "Zoë Müller", "utf-8")
    with path.open("ab") as stream:
        stream.write(b"30,a,Zo\xeb\n")

    record = site.score(path, output={"include": ["city"]})

    assert record.result.reasons == {"BadEncoding": 1}
    assert site.scored()["city"].to_pylist()[-1] == "Zoë Müller"


def large_file(site: Site, city: str, encoding: str) -> Path:
    """Write more than a MiB of plain letters, then a hundred rows of a city."""
    lines = ["age,plan,city", *["30,a,Rome"] * 120_000, *[f"30,a,{city}"] * 100, ""]
    path = site.input / "rows.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("change", "reason", "names"),
    [
        pytest.param({"drop": "age"}, "MissingColumn", "age", id="a required column is missing"),
        pytest.param(
            {"include": ["nothing"]},
            "MissingColumn",
            "include[0]",
            id="an included column is missing",
        ),
        pytest.param(
            {"include": ["email"]}, "PersonalData", "email", id="an included column is hashed"
        ),
        pytest.param(
            {"include": ["id", "phone"]},
            "PersonalData",
            "include[1]",
            id="an included column is personal",
        ),
        pytest.param(
            {"include": ["row"]}, "ColumnTaken", "row", id="an included column is a prediction's"
        ),
        pytest.param({"bytes": b"PAR1"}, "BrokenParquet", "rows.parquet", id="the file is damaged"),
        pytest.param({"bytes": b""}, "EmptySource", "add rows", id="the file is empty"),
    ],
)
def test_what_cannot_be_scored_is_named(
    site: Site, change: dict[str, Any], reason: str, names: str
) -> None:
    rows = table(5)
    rows = rows.drop_columns([change["drop"]]) if "drop" in change else rows
    path = site.write("rows.parquet", rows)
    if "bytes" in change:
        path.write_bytes(change["bytes"])

    with pytest.raises(RunFailure) as failed:
        site.score(output={"include": change.get("include", [])})

    assert failed.value.reason == reason
    assert names in failed.value.message


def test_without_a_compiler_the_answers_are_the_same_and_the_record_says_so(
    site: Site, monkeypatch: Any
) -> None:
    rows = table(100)
    site.write("rows.parquet", rows)

    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    for compiled in (kernel.kernel, kernel._engine):
        compiled.cache_clear()
    record = site.score()

    assert record.evaluation == {"members/0.txt": "LightGBM: llvmlite is not installed"}
    assert np.abs(site.scored()["probability_yes"].to_numpy() - expected(site, rows)).max() <= 1e-12


def test_a_snapshot_is_scored_as_it_is(site: Site) -> None:
    rows = table(300)
    path = site.write("snapshot.parquet", rows)
    artifact = site.store.put_artifact("modelyard/dataset.v1", {"snapshot.parquet": path})
    snapshot = {"snapshot_uri": artifact.uri, "snapshot_digest": artifact.digest}
    given = {"datasetRef": {"name": "customers"}}
    config = site.config(input=given, output={"include": ["email"]}).model_copy(update=snapshot)

    record = score(config, site.store)

    assert record.result.rows_written == 300
    assert np.abs(site.scored()["probability_yes"].to_numpy() - expected(site, rows)).max() <= 1e-12
    assert site.scored()["email"].to_pylist() == rows["email"].to_pylist()


def test_a_bundled_data_set_is_read(site: Site) -> None:
    with pytest.raises(RunFailure, match="iris has no column age"):
        site.score(input={"source": {"builtin": "iris"}})


def test_texts_become_moments_as_the_server_reads_them(site: Site) -> None:
    rows = table(4)
    texts = ["2020-02-03", "2020-02-03T04:05:06+02:00", "", "03.02.2020"]
    site.write("rows.parquet", rows.set_column(4, "joined", pa.array(texts)))

    assert site.score().result.reasons == {"TypeMismatch": 1}
    columns = {name: rows[name].to_pylist()[:3] for name in site.model.schema.names}
    columns["joined"] = [texts[0], texts[1], None]
    answers = site.model.predict(columns)[:, 1]
    assert site.scored()["probability_yes"].to_pylist() == pytest.approx(answers, abs=1e-12)


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        pytest.param([1, 2], "list", id="a list"),
        pytest.param({"street": "a"}, "struct", id="a struct"),
    ],
)
def test_an_included_column_that_csv_cannot_hold_is_named(
    site: Site, cell: Any, shape: str
) -> None:
    site.write("rows.parquet", table(5).append_column("kept", pa.array([cell] * 5)))
    site.score(output={"format": "JSONL", "include": ["kept"]})
    site.forget()

    told = rf"output\.include\[1\]: kept is a {shape}; CSV cannot hold it; use Parquet or JSONL"
    with pytest.raises(RunFailure, match=told):
        site.score(output={"format": "CSV", "include": ["id", "kept"]})


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        pytest.param("file:///proc/x", "No such file or directory", id="no folder can be made"),
        pytest.param("file://{file}", "a file lies where", id="a file"),
        pytest.param("file://{file}/below", "a file lies where", id="below a file"),
    ],
)
def test_a_place_that_takes_no_output_is_named_and_not_tried_again(
    site: Site, uri: str, says: str
) -> None:
    file = site.write("rows.parquet", table(5))
    declared = uri.format(file=file)
    folder = f"{declared}/b-{'a' * 10}"
    config = site.config(output={"uri": declared}).model_copy(
        update={"output_uri": folder, "output_store": StoreConfig(uri=folder)}
    )

    with pytest.raises(RunFailure) as failed:
        score(config, site.store)

    assert (failed.value.reason, failed.value.retryable) == ("UnwritableOutput", False)
    assert failed.value.message.startswith(f"spec.batch.output.uri ({declared}): not writable: ")
    assert says in failed.value.message


@pytest.mark.parametrize(
    ("error", "again"),
    [
        pytest.param(PermissionError(errno.EACCES, "denied"), False, id="no permission"),
        pytest.param(OSError(errno.EROFS, "read-only"), False, id="read-only"),
        pytest.param(OSError(errno.ENOSPC, "full"), True, id="a full disk"),
    ],
)
def test_only_what_may_go_away_is_tried_again(
    site: Site, monkeypatch: Any, error: OSError, again: bool
) -> None:
    site.write("rows.parquet", table(5))
    write = FileStore.write_record

    def refusing(self: FileStore, key: str, data: bytes) -> None:
        if key.startswith("part-"):
            raise error
        write(self, key, data)

    monkeypatch.setattr(FileStore, "write_record", refusing)
    with pytest.raises(RunFailure, match=r"spec\.batch\.output\.uri") as failed:
        site.score(output={"uri": site.output.as_uri()})

    assert failed.value.retryable is again
