from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from elv_pipeline.learning.tuning import (
    DEFAULT,
    NAMED,
    Candidate,
    Judgement,
    Stretch,
    candidates,
    log_losses,
    paired_improvement,
    search,
    unsearched,
)

GOOD, BAD = Candidate("good", {"lambda_l2": 1.0}), Candidate("bad", {"lambda_l2": 2.0})


def stretch(gains: dict[str, float], *, noise: float = 0.0, rows: int = 400, seed: int = 0) -> Stretch:
    """A stretch of 20 days where each candidate's losses lie ``gains`` below the default's, give or take noise."""
    base = np.random.default_rng(seed).exponential(0.3, rows)

    def judge(candidate: Candidate) -> Judgement:
        spread = np.random.default_rng(len(candidate.name)).normal(0, noise, rows) if noise else np.zeros(rows)
        shift = 0.0 if candidate == DEFAULT else gains[candidate.name]
        return Judgement(100, 130, base - shift + spread * (candidate != DEFAULT))

    return Stretch(judge, np.repeat(np.arange(20), rows // 20), np.ones(rows))


def test_a_candidate_that_is_ahead_twice_is_chosen_and_the_trace_says_why() -> None:
    gains = {"good": 0.02, "bad": -0.01}
    found = search([BAD, GOOD], latest=stretch(gains, noise=0.01), earlier=stretch(gains, noise=0.01, seed=1))
    assert found.candidate == GOOD
    assert found.trees == 100
    trace = json.loads(json.dumps(found.trace, allow_nan=False))
    assert trace["chosen"] == "good"
    assert (trace["fits"], trace["trees_grown"]) == (5, 650)
    assert [line["name"] for line in trace["candidates"]] == ["default", "bad", "good"]
    assert trace["candidates"][0]["improvement"] == 0
    assert trace["confirmation"]["improvement"] == pytest.approx(0.02, abs=0.005)
    assert "and on earlier ones" in trace["why"]


def test_an_improvement_within_one_standard_error_changes_nothing() -> None:
    found = search([GOOD], latest=stretch({"good": 0.001}, noise=0.2), earlier=None)
    assert found.candidate == DEFAULT
    assert "not ahead by more than one standard error" in found.trace["why"]
    assert found.trace["fits"] == 2


def test_luck_on_the_latest_rows_that_earlier_rows_do_not_confirm_changes_nothing() -> None:
    found = search([GOOD], latest=stretch({"good": 0.02}, noise=0.01), earlier=stretch({"good": -0.02}, noise=0.01))
    assert found.candidate == DEFAULT
    assert "not on earlier ones" in found.trace["why"]


def test_without_earlier_rows_the_trace_says_that_nothing_confirmed() -> None:
    found = search([GOOD], latest=stretch({"good": 0.02}, noise=0.01), earlier=None)
    assert found.candidate == GOOD
    assert "no earlier rows" in found.trace["why"]


def test_no_candidates_leave_the_default() -> None:
    assert search([], latest=stretch({}), earlier=None).candidate == DEFAULT
    assert unsearched("because", trees=60).trace["why"] == "because"


def test_candidates_of_equal_noise_are_seldom_taken_for_better() -> None:
    """Eight settings that are all as good as the default: the confirmation at least halves false alarms."""

    def pure_noise(seed: int) -> Stretch:
        generator = np.random.default_rng(seed)
        return Stretch(
            lambda candidate: Judgement(1, 1, generator.normal(0.3, 0.1, 200)),
            np.repeat(np.arange(20), 10),
            np.ones(200),
        )

    options = candidates(8, seed=0)
    once = sum(search(options, latest=pure_noise(i), earlier=None).candidate != DEFAULT for i in range(100))
    twice = sum(
        search(options, latest=pure_noise(i), earlier=pure_noise(500 + i)).candidate != DEFAULT for i in range(100)
    )
    assert twice < 0.65 * once


def test_rows_of_one_day_are_one_observation() -> None:
    daily = np.random.default_rng(0).normal(0, 0.1, 30)
    losses = np.repeat(daily, 50)
    zeros, ones = np.zeros(1_500), np.ones(1_500)
    _, clustered = paired_improvement(losses, zeros, weight=ones, day=np.repeat(np.arange(30), 50))
    _, alone = paired_improvement(losses, zeros, weight=ones, day=np.arange(1_500))
    assert clustered == pytest.approx(daily.std(ddof=1) / np.sqrt(30))
    assert clustered > 5 * alone


def test_the_weighted_error_is_that_of_repeated_rows() -> None:
    generator = np.random.default_rng(1)
    difference, day = generator.normal(size=60), np.repeat(np.arange(12), 5)
    weight = generator.integers(1, 4, 60)
    repeated: npt.NDArray[np.int64] = np.repeat(np.arange(60), weight)
    weighted = paired_improvement(-difference, np.zeros(60), weight=weight.astype(float), day=day)
    rows = paired_improvement(
        -difference[repeated], np.zeros(len(repeated)), weight=np.ones(len(repeated)), day=day[repeated]
    )
    assert weighted == pytest.approx(rows)


def test_further_candidates_are_seeded_draws_without_repetition() -> None:
    assert candidates(3, seed=1) == NAMED[:3]
    many = candidates(20, seed=1)
    assert many == candidates(20, seed=1)
    assert many != candidates(20, seed=2)
    assert len({json.dumps(dict(candidate.changes), sort_keys=True) for candidate in many}) == 20


def test_the_log_loss_of_a_wrong_certainty_is_finite() -> None:
    losses = log_losses(np.array([0.0, 1.0, 0.25]), np.array([1, 1, 0], dtype=np.int8))
    assert losses == pytest.approx([-np.log(1e-15), 0.0, -np.log(0.75)])
