from __future__ import annotations

import numpy as np
import pytest

from elv_pipeline.decisions.champion_comparison import compare


def outcomes(rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    p = generator.beta(1, 8, rows)
    return (generator.random(rows) < p).astype(np.int8), p


def loss(y: np.ndarray, q: np.ndarray) -> float:
    return float(-np.mean(y * np.log(q) + (1 - y) * np.log(1 - q)))


def test_without_rows_that_the_champion_has_not_learned_from_nothing_is_known() -> None:
    none = np.empty(0)
    found = compare(none.astype(np.int8), candidate=none, champion=none, clusters=None, seed=7)
    assert (found.rows, found.difference, found.blocks) == (0, {}, True)
    assert "nothing can tell which is better" in found.obstacle


def test_days_that_resemble_themselves_widen_the_interval() -> None:
    y, p = outcomes(100)
    y, p, days = np.repeat(y, 8), np.repeat(p, 8), np.repeat(np.arange(100), 8)
    rows, clustered = (compare(y, candidate=p, champion=p**2, clusters=by, seed=7).difference for by in (None, days))
    assert clustered["value"] == rows["value"]
    assert clustered["high"] - clustered["low"] > 2 * (rows["high"] - rows["low"])  # type: ignore[operator]


def test_the_difference_is_that_of_the_mean_log_losses() -> None:
    y, p = outcomes(50)
    other = np.clip(p * 1.3, 0, 1)
    found = compare(y, candidate=other, champion=p, clusters=None, seed=7, samples=50)
    assert found.difference["value"] == pytest.approx(loss(y, other) - loss(y, p))
    assert found.log_loss == pytest.approx(loss(y, p))
    assert found.rows == 50


def test_the_interval_is_paired() -> None:
    """Two nearly equal models on rows of very different difficulty: unpaired, the interval would be far wider."""
    y, p = outcomes()
    found = compare(y, candidate=p * 0.99, champion=p, clusters=None, seed=7).difference
    unpaired = 2 * 1.96 * np.std(-np.log(np.where(y > 0, p, 1 - p))) * np.sqrt(2 / y.size)
    assert found["low"] <= found["value"] <= found["high"]  # type: ignore[operator]
    assert found["high"] - found["low"] < unpaired / 20  # type: ignore[operator]


def test_certain_mistakes_stay_finite() -> None:
    y = np.array([0, 1], dtype=np.int8)
    found = compare(y, candidate=1.0 - y, champion=np.array([0.5, 0.5]), clusters=None, seed=7)
    assert np.isfinite(found.difference["value"])  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_interval() -> None:
    y, p = outcomes(100)
    first, second = (compare(y, candidate=p, champion=p**2, clusters=None, seed=3) for _ in range(2))
    assert first == second
