from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.learning.metrics import evaluate
from elv_pipeline.monitoring.realised_performance import judgeable, realised_performance
from elv_pipeline.monitoring.reconciliation import cohort_performance, performance_table
from elv_pipeline.tables.labels import Observation

START = datetime(2025, 1, 6, tzinfo=UTC)
WINDOW = 14
PROBABILITY = "p_qualified_14d"


def published(days: int = 56, per_day: int = 30) -> pl.DataFrame:
    generator = np.random.default_rng(1)
    rows = days * per_day
    created = [START + timedelta(days=number // per_day, hours=number % per_day % 24) for number in range(rows)]
    return pl.DataFrame(
        {
            "lead_id": [f"lead{number:05d}" for number in range(rows)],
            "created_time": pl.Series(created, dtype=pl.Datetime("us", "UTC")),
            "split": "score",
            PROBABILITY: generator.uniform(0.02, 0.4, rows),
            "value": 50.0,
            "model_version": "3",
            "campaign_id": [f"c{number % 7}" for number in range(rows)],
        }
    ).with_columns(day=pl.col("created_time").dt.date())


def labels(scores: pl.DataFrame, *, delay_days: float = 5.0) -> pl.DataFrame:
    generator = np.random.default_rng(2)
    comes = generator.random(scores.height) < scores[PROBABILITY].to_numpy()
    outcome = pl.col("created_time") + timedelta(days=delay_days)
    recorded = outcome + timedelta(hours=12)
    return scores.select("lead_id", "created_time", "day").with_columns(
        outcome_time=pl.when(pl.Series(comes)).then(outcome),
        outcome_recorded_time=pl.when(pl.Series(comes)).then(recorded),
        outcome_withdrawn_time=pl.lit(None, pl.Datetime("us", "UTC")),
        outcome_value_micros=pl.when(pl.Series(comes)).then(pl.lit(80_000_000, pl.Int64)),
        outcome_observed=pl.lit(True),
        labels_observed_until=pl.lit(START + timedelta(days=400)).cast(pl.Datetime("us", "UTC")),
    )


def as_of(days: int) -> Observation:
    origin = START + timedelta(days=days)
    return Observation(
        window_days=WINDOW, observed_from=None, observed_until=START + timedelta(days=400), origin=origin
    )


def judged(scores: pl.DataFrame, known: pl.DataFrame, days: int, *, learned: bool = False) -> pl.DataFrame:
    return judgeable(scores, known, observation=as_of(days), probability_column=PROBABILITY, learned_value=learned)


SCORES = published()
LABELS = labels(SCORES)


def test_only_leads_that_are_old_enough_are_judged_whatever_became_of_them() -> None:
    rows = judged(SCORES, LABELS, 30)
    assert rows.filter(pl.col("y").is_not_null())["day"].max() == (START + timedelta(days=15)).date()
    early = LABELS.filter(pl.col("outcome_recorded_time") < START + timedelta(days=30)).select("lead_id")
    young = rows.filter(pl.col("day") >= (START + timedelta(days=17)).date())
    assert young.join(early, on="lead_id").height > 0, "some have already qualified"
    assert young["y"].null_count() == young.height
    assert rows["day"].max() < (START + timedelta(days=30)).date()


def test_nothing_that_is_recorded_later_changes_a_figure() -> None:
    """Planted: outcomes recorded from the moment on, leads created since, and withdrawals still to come."""
    moment = START + timedelta(days=40)
    late = moment + timedelta(hours=1)
    silent = pl.col("outcome_time").is_null()
    planted = LABELS.with_columns(
        outcome_time=pl.when(silent).then(pl.col("created_time") + timedelta(days=1)).otherwise("outcome_time"),
        outcome_recorded_time=pl.when(silent).then(pl.lit(late)).otherwise("outcome_recorded_time"),
        outcome_withdrawn_time=pl.when(~silent).then(pl.lit(late).cast(pl.Datetime("us", "UTC"))),
    )
    without_later = SCORES.filter(pl.col("created_time") < moment)
    before = judged(without_later, LABELS, 40).drop("brought")
    after = judged(SCORES, planted, 40).drop("brought")
    assert_frame_equal(before, after)
    then, now = (performance_table(cohort_performance(judged(SCORES, known, 40))) for known in (LABELS, planted))
    assert_frame_equal(then, now)
    assert judged(SCORES, planted, 60)["y"].sum() != judged(SCORES, LABELS, 60)["y"].sum(), "later it does count"


def test_leads_that_the_model_learned_from_are_not_judged() -> None:
    learned = SCORES.with_columns(
        split=pl.when(pl.col("lead_id") < "lead00100").then(pl.lit("train")).otherwise(pl.lit("score"))
    ).with_columns(split=pl.when(pl.col("lead_id") < "lead00050").then(pl.lit("calibration")).otherwise("split"))
    assert judged(learned, LABELS, 60)["lead_id"].min() == "lead00100"


def test_a_lead_without_a_row_of_labels_stays_unknown() -> None:
    rows = judged(SCORES, LABELS.filter(pl.col("lead_id") != "lead00007"), 60)
    assert rows.filter(pl.col("lead_id") == "lead00007").select("y", "mature").row(0) == (None, False)


def test_the_figures_are_those_of_the_proof_on_the_published_probabilities() -> None:
    rows = judged(SCORES, LABELS, 400)
    found = realised_performance(rows)
    p, y = rows["p"].to_numpy(), rows["y"].to_numpy()
    proof = evaluate(y, {"model": p}, reference_rate=0.2, seed=1, samples=2)["models"]["model"]
    for name in ("log_loss", "brier", "roc_auc", "pr_auc", "capture_at_10pct"):
        assert found["figures"][name]["value"] == pytest.approx(proof[name]["value"], rel=1e-12), name
        assert found["figures"][name]["low"] < found["figures"][name]["value"] < found["figures"][name]["high"]
    assert found["positives"] == int(y.sum())
    assert found["prevalence"]["ratio"] == pytest.approx(y.sum() / p.sum())
    assert found["calibration"]["p_value"] > 0.01


@pytest.mark.parametrize(("learned", "each"), [(False, 50.0), (True, 80.0)])
def test_realised_value_is_the_known_one_where_values_are_learned(learned: bool, each: float) -> None:
    rows = judged(SCORES, LABELS, 400, learned=learned)
    found = realised_performance(rows)
    assert found["figures"]["value"]["value"] == pytest.approx(each * found["positives"])


def test_an_outcome_whose_value_is_not_known_counts_with_the_predicted_one() -> None:
    unknown = LABELS.with_columns(outcome_value_micros=pl.lit(None, pl.Int64))
    found = realised_performance(judged(SCORES, unknown, 400, learned=True))
    assert found["figures"]["value"]["value"] == pytest.approx(50.0 * found["positives"])


def test_cohorts_are_weeks_and_say_how_much_of_them_is_known() -> None:
    found = cohort_performance(judged(SCORES, LABELS, 40))
    assert [str(cohort["cohort"]) for cohort in found[:2]] == ["2025-01-06", "2025-01-13"]
    assert [cohort["complete"] for cohort in found] == [True, True, True, False, False, False]
    assert [cohort["mature_rows"] for cohort in found] == [210, 210, 210, 150, 0, 0]
    assert found[-1]["realised"] is None
    assert found[-1]["estimated"]["figures"]["positives"]["value"] > 0
    assert found[0]["model_versions"] == ["3"]


def test_too_few_leads_have_no_figures() -> None:
    few = realised_performance(judged(SCORES, LABELS, 400).head(19))
    assert few["rows"] == 19
    assert few["figures"]["log_loss"]["value"] is None
    assert few["calibration"] is None


def test_moments_of_one_enrollment_are_resampled_together() -> None:
    """Each lead stands five times, on other days: no more is known than of one row each."""
    rows = judged(SCORES, LABELS, 70).filter(pl.col("mature")).head(300)
    named = rows.with_columns(enrollment_id=pl.col("lead_id"))
    five = [named.with_columns(pl.col("lead_id") + f"+{n}", pl.col("day").dt.offset_by(f"{n}d")) for n in range(5)]
    alone, together, taken_apart = (
        realised_performance(frame, resamples=400)["figures"]["roc_auc"]
        for frame in (
            named,
            pl.concat(five),
            pl.concat(five).drop("enrollment_id").with_columns(day=pl.lit(None, pl.Date)),
        )
    )
    widths = [figure["high"] - figure["low"] for figure in (alone, together, taken_apart)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert widths[2] < 0.6 * widths[0]
