"""A batch that is killed goes on after its last whole file: no row is lost, none comes twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from modelyard_runtimes.entry import RunFailure
from modelyard_runtimes.store.files import FileStore

from tests.batch.conftest import Site, table

WRITES = 2 + 4 + 3 + 3 + 1
"""What is read and that nothing is done; two notes a file and the file, one with rejected rows; the
manifest."""


class Killed(BaseException):
    """Stands for the end of the process: nothing of it is caught."""


def die_at_write(monkeypatch: Any, moment: int) -> None:
    """Let the process end before (even moments) or after (odd ones) one of its writes."""
    count = iter(range(1_000_000))
    write = FileStore.write_record

    def dying(self: FileStore, key: str, data: bytes) -> None:
        at = next(count)
        if at == moment / 2:
            raise Killed
        write(self, key, data)
        if at == moment // 2:
            raise Killed

    monkeypatch.setattr(FileStore, "write_record", dying)


def contents(site: Site) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in site.output.iterdir() if path.is_file()}


def digests(site: Site) -> dict[str, str]:
    """Return what tells the contents of two runs apart, where both are too large to keep."""
    return {name: sha256(data).hexdigest() for name, data in contents(site).items()}


def test_dying_at_any_write_and_going_on_leaves_the_bytes_of_an_undisturbed_run(
    site: Site, monkeypatch: Any
) -> None:
    header, *lines = site.write("rows.csv", table(40)).read_text().splitlines()
    lines[12] = "no row"
    lines.append("no row either")
    (site.input / "rows.csv").write_text("\n".join([header, *lines, ""]))
    site.score(rowsPerShard=13)
    undisturbed = contents(site)
    assert len([name for name in undisturbed if name.startswith("part-")]) == 3

    for moment in range(2 * WRITES):
        site.forget()
        with monkeypatch.context() as dying:
            die_at_write(dying, moment)
            with pytest.raises(Killed):
                site.score(rowsPerShard=13)
        site.score(rowsPerShard=13)
        assert contents(site) == undisturbed, moment


def test_going_on_before_files_that_hold_no_table_leaves_the_same_bytes(site: Site) -> None:
    site.write("a.csv", table(30))
    (site.input / "b.json").write_text("[{")
    site.score(rowsPerShard=30, output={"include": ["id"]})
    undisturbed = contents(site)
    (site.output / "part-00001.parquet").unlink()

    record = site.score(rowsPerShard=30, output={"include": ["id"]})

    assert contents(site) == undisturbed
    assert [(shard.rows_read, shard.rows_written) for shard in record.shards] == [(30, 30), (1, 0)]


def score_until_killed(site: Site, monkeypatch: Any) -> None:
    """Score a hundred rows, thirty a file, until the second file is there and not noted."""
    site.write("rows.parquet", table(100))
    with monkeypatch.context() as dying:
        die_at_write(dying, 2 * (2 + 3 + 1))
        with pytest.raises(Killed):
            site.score(rowsPerShard=30)


def test_whole_files_are_not_scored_again(site: Site, monkeypatch: Any) -> None:
    score_until_killed(site, monkeypatch)
    before = {path.name: path.stat().st_mtime_ns for path in site.shards()}
    assert len(before) == 2  # of the second, nothing is noted

    site.score(rowsPerShard=30)

    after = {path.name: path.stat().st_mtime_ns for path in site.shards()}
    assert len(after) == 4
    assert after["part-00000.parquet"] == before["part-00000.parquet"]
    assert after["part-00001.parquet"] != before["part-00001.parquet"]


def test_a_file_that_was_removed_is_written_again(site: Site, monkeypatch: Any) -> None:
    score_until_killed(site, monkeypatch)
    site.shards()[0].unlink()

    site.score(rowsPerShard=30)

    assert site.scored()["row"].to_pylist() == list(range(100))


def test_other_rows_are_not_mixed_with_those_of_whole_files(site: Site, monkeypatch: Any) -> None:
    path = site.write("rows.parquet", table(100))
    with monkeypatch.context() as dying:
        die_at_write(dying, 2 * (2 + 3 + 1))
        with pytest.raises(Killed):
            site.score(rowsPerShard=30)
    site.write("rows.parquet", table(101))
    assert path.exists()

    with pytest.raises(RunFailure) as failed:
        site.score(rowsPerShard=30)

    assert failed.value.reason == "InputChanged"
    assert "spec.run.token" in failed.value.message


def kill_once(site: Site, config: Any, rows: int, moments: random.Random) -> tuple[int, int]:
    """Kill the process at a random point of its work, and let another one finish.

    Returns:
        The most bytes of memory that each of the two held.
    """
    wanted = moments.uniform(0.05, 0.9) * rows
    process = site.start(config)
    most = 0
    while process.poll() is None:
        most = max(most, held(process))
        try:
            if site.run_file("progress.json")["done"] >= wanted:
                break
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    time.sleep(moments.uniform(0, 0.05))
    most = max(most, held(process))
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = site.run_file("progress.json")["done"]
    assert done < rows, "it ended before it was killed"
    return most, most_memory(site.start(config))


def test_a_killed_process_is_followed_by_one_that_finishes(site: Site) -> None:
    rows = table(60_000)
    site.write("rows.parquet", rows)
    config = site.config(rowsPerShard=2_000)

    kill_once(site, config, 60_000, random.Random(3))

    assert site.scored()["row"].to_pylist() == list(range(60_000))
    assert site.record().result.rows_written == 60_000
    assert site.start(config).wait() == 0  # nothing runs twice


@pytest.mark.soak
def test_five_million_rows_survive_a_kill_in_little_memory(site: Site) -> None:
    rows = 5_000_000
    write_large(site.input / "rows.parquet", rows, 20)
    config = site.config(rowsPerShard=200_000)

    start = time.perf_counter()
    memory = [most_memory(site.start(config))]
    speed = rows / (time.perf_counter() - start)
    print(f"{speed:,.0f} rows a second with the start of the process")
    assert speed >= 10_000
    found = np.concatenate(
        [pq.read_table(path, columns=["row"])["row"].to_numpy() for path in site.shards()]
    )
    assert (found == np.arange(rows)).all()
    undisturbed = digests(site)

    site.forget()
    memory += kill_once(site, config, rows, random.Random(5))

    assert site.record().result.rows_written == rows
    assert digests(site) == undisturbed
    shown = ", ".join(f"{most >> 20} MiB" for most in memory)
    print(f"at most {shown}: undisturbed, killed, resumed")
    assert min(memory) > 0
    assert max(memory) < 2 * 1024**3


def most_memory(process: subprocess.Popen[bytes]) -> int:
    """Return the most bytes of memory that a process held, once it has ended well."""
    most = 0
    while process.poll() is None:
        most = max(most, held(process))
        time.sleep(0.05)
    assert process.returncode == 0
    return most


def held(process: subprocess.Popen[bytes]) -> int:
    """Return the most bytes of memory that a process has held until now, 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def write_large(path: Path, rows: int, columns: int) -> None:
    """Write a table that the model can score, with more columns than it knows."""
    part = table(200_000)
    extra = np.random.default_rng(2).normal(size=(len(part), columns - part.num_columns))
    for at in range(extra.shape[1]):
        part = part.append_column(f"x{at}", pa.array(extra[:, at]))
    with pq.ParquetWriter(path, part.schema) as writer:
        for _ in range(rows // len(part)):
            writer.write_table(part)
