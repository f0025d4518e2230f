"""Trees of other libraries are written so that they part numbers as these do."""

from __future__ import annotations

import numpy as np
import pytest
from modelyard_runtimes.train.learners.model_text import (
    LARGEST,
    in_single_precision,
    of_single_precision,
)

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
THRESHOLDS = {
    "a float32": 0.5,
    "a float32 of odd last bit": float(np.nextafter(np.float32(0.5), np.float32(1))),
    "between two float32": 0.1,
    "below zero": -0.1,
    "zero": 0.0,
    "the smallest": SMALLEST,
    "next to zero from below": -SMALLEST,
    "an integer that float32 does not have": 16_777_217.0,
    "a large integer": 123_456_789.0,
    "next to the largest": float(np.nextafter(np.float32(LARGEST), np.float32(0))),
    "the least": -LARGEST,
}


@pytest.mark.parametrize("threshold", THRESHOLDS.values(), ids=list(THRESHOLDS))
def test_a_threshold_parts_numbers_as_it_parts_them_in_single_precision(threshold: float) -> None:
    found = of_single_precision(np.array([threshold]))
    near = np.array([threshold, *found], dtype=np.float64)
    steps = [near]
    with np.errstate(over="ignore"):
        for direction in (-np.inf, np.inf):
            float32 = near.astype(np.float32)
            for _ in range(3):
                float32 = np.nextafter(float32, np.float32(direction))
                exact = float32.astype(np.float64)
                steps += [exact, (exact + near) / 2, np.nextafter(near, direction)]
        middles = [left / 2 + right / 2 for left in steps for right in steps]
        numbers = np.concatenate([*steps, *middles])
        numbers = numbers[np.isfinite(numbers)]
        rounded = in_single_precision(numbers).astype(np.float64)

    assert ((numbers <= found) == (rounded <= threshold)).all()
    assert 0 < (numbers <= found).sum() < len(numbers)


@pytest.mark.parametrize("threshold", [LARGEST, np.inf], ids=["the largest", "beyond"])
def test_no_number_is_beyond_the_largest(threshold: float) -> None:
    numbers = np.array([-1.7e308, 0.0, LARGEST, 1e40, 1.7e308])
    assert (in_single_precision(numbers) <= threshold).all()
    assert (numbers <= of_single_precision(np.array([threshold]))).all()


def test_a_million_numbers_go_the_same_way() -> None:
    random = np.random.default_rng(3)
    thresholds = random.normal(size=1_000) * 10.0 ** random.integers(-30, 30, 1_000)
    near = thresholds.astype(np.float32).view(np.int32)[:, None] + random.integers(
        -2, 3, (1, 1_000)
    )
    low = near.astype(np.int32).view(np.float32).astype(np.float64)
    high = (near + 1).astype(np.int32).view(np.float32).astype(np.float64)
    numbers = low + (high - low) * random.choice([0.0, 0.25, 0.5, 0.75], low.shape)

    found = of_single_precision(thresholds)[:, None]

    assert ((numbers <= found) == (numbers.astype(np.float32) <= thresholds[:, None])).all()
