from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
from scipy.special import expit

from elv_pipeline.contracts.outputs import PERFORMANCE
from elv_pipeline.monitoring.reconciliation import cohort_performance, performance_table, reconcile


def weeks(seed: int, *, kept: list[float], shift: float = 0.0, per_week: int = 400) -> pl.DataFrame:
    """Cohorts in which outcomes follow the probabilities to this degree: 1 kept, 0 no relation, -1 reversed."""
    generator = np.random.default_rng(seed)
    parts = []
    for number, degree in enumerate(kept):
        margin = generator.normal(size=per_week)
        p = expit(-2 + margin)
        y = generator.random(per_week) < expit(-2 + shift + degree * margin)
        monday = date(2025, 1, 6) + timedelta(days=7 * number)
        parts.append(
            pl.DataFrame(
                {
                    "lead_id": [f"lead{number:02d}{row:04d}" for row in range(per_week)],
                    "day": [monday + timedelta(days=row % 7) for row in range(per_week)],
                    "cohort": monday,
                    "p": p,
                    "value": 50.0,
                    "model_version": "1",
                    "campaign_id": [f"c{row % 8}" for row in range(per_week)],
                    "mature": True,
                    "y": y.astype(np.int8),
                    "brought": y * 50.0,
                }
            )
        )
    return pl.concat(parts)


def table_of(rows: pl.DataFrame) -> pl.DataFrame:
    table = performance_table(cohort_performance(rows))
    return PERFORMANCE.validate(table, place="performance")


def test_estimates_that_hold_are_said_to_hold() -> None:
    verdicts = [reconcile(table_of(weeks(seed, kept=[1.0] * 6)))["verdict"] for seed in range(6)]
    assert verdicts.count("holds") >= 5


def test_concept_drift_that_the_estimate_cannot_see_is_seen_in_what_came_true() -> None:
    """The mix of leads is the same, the relation is gone: the estimate is unmoved, the reconciliation is not."""
    usual, broken = weeks(1, kept=[1.0] * 4), weeks(1, kept=[0.0] * 4)
    table = table_of(broken)
    assert table["estimated"].drop_nulls().to_list() == table_of(usual)["estimated"].drop_nulls().to_list()
    found = reconcile(table)
    assert found["verdict"] == "too optimistic"
    assert found["figures"]["pr_auc"]["verdict"] == "too optimistic"
    assert "PR-AUC" in found["sentence"]
    assert found["figures"]["log_loss"]["error"] > 0.02


def test_a_model_that_loses_its_meaning_slowly_is_getting_worse_before_it_is_wrong_on_average() -> None:
    fading = weeks(3, kept=[1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.3, 0.0], per_week=900)
    found = reconcile(table_of(fading), figures=("pr_auc",))
    assert found["verdict"] == "getting worse"
    assert found["figures"]["pr_auc"]["trend"] < 0


def test_more_outcomes_than_promised_are_pessimism_and_not_harm() -> None:
    found = reconcile(table_of(weeks(4, kept=[1.0] * 5, shift=0.6)), figures=("positives", "value"))
    assert found["verdict"] == "too pessimistic"
    assert "too low" in found["sentence"]


def test_two_cohorts_are_too_few_and_incomplete_ones_do_not_count() -> None:
    rows = weeks(5, kept=[1.0] * 4)
    late = pl.col("cohort") >= date(2025, 1, 20)
    open_ = rows.with_columns(
        mature=pl.when(late & (pl.col("day").dt.weekday() > 3)).then(False).otherwise("mature")
    ).with_columns(y=pl.when("mature").then("y"), brought=pl.when("mature").then("brought"))
    found = reconcile(table_of(open_))
    assert found["verdict"] == "too few"
    assert found["sentence"].startswith("2 complete cohorts")
    json.dumps(found, allow_nan=False)


def test_a_young_cohort_shows_its_estimate_and_a_judged_one_that_of_the_same_leads() -> None:
    rows = weeks(6, kept=[1.0, 1.0])
    young = pl.col("cohort") == date(2025, 1, 13)
    half = (pl.col("cohort") == date(2025, 1, 6)) & (pl.col("lead_id") > "lead000199")
    table = table_of(
        rows.with_columns(mature=~(young | half)).with_columns(
            y=pl.when("mature").then("y"), brought=pl.when("mature").then("brought")
        )
    )
    positives = table.filter(pl.col("figure") == "positives").sort("cohort")
    assert positives["mature_rows"].to_list() == [200, 0]
    judged = rows.filter(~(young | half))
    assert abs(positives["estimated"][0] - judged["p"].sum()) < 1e-9
    assert abs(positives["estimated"][1] - rows.filter(young)["p"].sum()) < 1e-9
    assert positives["realised"].to_list() == [float(judged["y"].cast(pl.Int64).sum()), None]
