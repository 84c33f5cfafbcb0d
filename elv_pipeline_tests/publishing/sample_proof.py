"""What a proof, its gates and its explanations add to a small run, for the tests of documents. Fixed numbers."""

from __future__ import annotations

from typing import Any

import polars as pl

from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline_tests.publishing.sample_content import figure, full_content, metrics, model_metrics, predictions


def value_at_budget() -> dict[str, Any]:
    """Value 14,400 in all; the best tenth holds 4,176 of it, 500 more than by the campaign's rate."""
    shares = {1: 0.05, 2: 0.1, 5: 0.18, 10: 0.29, 20: 0.48, 30: 0.62, 50: 0.8}
    total = 14_400.0

    def figures(share: float) -> dict[str, dict[str, float]]:
        return {
            "value_captured": figure(total * share, 900.0),
            "value_share": figure(share, 0.06),
            "capture": figure(share, 0.06),
        }

    models = {
        "model": {f"{k}pct": figures(share) for k, share in shares.items()},
        "campaign_rate": {f"{k}pct": figures(0.8 * share) for k, share in shares.items()},
        "constant": {f"{k}pct": figures(k / 100) for k in shares},
    }
    more = {f"{k}pct": {"value_captured": figure(500.0, 200.0)} for k in shares}
    differences = {"campaign_rate": more, "constant": more}
    return {"rows": 1000, "positives": 80, "value": total, "models": models, "differences": differences}


def capture_at_k() -> pl.DataFrame:
    found = value_at_budget()["models"]["model"]
    return pl.DataFrame(
        [
            {
                "k_pct": int(name.removesuffix("pct")),
                "n": 10 * int(name.removesuffix("pct")),
                "positives": 80 * row["capture"]["value"],
                **{
                    f"{key}{end}": row[key][side]
                    for key in ("capture", "value_captured")
                    for end, side in (("", "value"), ("_low", "low"), ("_high", "high"))
                },
                "lift": 2.9,
            }
            for name, row in found.items()
        ]
    )


def prevalence(*, shift: bool = False) -> dict[str, Any]:
    splits = {
        name: {"rows": 1000, "positives": 80, "rate": 0.08, "low": 0.0648, "high": 0.0985} for name in ("train", "test")
    }
    ratio = {"value": 0.7, "low": 0.6, "high": 0.8} if shift else {"value": 0.99, "low": 0.8, "high": 1.2}
    expected = 0.114 if shift else 0.081
    return {
        "splits": splits,
        "expected_rate": expected,
        "ratio": ratio,
        "shift": shift,
        "sentence": "The rate was 8.0%.",
    }


def segments() -> pl.DataFrame:
    """Three campaigns, one off; the small ones together; two platforms, one unknown."""
    verdicts = ("fewer than predicted", "as predicted", "too few to judge", "as predicted", "more than predicted")
    kinds = ("value", "value", "pooled", "value", "missing")
    names = ("c0", "c1", "other", "fb", "unknown")
    columns = ("campaign_id", "campaign_id", "campaign_id", "category_platform", "category_platform")
    ratios = (0.5, 1.1, 1.4, 0.95, 1.6)
    return pl.DataFrame(
        {
            "column": columns,
            "segment": names,
            "kind": kinds,
            "values": [1, 1, 7, 1, 1],
            "rows": [400, 300, 60, 500, 200],
            "expected": [40.0, 20.0, 3.0, 40.0, 20.0],
            "observed": [20, 22, 4, 38, 32],
            "ratio": ratios,
            "ratio_low": [ratio - 0.3 for ratio in ratios],
            "ratio_high": [ratio + 0.4 for ratio in ratios],
            "p_value": [0.001, 0.6, None, 0.7, 0.01],
            "q_value": [0.002, 0.6, None, 0.7, 0.02],
            "verdict": verdicts,
        }
    )


