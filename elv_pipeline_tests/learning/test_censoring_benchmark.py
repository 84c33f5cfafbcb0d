"""The promise of soft labels, kept on synthetic advertisers; and the arithmetic of the benchmark that shows it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.censoring import DEFAULT_SEEDS, METRICS, expected_metrics, gain, gap_closed, run

NO_COST = 0.03
"""Relative loss within which three seeds cannot tell a cost from chance."""


def runs_of(*values: tuple[float, float, float]) -> list[dict[str, dict[str, float]]]:
    return [
        {
            name: {"pr_auc": value, "log_loss": 1 - value}
            for name, value in zip(("drop", "soft", "oracle"), one, strict=True)
        }
        for one in values
    ]


def test_the_gap_closed_is_that_of_the_means_in_either_direction() -> None:
    runs = runs_of((0.2, 0.26, 0.3), (0.2, 0.3, 0.3), (0.2, 0.21, 0.22))
    share, error = gap_closed(runs, "pr_auc")
    assert share == pytest.approx(0.17 / 0.22)
    assert gap_closed(runs, "log_loss")[0] == pytest.approx(share)
    assert 0.05 < error < 0.3
    assert gain(runs, "pr_auc")[0] == pytest.approx(np.mean([0.3, 0.5, 0.05]))
    assert gain(runs, "log_loss")[0] > 0


def test_judging_by_the_truth_is_what_many_outcomes_come_to() -> None:
    generator = np.random.default_rng(0)
    true_p = generator.uniform(0.01, 0.4, 200)
    p = np.clip(true_p + generator.normal(0, 0.05, 200), 0.01, 0.9)
    outcomes = generator.random((2_000, 200)) < true_p
    loss = -np.where(outcomes, np.log(p), np.log1p(-p)).mean()
    expected = expected_metrics(true_p, p)
    assert expected["log_loss"] == pytest.approx(loss, rel=0.01)
    assert expected["pr_auc"] > expected_metrics(true_p, generator.permutation(p))["pr_auc"]


@pytest.mark.long
def test_a_new_campaign_costs_little_where_young_leads_count() -> None:
    runs = [run(seed, name="new_campaign") for seed in DEFAULT_SEEDS]
    assert gap_closed(runs, "pr_auc")[0] >= 0.8
    assert gap_closed(runs, "log_loss")[0] >= 0.8
    for metric in METRICS:
        mean, error = gain(runs, metric)
        assert mean > 2 * error


@pytest.mark.long
def test_where_nothing_changes_young_leads_cost_nothing() -> None:
    runs = [run(seed, name="nothing_changes") for seed in DEFAULT_SEEDS[:3]]
    for metric in METRICS:
        mean, _ = gain(runs, metric)
        # Three seeds bound a cost, they do not estimate it: of three differences the standard error is itself a guess.
        assert mean > -NO_COST
