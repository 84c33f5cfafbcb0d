"""A small run's facts for the tests of the report, the cards and the charts. Fixed numbers, no chance."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from elv_pipeline.publishing.pages.content import ReportContent

MANIFEST: dict[str, Any] = {
    "run_id": "run-7",
    "name": "lead_ads",
    "problem": "lead_ads",
    "org_id": "acme",
    "kind": "train",
    "as_of_date": "2025-07-13",
    "cutoff": "2025-07-13T22:00:00+00:00",
    "outcome_window": 14,
    "feature_lag_days": 1,
    "currency": "EUR",
    "value_per_qualified": 180.0,
    "timezone": "Europe/Berlin",
    "utc_timestamp": "2025-07-14T04:03:12+00:00",
    "pipeline_version": "0.1.0",
    "git_sha": "4f2a9c1d",
    "model_version": "12",
    "model_type": "lgbm",
    "calibration_method": "beta",
    "split": {
        "method": "holdout",
        "train_from": "2025-01-05T23:00:00+00:00",
        "train_until": "2025-04-20T22:00:00+00:00",
        "calibration_from": "2025-05-04T22:00:00+00:00",
        "calibration_until": "2025-05-25T22:00:00+00:00",
        "test_from": "2025-06-08T22:00:00+00:00",
        "test_until": "2025-06-29T22:00:00+00:00",
        "notes": [],
    },
    "join_strategy": "ad_id, else adset_id",
    "scored_rows": 60,
    "probability_column": "p_qualified_14d",
}


def figure(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def model_metrics(*, lift: float, roc_auc: float) -> dict[str, dict[str, float]]:
    return {
        "lift_at_10pct": figure(lift, 0.5),
        "capture_at_10pct": figure(lift / 10, 0.05),
        "roc_auc": figure(roc_auc, 0.02),
        "log_loss": figure(0.25, 0.01),
        "calibration_mae": figure(0.012, 0.004),
        "mean_prediction": figure(0.081, 0.002),
    }


def metrics(*, lift: float = 2.9) -> dict[str, Any]:
    return {
        "test": {
            "rows": 1000,
            "positives": 80,
            "base_rate": 0.08,
            "base_rate_low": 0.0648,
            "base_rate_high": 0.0985,
            "resampled": "days",
            "from": "2025-06-08T22:00:00+00:00",
            "until": "2025-06-29T22:00:00+00:00",
        },
        "models": {
            "model": model_metrics(lift=lift, roc_auc=0.73),
            "campaign_rate": model_metrics(lift=2.0, roc_auc=0.66),
            "logistic_regression": model_metrics(lift=2.7, roc_auc=0.72),
        },
        "differences": {
            "campaign_rate": {"roc_auc": figure(0.07, 0.02), "log_loss": figure(-0.02, 0.01)},
            "logistic_regression": {"roc_auc": figure(0.01, 0.02), "log_loss": figure(0.002, 0.01)},
        },
        "segment_error": {"campaign_id": 0.3, "adset_id": 0.4},
        "calibration": {"method": "beta", "rows": 900, "positives": 110, "out_of_fold": False, "candidates": {}},
    }


def board(campaigns: int, *, with_spend: bool = True, name: str = "Campaign {}") -> pl.DataFrame:
    """Campaign i returns i + 1 times the least; every fourth has few leads."""
    rows = []
    for i in range(campaigns):
        leads = 10 if i % 4 == 3 else 200
        elv = leads * (i + 1) * 5.0
        ratio = {
            "elv_per_spend": elv / leads,
            "elv_per_spend_low": elv / leads - 1,
            "elv_per_spend_high": elv / leads + 1,
        }
        rows.append(
            {"campaign_id": f"c{i}", "campaign_name": name.replace("{}", str(i))}
            | {"lead_count": leads, "predicted_elv": elv}
            | {"spend": float(leads) if with_spend else None, "elv_per_lead": elv / leads, "mean_p": 0.08}
            | {"elv_low": elv - leads, "elv_high": elv + leads, "low_volume": leads < 30, "rank": campaigns - i}
            | {"own_rows": leads // 2, "own_positives": leads // 20, "evidence": "own outcomes"}
            | {"shrunk_elv_per_lead": elv / leads}
            | (ratio if with_spend else dict.fromkeys(ratio))
            | {f"shrunk_{key}": value if with_spend else None for key, value in ratio.items()}
        )
    per_spend = ("elv_per_spend", "elv_per_spend_low", "elv_per_spend_high")
    money = ("spend", *per_spend, *(f"shrunk_{key}" for key in per_spend))
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(money, pl.Float64)).sort("rank")


def predictions(rows: int = 60) -> pl.DataFrame:
    start = datetime(2025, 7, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "lead_id": [f"lead-{i:03d}" for i in range(rows)],
            "created_time": [start + timedelta(hours=i) for i in range(rows)],
            "split": ["test" if i < rows // 3 else "young" for i in range(rows)],
            "p_qualified_14d": [0.01 + 0.005 * i for i in range(rows)],
            "elv": [180 * (0.01 + 0.005 * i) for i in range(rows)],
            "campaign_id": ["c0"] * rows,
        },
        schema_overrides={"created_time": pl.Datetime("us", "UTC")},
    )


def gains() -> pl.DataFrame:
    positives = [24, 14, 10, 8, 7, 6, 4, 3, 2, 2]
    reached = [sum(positives[: i + 1]) for i in range(10)]
    return pl.DataFrame(
        {
            "decile": list(range(1, 11)),
            "rows": [100] * 10,
            "positives": positives,
            "mean_predicted": [count / 100 for count in positives],
            "observed_rate": [count / 100 for count in positives],
            "lift": [count / 8 for count in positives],
            "cumulative_lift": [count / (8 * (i + 1)) for i, count in enumerate(reached)],
            "cumulative_capture": [count / 80 for count in reached],
        }
    )


def calibration_bins() -> pl.DataFrame:
    rate = pl.col("observed_rate")
    bins = gains().select(
        bin="decile", rows="rows", positives="positives", mean_predicted="mean_predicted", observed_rate=rate
    )
    return bins.with_columns(observed_low=(rate - 0.04).clip(0), observed_high=rate + 0.04)


def weeks() -> pl.DataFrame:
    starts = [date(2025, 6, 30) + timedelta(days=7 * i) for i in range(3)]
    return pl.DataFrame(
        {"week": starts, "leads": [100, 90, 80], "positive": [8, 4, 0], "negative": [92, 50, 0], "unknown": [0, 36, 80]}
    )


def full_content(**changes: Any) -> ReportContent:
    """Every fact present; ``changes`` replace fields."""
    facts: dict[str, Any] = {
        "manifest": MANIFEST,
        "predictions": predictions(),
        "metrics": metrics(),
        "validation": {"passed": True, "failed": [], "gates": [], "candidate_version": "3", "champion_version": "2"},
        "calibration_bins": calibration_bins(),
        "gains": gains(),
        "campaign_leaderboard": board(8),
        "adset_leaderboard": board(8).with_columns(adset_id="campaign_id", adset_name="campaign_name"),
        "absent": ("No placements: paths.ads_placement_path is null.",),
        "findings": ({"code": "late_log", "severity": "warning", "message": "Log starts late.", "remedy": "Set it."},),
        "label_counts_by_week": weeks(),
        "join_statistics": {
            "leads": 60,
            "by_method": {"ad_id": 50, "none": 10},
            "with_id": {"ad_id": {"leads": 50, "share": 0.8333}},
        },
        "drift": (
            {"column": "hour", "kind": "feature", "psi": 0.3, "threshold": 0.1, "drifted": True, "rows_reference": 900},
            {"column": "score", "kind": "score", "psi": None, "threshold": None, "drifted": False, "note": "one value"},
        ),
        "importance": pl.DataFrame({"feature": ["hour", "weekday"], "importance": [0.02, 0.01]}),
        "features": (
            {"name": "hour", "kind": "numeric", "definition": "Hour of day", "sources": (("leads", "created_time"),)},
        ),
        "truth": {"model": {"roc_auc": 0.73}, "perfect": {"roc_auc": 0.76, "lift_at_10pct": 3.3}},
    }
    return ReportContent(**(facts | changes))


def bare_content() -> ReportContent:
    """A batch run of no leads with an unproven model: nothing but a manifest."""
    manifest = {key: None for key in MANIFEST} | {
        key: MANIFEST[key] for key in ("run_id", "name", "problem", "org_id", "probability_column")
    }
    return ReportContent(manifest=manifest, predictions=predictions().clear())
