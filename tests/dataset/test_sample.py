"""A sample is chosen by content and seed, and keeps the ratio of classes where asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelyard_runtimes.entry import RunFailure


@pytest.fixture
def thousand(csv: Callable[..., Path]) -> Path:
    return csv("n,label", *(f"{n},{'rare' if n % 10 == 0 else 'usual'}" for n in range(1000)))


def numbers(outcome: Any) -> set[int]:
    return set(outcome.table.column("n").to_pylist())


@pytest.mark.parametrize(
    "sample", [{"rows": 150}, {"rows": 150, "method": "Stratified", "by": "label"}]
)
def test_the_order_of_rows_does_not_change_the_sample(
    sample: dict[str, Any],
    thousand: Path,
    csv: Callable[..., Path],
    snapshot: Callable[..., Any],
) -> None:
    header, *rows = thousand.read_text().splitlines()
    turned = csv(header, *reversed(rows), name="turned.csv")

    first, second = snapshot(thousand, sample=sample), snapshot(turned, sample=sample)

    assert first.record.snapshot.rows == 150
    assert first.record.rows_read == 1000
    assert first.record.fingerprint == second.record.fingerprint


def test_another_seed_gives_another_sample(thousand: Path, snapshot: Callable[..., Any]) -> None:
    first = numbers(snapshot(thousand, sample={"rows": 100, "seed": 1}))
    second = numbers(snapshot(thousand, sample={"rows": 100, "seed": 2}))

    assert len(first - second) > 50


@pytest.mark.parametrize("rows", [10, 105, 333, 999])
def test_a_stratified_sample_keeps_the_ratio(
    rows: int, thousand: Path, snapshot: Callable[..., Any]
) -> None:
    sample = {"rows": rows, "method": "Stratified", "by": "label"}

    labels = snapshot(thousand, sample=sample).table.column("label").to_pylist()

    assert len(labels) == rows
    assert abs(labels.count("rare") - rows * 0.1) < 1


def test_a_sample_larger_than_the_data_keeps_all(
    thousand: Path, snapshot: Callable[..., Any]
) -> None:
    assert snapshot(thousand, sample={"rows": 5000}).record.snapshot.rows == 1000


def test_a_missing_column_of_a_stratified_sample_fails(
    thousand: Path, snapshot: Callable[..., Any]
) -> None:
    with pytest.raises(RunFailure, match=r"spec\.sample\.by"):
        snapshot(thousand, sample={"rows": 5, "method": "Stratified", "by": "z"})
