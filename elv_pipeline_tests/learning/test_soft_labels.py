from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.stats import gamma

from elv_pipeline.learning.delay_distribution import MIN_CONVERSIONS
from elv_pipeline.learning.soft_labels import LABEL_COLUMNS, SoftLabelled, fold_of, known_at_origin, soft_labels
from elv_pipeline_tests.learning.censored_data import (
    NEW_RATE,
    ORIGIN,
    START,
    WINDOW_DAYS,
    fit_rates,
    learn_by_heart,
    make_leads,
    observation,
)

FUTURE = pl.col("outcome_recorded_time") >= ORIGIN


@pytest.fixture(scope="module")
def leads() -> pl.DataFrame:
    return make_leads()


@pytest.fixture(scope="module")
def labelled(leads: pl.DataFrame) -> SoftLabelled:
    return label(leads)


def label(leads: pl.DataFrame) -> SoftLabelled:
    return soft_labels(known_at_origin(leads, observation=observation()), window_days=WINDOW_DAYS, fit=fit_rates)


def expected_positive(labelled: SoftLabelled) -> npt.NDArray[np.float64]:
    """Weight of the label 1 of each lead."""
    positive = labelled.y == 1
    return np.bincount(
        labelled.rows[positive], weights=labelled.weight[positive], minlength=labelled.leads.height
    ).astype(np.float64)


def same(one: SoftLabelled, other: SoftLabelled) -> bool:
    return (
        one.leads.equals(other.leads)
        and np.array_equal(one.rows, other.rows)
        and np.array_equal(one.y, other.y)
        and one.weight.tobytes() == other.weight.tobytes()
        and (one.delay, one.trace) == (other.delay, other.trace)
    )


def test_what_open_leads_will_come_to_is_found(labelled: SoftLabelled) -> None:
    rows = labelled.leads.with_columns(positive=pl.Series(expected_positive(labelled)))
    opened = rows.filter(~pl.col("mature") & pl.col("outcome_delay_days").is_null())
    truth, found = opened["true_y"].sum(), opened["positive"].sum()
    assert abs(found - truth) < 3 * np.sqrt(truth)
    young = rows.filter(pl.col("campaign_id") == "campaign_4")
    known = young["outcome_delay_days"].is_not_null().mean()
    rate = young["positive"].mean()
    assert known < 0.7 * NEW_RATE  # the campaign is younger than the window: half of its outcomes are still to come
    assert rate == pytest.approx(young["true_y"].mean(), abs=0.05)  # type: ignore[arg-type]
    assert labelled.trace[-1].log_likelihood > labelled.trace[0].log_likelihood
    assert labelled.trace[-1].change < 0.01


def test_the_delay_is_found(labelled: SoftLabelled) -> None:
    days = np.arange(WINDOW_DAYS + 1)
    truth = gamma(1.3, scale=3.5).cdf(days) / gamma(1.3, scale=3.5).cdf(WINDOW_DAYS)
    assert labelled.delay is not None
    assert np.abs(np.array(labelled.delay.cdf) - truth).max() < 0.05


def test_every_lead_counts_once(labelled: SoftLabelled) -> None:
    total = np.bincount(labelled.rows, weights=labelled.weight, minlength=labelled.leads.height)
    assert total == pytest.approx(np.ones(labelled.leads.height), abs=1e-5)
    positive = expected_positive(labelled)
    mature = labelled.leads["mature"].to_numpy()
    converted = labelled.leads["outcome_delay_days"].is_not_null().to_numpy()
    assert positive[converted] == pytest.approx(np.ones(converted.sum()), abs=1e-5)
    # A young lead that has converted learns and does not judge: its negatives are not known yet.
    assert (labelled.weight[np.isin(labelled.rows, np.flatnonzero(~mature))] < 1).all()
    assert (labelled.weight[np.isin(labelled.rows, np.flatnonzero(mature))] == 1).all()
    assert (positive[mature & ~converted] == 0).all()
    opened = positive[~mature & ~converted]
    assert ((opened > 0) & (opened < 1)).all()
    assert labelled.table.height == len(labelled.y)
    assert labelled.table["created_time"].is_sorted()


def test_an_open_lead_counts_by_bayes(labelled: SoftLabelled) -> None:
    # The rates by campaign that the last round used are those of a cross-fit; a lead about to mature has nothing left.
    assert labelled.delay is not None
    rows = labelled.leads.with_columns(positive=pl.Series(expected_positive(labelled)))
    opened = rows.filter(~pl.col("mature") & pl.col("outcome_delay_days").is_null())
    seen = labelled.delay.at(opened["outcome_age_days"].to_numpy())
    p = opened["campaign_id"].replace_strict([f"campaign_{n}" for n in range(5)], [0.05, 0.1, 0.15, 0.2, NEW_RATE])
    bayes = p.to_numpy() * (1 - seen) / (1 - p.to_numpy() * seen)
    assert np.abs(opened["positive"].to_numpy() - bayes).mean() < 0.03
    assert opened.filter(pl.col("outcome_age_days") > 13)["positive"].max() < 0.05  # type: ignore[operator]