def reliability_curve() -> pl.DataFrame:
    p = [0.01, 0.04, 0.08, 0.15, 0.3]
    return pl.DataFrame(
        {
            "p": p,
            "rows": [200] * 5,
            "recalibrated": [0.01, 0.03, 0.09, 0.15, 0.2],
            "low": [0.5 * value for value in p],
            "high": [1.4 * value for value in p],
        }
    ).with_columns(low=pl.Series([0.0, 0.02, 0.05, 0.1, 0.22]))


def grades() -> pl.DataFrame:
    rates = (0.25, 0.09, 0.05, 0.02)
    return pl.DataFrame(
        {
            "grade": list("ABCD"),
            "meaning": [
                "Twice the average or more.",
                "The average or better.",
                "Half of it or more.",
                "Less than half.",
            ],
            "lowest_probability": [0.16, 0.08, 0.04, 0.0],
            "rows": [150, 250, 300, 300],
            "share": [0.15, 0.25, 0.3, 0.3],
            "positives": [37, 22, 15, 6],
            "mean_predicted": [0.24, 0.11, 0.06, 0.03],
            "observed_rate": rates,
            "observed_low": [rate * 0.7 for rate in rates],
            "observed_high": [rate * 1.4 for rate in rates],
            "lift": [rate / 0.08 for rate in rates],
            "verdict": ["kept", "kept", "missed_low", "too_few_rows"],
        }
    )


def insights() -> pl.DataFrame:
    rates = (0.2, 0.08, 0.01, 0.085)
    return pl.DataFrame(
        {
            "attribute": ["category_campaign_id", "category_campaign_id", "hour", "hour"],
            "words": ["Campaign", "Campaign", "Hour of day", "Hour of day"],
            "value": ["c1", "c2", "0 to 5", "6 to 23"],
            "rows": [200, 300, 100, 400],
            "positives": [40, 24, 1, 34],
            "rate": rates,
            "rate_low": [0.8 * rate for rate in rates],
            "rate_high": [1.3 * rate for rate in rates],
            "shrunk_rate": rates,
            "overall_rate": [0.08] * 4,
            "ratio": [rate / 0.08 for rate in rates],
            "p_value": [0.001, 0.9, 0.002, 0.8],
            "q_value": [0.002, 0.9, 0.003, 0.8],
            "stands_out": [True, False, True, False],
        }
    )


def factors() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "band": ["A", "A", "D"],
            "leads": [150, 150, 300],
            "place": [1, 2, 1],
            "group": ["outcomes", "time", "outcomes"],
            "words": ["the campaign's past outcomes", "the time of day", "the campaign's past outcomes"],
            "mean_contribution": [0.8, -0.2, -0.6],
            "raises_share": [0.95, 0.3, 0.1],
            "strongest_share": [0.7, 0.1, 0.6],
        }
    )


def partial_dependence() -> pl.DataFrame:
    """One number with missing values that rises, and one category."""
    mean = [0.04, 0.06, 0.12, 0.05, 0.09, 0.07]
    return pl.DataFrame(
        {
            "feature": ["hour", "hour", "hour", "hour", "category_campaign_id", "category_campaign_id"],
            "kind": ["number", "number", "number", "missing", "category", "category"],
            "position": [1, 2, 3, 4, 1, 2],
            "value": ["1", "9", "20", "not known", "c1", "c2"],
            "number": [1.0, 9.0, 20.0, None, None, None],
            "rows": [100, 500, 300, 100, 600, 400],
            "share": [0.1, 0.5, 0.3, 0.1, 0.6, 0.4],
            "mean_probability": mean,
            "low": [0.5 * value for value in mean],
            "high": [2 * value for value in mean],
        }
    )


def validation(*, failing: str = "") -> dict[str, Any]:
    """Two gates that pass unless named, and one that does not apply."""
    shown = {
        "baseline": (0.2, 0.05, "at least"),
        "test_positives": (80.0, 10.0, "at least"),
        "champion": (None, None, "at most"),
    }
    gates = [
        {
            **{"name": name, "asks": f"what {name} asks", "rule": rule, "threshold": threshold, "value": value},
            **{"low": None, "high": None},
            "verdict": "fail" if name == failing else "pass" if value is not None else "not applicable",
            "reason": "no other champion" if value is None else f"{value} was measured",
        }
        for name, (value, threshold, rule) in shown.items()
    ]
    failed = [failing] if failing else []
    return {"candidate_version": "12", "champion_version": None, "passed": not failed, "failed": failed, "gates": gates}


