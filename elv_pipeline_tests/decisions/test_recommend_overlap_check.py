"""Where groups have nothing in common no effect is given, and where they have, weighting makes them alike."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.recommend.effects import estimate_effect
from elv_pipeline.decisions.recommend.nuisances import Covariates
from elv_pipeline.decisions.recommend.overlap_check import (
    check_overlap,
    draw_contradicted_by,
    effective_contacts,
    inside,
    optimal_cutoff,
)
from elv_pipeline_tests.decisions.recommend_data import TEMPLATES, outreach


def covariates(values: np.ndarray) -> Covariates:
    return Covariates(names=("engagement",), linear=values[:, None], trees=values[:, None], coded=())


def test_where_a_kind_of_contact_decides_no_effect_is_given() -> None:
    rows = outreach(1, contacts=800).with_columns(
        template_id=pl.when(pl.col("engagement") > 0).then(pl.lit("weak")).otherwise(pl.lit("usual"))
    )
    effect = estimate_effect(rows, TEMPLATES, element="weak")
    assert effect.estimate is None
    assert effect.overlap is not None
    assert effect.overlap.verdict == "missing"
    assert effect.overlap.share_outside > 0.5
    assert "almost always, or almost never" in effect.refusal


def test_a_few_rows_without_counterpart_are_left_out_and_counted() -> None:
    rows = outreach(2, contacts=1500)
    certain = pl.col("engagement") > 0.7
    rows = rows.with_columns(template_id=pl.when(certain).then(pl.lit("weak")).otherwise("template_id"))
    effect = estimate_effect(rows, TEMPLATES, element="weak")
    assert effect.overlap is not None
    assert effect.overlap.verdict == "trimmed"
    assert 0.08 < effect.overlap.share_outside < 0.3
    assert effect.estimate is not None
    assert sum(effect.estimate.rows) < 1500 * 0.92
    assert "no counterpart" in effect.overlap.sentence


def test_weighting_makes_the_groups_alike() -> None:
    effect = estimate_effect(outreach(3, contacts=3000), TEMPLATES, element="weak")
    assert effect.overlap is not None
    assert effect.overlap.worst_before > 0.5
    assert effect.overlap.worst_after < 0.1
    assert {line.covariate for line in effect.overlap.balance} >= {"engagement", "source = webinar"}


def test_the_cutoff_solves_its_equation() -> None:
    propensity = np.concatenate([np.full(900, 0.4), np.linspace(0.005, 0.2, 100)])
    alpha = optimal_cutoff(propensity)
    cost = 1 / (propensity * (1 - propensity))
    bound = 1 / (alpha * (1 - alpha))
    assert 0 < alpha < 0.2
    assert bound == pytest.approx(2 * cost[cost <= bound].mean())


def test_a_rare_element_is_no_reason_to_leave_rows_out() -> None:
    propensity = np.full(1000, 0.03)
    assert optimal_cutoff(propensity) == 0
    kept, _ = inside(propensity, np.arange(1000) < 30)
    assert kept.all()


def test_separated_groups_are_outside_even_where_all_are_alike_in_cost() -> None:
    treated = np.arange(1000) < 500
    kept, _ = inside(np.where(treated, 0.999, 0.001), treated)
    assert not kept.any()


def test_effective_contacts_count_contacts_not_rows() -> None:
    assert effective_contacts(np.ones(60), np.repeat(np.arange(20), 3)) == pytest.approx(20)
    assert effective_contacts(np.array([1.0, 1.0, 8.0]), np.arange(3)) == pytest.approx(100 / 66)


def test_a_handful_of_heavy_rows_is_not_enough() -> None:
    treated = np.arange(300) < 100
    propensity = np.where(np.arange(300) < 3, 0.03, 0.96)
    overlap, _ = check_overlap(propensity, treated, contacts=np.arange(300), covariates=covariates(np.zeros(300)))
    assert overlap.verdict == "missing"
    assert "worth" in overlap.sentence


def test_groups_that_stay_apart_are_refused_by_name() -> None:
    """Propensities that know nothing of a covariate leave it as different as it was."""
    treated = np.arange(1000) < 500
    values = np.random.default_rng(0).normal(size=1000) + treated
    overlap, _ = check_overlap(np.full(1000, 0.5), treated, contacts=np.arange(1000), covariates=covariates(values))
    assert overlap.verdict == "missing"
    assert "engagement" in overlap.sentence


def test_small_groups_may_not_stay_far_apart_either() -> None:
    """Chance explains half a standard deviation between groups of 30; it cannot be adjusted for all the same."""
    rng = np.random.default_rng(4)
    treated = np.arange(60) < 30
    noise = rng.normal(size=60)
    for shift, verdict in ((0.0, "enough"), (0.35, "missing")):
        values = (noise - np.where(treated, noise[:30].mean(), noise[30:].mean())) + shift * treated
        overlap, _ = check_overlap(np.full(60, 0.5), treated, contacts=np.arange(60), covariates=covariates(values))
        assert overlap.balance[0].unexplained == 0
        assert overlap.verdict == verdict
    assert "more than 0.25 cannot be adjusted for" in overlap.sentence


def test_false_alarms_of_the_check_of_a_draw_are_rare() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        treated = rng.random(300) < 0.5
        shares = np.full(300, treated.mean())
        found = draw_contradicted_by(
            treated, shares, contacts=np.arange(300), covariates=covariates(rng.normal(size=300))
        )
        alarms += found is not None
    assert alarms <= 3


def test_a_draw_that_follows_a_covariate_is_found() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=600)
    treated = rng.random(600) < np.where(values > 0, 0.65, 0.35)
    shares = np.full(600, treated.mean())
    assert draw_contradicted_by(treated, shares, contacts=np.arange(600), covariates=covariates(values)) == "engagement"
