"""A table from Parquet to Parquet: ours against LightGBM's own reading, predicting and writing."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROWS, COLUMNS, TREES, THREADS = 1_000_000, 30, 200, 2
EVERY = 1000
"""Of so many answers one is compared."""
DATA = Path(__file__).parents[3] / ".cache" / "bench" / "batch"
NAMES = [f"f{column}" for column in range(COLUMNS)]


def prepare() -> tuple[Path, Path]:
    """Return model and table, the same for all sides, made by the first."""
    import lightgbm as lgb
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    model, table = DATA / "model.txt", DATA / f"rows-{ROWS}.parquet"
    random = np.random.default_rng(7)
    DATA.mkdir(parents=True, exist_ok=True)
    if not model.exists():
        rows = random.normal(size=(50_000, COLUMNS))
        target = np.sin(rows) @ random.normal(size=COLUMNS) + random.normal(size=len(rows)) > 0
        rows[random.random(rows.shape) < 0.02] = np.nan
        settings = {"objective": "binary", "seed": 7, "verbosity": -1, "num_threads": THREADS}
        booster = lgb.train(settings, lgb.Dataset(rows, target.astype(float)), TREES)
        booster.save_model(model)
    if not table.exists():
        rows = random.normal(size=(ROWS, COLUMNS))
        rows[random.random(rows.shape) < 0.02] = np.nan
        partial = table.with_suffix(".part")
        pq.write_table(pa.table(dict(zip(NAMES, rows.T, strict=True))), partial)
        partial.rename(table)
    return model, table


def ours(model: Path, table: Path, folder: Path) -> Path:
    """Run the batch runtime's work; return what it wrote."""
    from modelyard.api.runs import BatchConfig
    from modelyard.api.runtime import StoreConfig
    from modelyard_runtimes.batch.run import score
    from modelyard_runtimes.store import open_store

    config = StoreConfig(uri=(folder / "store").as_uri())
    store = open_store(config)
    files = {"model.json": json.dumps(document()).encode(), "members/0.txt": model.read_bytes()}
    artifact = store.put_artifact("modelyard/model.v1", files)
    output = folder / "output"
    record = score(
        BatchConfig.model_validate(
            {
                "namespace": "bench",
                "name": "batch",
                "identity": "0" * 64,
                "batch": {"input": {"source": {"path": str(table)}}},
                "model_uri": artifact.uri,
                "model_digest": artifact.digest,
                "model_version": "trees",
                "output_uri": output.as_uri(),
                "store": config,
            }
        ),
        store,
    )
    assert record.evaluation == {"members/0.txt": "compiled"}, record.evaluation
    assert record.result.rows_written == ROWS
    return output


def document() -> dict[str, Any]:
    """Return the description of the packed model."""
    numbers = {
        "fill": [None] * COLUMNS,
        "mean": [0] * COLUMNS,
        "scale": [1] * COLUMNS,
        "knots": [[]] * COLUMNS,
    }
    member = {"type": "Trees", "learner": "LightGBM", "trial": 0, "weight": 1.0, "encoder": 0}
    return {
        "format": "modelyard/model.v1",
        "task": "Classification",
        "target": "target",
        "classes": ["no", "yes"],
        "positiveLabel": "yes",
        "features": [{"name": name, "type": "Numeric", "required": True} for name in NAMES],
        "encoders": [{"numeric": numbers, "categorical": {"style": "Ordinal", "levels": []}}],
        "members": [member | {"file": "members/0.txt"}],
    }


def theirs(model: Path, table: Path, folder: Path) -> Path:
    """Read, predict and write with pyarrow and LightGBM."""
    import lightgbm as lgb
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(THREADS)
    booster = lgb.Booster(model_file=model)
    columns = pq.read_table(table).columns
    rows = np.column_stack([column.to_numpy() for column in columns])
    predicted = booster.predict(rows, num_threads=THREADS)
    output = folder / "output"
    output.mkdir()
    pq.write_table(pa.table({"probability_yes": predicted}), output / "part-00000.parquet")
    return output


def measured(side: str) -> dict[str, Any]:
    """Do the work of a side once, on as many processors as it may have threads."""
    import pyarrow.parquet as pq

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    model, table = prepare()
    table.read_bytes()  # from here on the file is in memory for both
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
    work = ours if side == "modelyard" else theirs
    with tempfile.TemporaryDirectory() as name:
        began, used = time.perf_counter(), time.process_time()
        output = work(model, table, Path(name))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        peak = peak_memory()
        files = sorted(output.glob("part-*"))
        answers = [
            answer
            for file in files
            for answer in pq.read_table(file, columns=["probability_yes"])[0].to_pylist()
        ]
    assert len(answers) == ROWS
    return {
        "seconds": seconds,
        "cpuSeconds": cpu,
        "peakMemory": peak,
        "answers": answers[::EVERY],
    }


def peak_memory() -> float:
    """Return the most MiB that this process had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(kibibytes) / 1024


def equal(ours: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Check that all predicted the same."""
    furthest = max(
        abs(one - other)
        for peer in peers.values()
        for one, other in zip(ours["answers"], peer["answers"], strict=True)
    )
    assert furthest <= 1e-12, furthest
    return f"Of {len(ours['answers']):,} probabilities the furthest apart differ by {furthest:.0e}."


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1])))
else:
    from frame import Goal, Row

    ROW = Row(
        title="A batch of a million rows",
        work=f"{ROWS:,} rows of {COLUMNS} numbers through {TREES} trees for two classes, from "
        f"Parquet to Parquet, on {THREADS} processors. The peer reads with pyarrow, predicts with "
        "LightGBM's Booster and writes its column with pyarrow. Ours is the whole batch: it checks "
        "and types each row, writes label, score and probabilities in durable shards, and compiles "
        "first. Both have imported LightGBM, NumPy and pyarrow before; the imports of Modelyard are "
        "counted. Memory includes what was imported.",
        peers={"lightgbm": ["lightgbm==4.7.0", "pyarrow==26.0.1"]},
        goals=[Goal("lightgbm", 4), Goal("lightgbm", 4, "cpuSeconds")],
        check=equal,
        figures={
            "seconds": "seconds",
            "cpuSeconds": "CPU seconds",
            "peakMemory": "peak memory, MiB",
        },
    )