def leakage(*findings: dict[str, Any]) -> dict[str, Any]:
    probe = {
        "feature": "hour",
        "auc_alone": 0.61,
        "auc_alone_lagged": 0.5,
        "auc_missing": None,
        "model_auc_lagged": 0.7,
    }
    said = "1 leakage finding." if findings else "No probe found a leak in 2 features."
    return {"probed": True, "sentence": said, "findings": list(findings), "accepted": [], "most_predictive": [probe]}


def overlap() -> dict[str, Any]:
    only = {"leads": 5, "mature": 4, "positives": 2}
    top = {"share": 0.1, "leads": 40, "common": 35, "agreement": 0.875, "only_champion": only, "only_challenger": only}
    sides = {name: 0.25 for name in ("log_loss", "pr_auc", "roc_auc")}
    gaps = {name: figure(-0.01, 0.005) for name in sides}
    weeks = [{"week": "2025-06-02", "rows": 100, "positives": 9, "difference": -0.01}]
    proof = {"rows": 100, "positives": 9, "champion": sides, "challenger": sides, "difference": gaps, "weeks": weeks}
    return {
        "sentence": "Of the best tenth of 400 leads both models name 88% in common.",
        "leads": 400,
        "top": [top],
        "rank_correlation": 0.9,
        "rank_shift": {"median": 0.02, "ninth_decile": 0.1, "largest": 0.5},
        "mean_probability": {"champion": 0.08, "challenger": 0.08},
        "proof": {**proof, "weeks_won": 1, "sign_test_p": 1.0},
    }


def explained_predictions(rows: int = 60) -> pl.DataFrame:
    return predictions(rows).with_columns(
        grade=pl.lit("A"),
        percentile=pl.lit(99.8),
        elv_low=pl.col("elv") * 0.7,
        elv_high=pl.col("elv") * 1.4,
        score_change=pl.lit(-1.5),
        reason_1=pl.lit("raises: the campaign's past outcomes are high (9.1 %)"),
        reason_2=pl.lit("lowers: the lead came at hour 3"),
        reason_3=pl.lit(None, pl.String),
    )


def proven_metrics(**changes: Any) -> dict[str, Any]:
    """Every part that a metrics document can have."""
    judged = metrics()
    judged["models"] |= {
        "constant": model_metrics(lift=1.0, roc_auc=0.5),
        "cost_per_lead": model_metrics(lift=1.5, roc_auc=0.6),
        "rule": model_metrics(lift=2.1, roc_auc=0.67),
    }
    score = {"score": 0.07, "miscalibration": 0.001, "discrimination": 0.01, "uncertainty": 0.08}
    sure = {"share_outside_band": 0.04, "miscalibration_by_chance": 0.001, "p_value": 0.4, "brier": score}
    by_campaign = {
        "judged": 2,
        "flagged": 0,
        "flagged_share": 0.0,
        "sentence": "Both segments of campaign_id agree.",
    }
    return {
        **judged,
        "differences": judged["differences"] | {"constant": {"log_loss": figure(-0.03, 0.01)}},
        "reliability": {"rows": 1000, "positives": 80, **sure},
        "segment_calibration": {"campaign_id": by_campaign},
        "value_at_budget": value_at_budget(),
        "prevalence": prevalence(),
        "leakage": leakage(),
    } | changes


def proven_content(**changes: Any) -> ReportContent:
    """Everything that a run can have."""
    facts: dict[str, Any] = {
        "predictions": explained_predictions(),
        "metrics": proven_metrics(),
        "findings": (),
        "validation": validation(),
        "reliability_curve": reliability_curve(),
        "segments": segments(),
        "capture_at_k": capture_at_k(),
        "grades": grades(),
        "insights": insights(),
        "factors": factors(),
        "partial_dependence": partial_dependence(),
        "overlap": overlap(),
    }
    return full_content(**(facts | changes))