def test_outcomes_recorded_since_the_origin_and_later_leads_change_nothing(
    leads: pl.DataFrame, labelled: SoftLabelled
) -> None:
    assert leads.filter(FUTURE & (pl.col("created_time") < ORIGIN)).height > 30
    nothing = pl.lit(None, pl.Datetime("us", "UTC"))
    forgotten = leads.with_columns(
        pl.when(FUTURE).then(nothing).otherwise(name).alias(name) for name in ("outcome_time", "outcome_recorded_time")
    )
    everybody = leads.with_columns(
        outcome_time=pl.col("outcome_time").fill_null(ORIGIN),
        outcome_recorded_time=pl.col("outcome_recorded_time").fill_null(ORIGIN),
        outcome_withdrawn_time=ORIGIN + timedelta(days=1),
    )
    planted = label(everybody)
    assert same(label(forgotten), labelled)
    assert same(planted, labelled)
    assert same(label(leads.filter(pl.col("created_time") < ORIGIN)), labelled)


def test_an_outcome_backdated_into_the_past_is_known_only_when_recorded(leads: pl.DataFrame) -> None:
    late = leads.with_columns(outcome_recorded_time=pl.col("outcome_time") + timedelta(days=3))
    known = known_at_origin(late, observation=observation())
    prompt = known_at_origin(leads, observation=observation())
    assert known["outcome_delay_days"].drop_nulls().min() >= 3  # type: ignore[operator]
    assert known["outcome_delay_days"].count() < prompt["outcome_delay_days"].count()


def test_a_withdrawn_outcome_is_none(leads: pl.DataFrame) -> None:
    known = known_at_origin(
        leads.with_columns(outcome_withdrawn_time=ORIGIN - timedelta(days=1)), observation=observation()
    )
    assert known["outcome_delay_days"].null_count() == known.height


def test_the_order_of_the_rows_changes_no_bit(leads: pl.DataFrame, labelled: SoftLabelled) -> None:
    assert same(label(leads.sample(fraction=1, shuffle=True, seed=1)), labelled)


def test_leads_from_before_the_outcome_log_are_left_out(leads: pl.DataFrame) -> None:
    begin = START + timedelta(days=30)
    known = known_at_origin(leads, observation=observation(observed_from=begin))
    assert known["created_time"].min() >= begin  # type: ignore[operator]
    assert known.height == leads.filter(pl.col("created_time").is_between(begin, ORIGIN, closed="left")).height
    contradictory = leads.with_columns(outcome_observed=pl.col("campaign_id") != "campaign_0")
    assert "campaign_0" not in known_at_origin(contradictory, observation=observation())["campaign_id"]


def test_nothing_of_the_outcome_is_left_among_the_columns(leads: pl.DataFrame) -> None:
    known = known_at_origin(leads.with_columns(y=pl.lit(1), mature=pl.lit(True)), observation=observation())
    assert not {*LABEL_COLUMNS, "y", "label_status"} & set(known.columns)
    assert known.filter("mature")["created_time"].max() < ORIGIN - timedelta(days=WINDOW_DAYS)  # type: ignore[operator]


def test_labels_written_early_make_leads_young(leads: pl.DataFrame) -> None:
    written = ORIGIN - timedelta(days=20)
    stale = leads.with_columns(labels_observed_until=pl.lit(written).cast(pl.Datetime("us", "UTC")))
    known = known_at_origin(stale.filter(pl.col("created_time") < written), observation=observation())
    young = known.filter(~pl.col("mature"))
    assert young["created_time"].min() > written - timedelta(days=WINDOW_DAYS)  # type: ignore[operator]
    assert young["outcome_age_days"].max() <= WINDOW_DAYS  # type: ignore[operator]
    assert known["outcome_age_days"].min() < 1  # type: ignore[operator]


def test_expectations_do_not_feed_on_themselves(leads: pl.DataFrame) -> None:
    # A model that knows every training row by heart would confirm its own expectation of an open lead for ever.
    known = known_at_origin(leads.filter(pl.col("campaign_id") != "campaign_4"), observation=observation())
    labelled = soft_labels(known, window_days=WINDOW_DAYS, fit=learn_by_heart)
    positive = expected_positive(labelled)
    opened = (~known["mature"] & known["outcome_delay_days"].is_null()).to_numpy()
    truth = known["true_y"].to_numpy()[opened].sum()
    assert abs(positive[opened].sum() - truth) < 3 * np.sqrt(positive[opened].sum())
    # Whatever the lead, its expectation comes from the others: equal ages have equal expectations, up to the folds.
    ages = np.round(known["outcome_age_days"].to_numpy()[opened], 1)
    spread = (
        pl.DataFrame({"age": ages, "q": positive[opened]}).group_by("age").agg(pl.col("q").max() - pl.col("q").min())
    )
    assert spread["q"].max() < 0.02  # type: ignore[operator]


def test_too_few_conversions_give_hard_labels_and_the_reason(leads: pl.DataFrame) -> None:
    few = known_at_origin(leads.head(400), observation=observation(origin=START + timedelta(days=20)))
    assert few.filter("mature")["outcome_delay_days"].count() < MIN_CONVERSIONS
    labelled = soft_labels(few, window_days=WINDOW_DAYS, fit=fit_rates)
    assert labelled.reason is not None
    assert "at least 50" in labelled.reason
    assert labelled.delay is None
    assert labelled.table["mature"].all()
    assert labelled.table.height == few["mature"].sum()
    assert (labelled.weight == 1).all()
    assert labelled.to_dict()["soft"] is False


def test_without_open_leads_labels_are_hard(leads: pl.DataFrame) -> None:
    old = leads.filter(pl.col("created_time") < ORIGIN - timedelta(days=WINDOW_DAYS + 1))
    labelled = label(old)
    assert labelled.reason == "No lead has an open window, so every label is known already."
    assert labelled.table.height == old.height


def test_folds_are_the_published_hash() -> None:
    assert [fold_of(lead_id, folds=4) for lead_id in ("lead_000001", "lead_000002", "äöü")] == [0, 2, 1]
