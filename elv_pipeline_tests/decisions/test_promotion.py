from __future__ import annotations

import json

import numpy as np
import pytest

from elv_pipeline.decisions.promotion import compare, without_comparison

OLD, NEW = "2025-03-03T00:00:00+00:00", "2025-03-10T00:00:00+00:00"


def outcomes(rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    p = generator.beta(1, 8, rows)
    return (generator.random(rows) < p).astype(np.int8), p


def test_the_first_model_is_promoted() -> None:
    verdict = without_comparison(candidate_origin=NEW, champion_origin=None, same_version=False, timezone="UTC")
    assert verdict is not None
    assert verdict.promoted
    assert verdict.rows == 0
    assert "first model" in verdict.reason


def test_the_champion_is_not_promoted_again() -> None:
    verdict = without_comparison(candidate_origin=NEW, champion_origin=NEW, same_version=True, timezone="UTC")
    assert verdict is not None
    assert not verdict.promoted
    assert "already is the champion" in verdict.reason


def test_a_backfilled_origin_does_not_replace_a_newer_champion() -> None:
    verdict = without_comparison(candidate_origin=OLD, champion_origin=NEW, same_version=False, timezone="UTC")
    assert verdict is not None
    assert not verdict.promoted
    assert "2025-03-03 is older than the champion's 2025-03-10" in verdict.reason


def test_origins_are_named_as_local_days() -> None:
    """Monday in Berlin begins on Sunday in UTC."""
    verdict = without_comparison(
        candidate_origin="2025-03-02T23:00:00+00:00",
        champion_origin="2025-03-09T23:00:00+00:00",
        same_version=False,
        timezone="Europe/Berlin",
    )
    assert verdict is not None
    assert "origin 2025-03-03 is older than the champion's 2025-03-10" in verdict.reason


def test_without_rows_that_the_champion_has_not_learned_from_it_stays() -> None:
    none = np.empty(0)
    verdict = compare(none.astype(np.int8), candidate=none, champion=none, clusters=None, seed=7)
    assert not verdict.promoted
    assert (verdict.rows, verdict.log_loss_difference) == (0, None)
    assert "the champion stays" in verdict.reason


def test_days_that_resemble_themselves_widen_the_interval() -> None:
    y, p = outcomes(100)
    y, p, days = np.repeat(y, 8), np.repeat(p, 8), np.repeat(np.arange(100), 8)
    rows, clustered = (compare(y, candidate=p, champion=p**2, clusters=by, seed=7) for by in (None, days))
    assert clustered.log_loss_difference == rows.log_loss_difference
    assert clustered.high - clustered.low > 2 * (rows.high - rows.low)  # type: ignore[operator]


@pytest.mark.parametrize("champion_origin", [OLD, NEW])
def test_anything_else_is_judged_on_rows(champion_origin: str) -> None:
    assert (
        without_comparison(candidate_origin=NEW, champion_origin=champion_origin, same_version=False, timezone="UTC")
        is None
    )


def test_origins_in_different_zones_are_compared_as_moments() -> None:
    same_moment = "2025-03-10T01:00:00+01:00"
    assert (
        without_comparison(candidate_origin=NEW, champion_origin=same_moment, same_version=False, timezone="UTC")
        is None
    )


def test_the_better_candidate_is_promoted_with_its_figures() -> None:
    y, p = outcomes()
    verdict = compare(y, candidate=p, champion=np.full(y.size, 0.5), clusters=None, seed=7)
    assert verdict.promoted
    assert verdict.rows == y.size
    assert verdict.log_loss_difference is not None
    assert verdict.high is not None
    assert verdict.high < 0
    assert f"on {y.size} later rows" in verdict.reason
    assert "lower than the champion's" in verdict.reason
    assert "the rule is: promote where it is not higher" in verdict.reason


def test_the_worse_candidate_is_not_promoted() -> None:
    y, p = outcomes()
    verdict = compare(y, candidate=np.full(y.size, 0.5), champion=p, clusters=None, seed=7)
    assert not verdict.promoted
    assert verdict.low is not None
    assert verdict.low > 0
    assert "higher than the champion's" in verdict.reason


def test_the_difference_is_that_of_the_mean_log_losses() -> None:
    y, p = outcomes(50)
    other = np.clip(p * 1.3, 0, 1)

    def loss(q: np.ndarray) -> float:
        return float(-np.mean(y * np.log(q) + (1 - y) * np.log(1 - q)))

    verdict = compare(y, candidate=other, champion=p, clusters=None, seed=7, samples=50)
    assert verdict.log_loss_difference == pytest.approx(loss(other) - loss(p))


def test_the_interval_is_paired() -> None:
    """Two nearly equal models on rows of very different difficulty: unpaired, the interval would be far wider."""
    y, p = outcomes()
    verdict = compare(y, candidate=p * 0.99, champion=p, clusters=None, seed=7)
    unpaired = 2 * 1.96 * np.std(-np.log(np.where(y > 0, p, 1 - p))) * np.sqrt(2 / y.size)
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= verdict.log_loss_difference <= verdict.high  # type: ignore[operator]
    assert verdict.high - verdict.low < unpaired / 20


def test_certain_mistakes_stay_finite_and_the_verdict_is_json() -> None:
    y = np.array([0, 1], dtype=np.int8)
    verdict = compare(y, candidate=1.0 - y, champion=np.array([0.5, 0.5]), clusters=None, seed=7)
    assert not verdict.promoted
    assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False))["rows"] == 2


def test_the_same_seed_gives_the_same_interval() -> None:
    y, p = outcomes(100)
    first, second = (compare(y, candidate=p, champion=p**2, clusters=None, seed=3) for _ in range(2))
    assert first == second
