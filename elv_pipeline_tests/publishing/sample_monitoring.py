"""The facts of a monitoring page for its tests, made by hand in the forms of ``monitoring/``: no person, no clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from math import sin
from typing import Any

import altair as alt
import polars as pl

from elv_pipeline.contracts.outputs import DRIFT, PERFORMANCE
from elv_pipeline.monitoring.alert_rules_inputs import TableAge
from elv_pipeline.publishing.pages.monitoring.content import DAYS, ROWS, MonitoringContent
from elv_pipeline.publishing.pages.monitoring.page import FIGURES

LAST = date(2025, 6, 29)
"""A Sunday, and yesterday of ``AS_OF``."""
AS_OF = datetime(2025, 6, 30, 5, 0, tzinfo=UTC)
VALUE = 180.0


def monitoring_charts(content: MonitoringContent) -> dict[str, alt.Chart]:
    """The figures that have data, by name, in the order in which they should be read."""
    return {key: place.draw(content) for key, place in FIGURES.items() if len(place.needs(content))}


def wobble(number: int) -> float:
    """Between -1 and 1, without a pattern that people see."""
    return sin(12.9898 * number) * 0.7 + sin(78.233 * number) * 0.3


def days_frame(count: int = 180, *, last: date = LAST, leads: int | None = None, held: int = 0) -> pl.DataFrame:
    """Days with a weekly rhythm; ``leads`` replaces the newest count, ``held`` days at the end wait."""
    rows = []
    for at in range(count):
        day = last - timedelta(days=count - 1 - at)
        usual = (230 if day.weekday() < 5 else 120) * (1 + 0.12 * wobble(at))
        many = leads if leads is not None and at == count - 1 else int(usual)
        mean = 0.08 + 0.006 * wobble(at + 7)
        waits = at >= count - held
        rows.append(
            {
                "day": day,
                "leads": 0 if waits else many,
                "mean_probability": None if waits or not many else mean,
                "score_spread": None if waits or not many else 0.05,
                "expected_value": None if waits or not many else many * mean * VALUE,
                "model_version": None if waits or not many else _version(day),
                "held": waits,
                "drifted": None if waits else int(at % 40 == 0),
            }
        )
    return pl.DataFrame(rows, schema=DAYS)


def _version(day: date) -> str:
    """As promoted in the log of ``monitoring_content``; the fifth is rolled back after it scored for four weeks."""
    since = {date(2025, 6, 2): "6", date(2025, 5, 5): "4", date(2025, 4, 7): "5", date(2025, 3, 3): "4"}
    return next((version for first, version in since.items() if day >= first), "3")


def rows_frame(count: int = 120, *, last: date = LAST) -> pl.DataFrame:
    """Rows of three tables by day."""
    sizes = {"ads": 900, "leads": 200, "outcomes": 16}
    return pl.DataFrame(
        [
            {"table": table, "day": last - timedelta(days=at), "rows": int(size * (1 + 0.1 * wobble(at)))}
            for table, size in sizes.items()
            for at in range(count)
        ],
        schema=ROWS,
    )


def drift_row(column: str, day: date, *, kind: str = "feature", share: float = 0.4, **changes: Any) -> dict[str, Any]:
    """A comparison that went ``share`` of the way to its threshold."""
    psi = kind in ("feature", "score")
    threshold = 0.62 if kind == "domain" else 0.15
    distance = 0.5 + share * (threshold - 0.5) if kind == "domain" else share * threshold
    row = {
        "column": column,
        "kind": kind,
        "psi": distance if psi else None,
        "threshold": threshold,
        "drifted": share > 1,
        "rows_reference": 9000,
        "rows_current": 1400,
        "note": None,
        "effect": distance,
        "effect_name": "standardised mean difference" if psi else "ROC-AUC" if kind == "domain" else "Cohen's h",
        "expected": 0.1,
        "observed": 0.1 + 0.02 * share,
        "p_value": 0.2,
        "money_at_stake": 900.0 * share,
        "day": day,
    }
    return row | changes


def drift_frame(days: int = 60, *, features: int = 12, moved: bool = True, last: date = LAST) -> pl.DataFrame:
    """Comparisons of several days; the first feature moves in the last week where asked."""
    rows = []
    for at in range(days):
        day = last - timedelta(days=at)
        rows.append(drift_row("score", day, kind="score", share=0.35 + 0.2 * wobble(at)))
        rows.append(drift_row("outcome", day, kind="prevalence", share=0.3 + 0.2 * wobble(at + 3)))
        rows.append(drift_row("all features", day, kind="domain", share=0.5 + 0.2 * wobble(at + 5)))
        for number in range(features):
            share = 2.4 - 0.2 * at if moved and number == 0 and at < 7 else 0.4 + 0.3 * wobble(at + 31 * number)
            rows.append(drift_row(f"ad_clicks_{number + 1}d", day, share=share))
        rows.append(drift_row("category_country", day, kind="missing", share=0.1))
        rows.append(drift_row("category_country", day, kind="new_level", share=0.6 + 0.2 * wobble(at)))
    return pl.DataFrame(rows, schema={**DRIFT.schema, "day": pl.Date})


def performance_frame(weeks: int = 24, *, waiting: int = 2, came: float = 1.0, last: date = LAST) -> pl.DataFrame:
    """Weekly cohorts; of the newest ``waiting`` the last has no outcome yet and the others a part."""
    rows = []
    newest = last - timedelta(days=last.weekday())
    for at in range(weeks):
        age = weeks - 1 - at
        many = 1390
        mature = many if age >= waiting else 0 if age == 0 else many // 2
        counted = mature or many
        expected = 0.08 * counted
        observed = round(expected * came * (1 + 0.1 * wobble(at)))
        spread = expected**0.5
        estimates = {
            "positives": (expected, 2 * spread, float(observed)),
            "value": (expected * VALUE, 2 * spread * VALUE, observed * VALUE),
            "roc_auc": (0.71, 0.05, 0.71 + 0.03 * wobble(at + 1)),
            "pr_auc": (0.18, 0.04, 0.18 + 0.02 * wobble(at + 2)),
            "log_loss": (0.262, 0.02, 0.262 + 0.01 * wobble(at + 3)),
            "brier": (0.069, 0.005, 0.069 + 0.002 * wobble(at + 4)),
            "precision_at_10pct": (0.2, 0.06, 0.2 + 0.03 * wobble(at + 5)),
            "capture_at_10pct": (0.25, 0.07, 0.25 + 0.03 * wobble(at + 6)),
        }
        for figure, (value, half, realised) in estimates.items():
            known = mature > 0
            rows.append(
                {
                    "cohort": newest - timedelta(days=7 * age),
                    "figure": figure,
                    "estimated": value,
                    "estimated_low": value - half,
                    "estimated_high": value + half,
                    "realised": realised if known else None,
                    "realised_low": realised - half if known else None,
                    "realised_high": realised + half if known else None,
                    "surprise": (realised - value) / half * 2 if known else None,
                    "rows": many,
                    "mature_rows": mature,
                    "complete": mature == many,
                    "model_versions": str(1 + at // 4),
                }
            )
    return pl.DataFrame(rows, schema=PERFORMANCE.schema)


def reconciled(verdict: str = "holds") -> dict[str, Any]:
    figure = {
        **{"cohorts": 22, "surprise": -0.1, "p_value": 0.6, "error": 0.01},
        **{"trend": 0.002, "trend_p_value": 0.8, "verdict": verdict},
    }
    return {
        "verdict": verdict,
        "sentence": "Over 22 complete cohorts the estimates held: realised figures differ from them by chance.",
        "figures": {name: figure for name in ("log_loss", "pr_auc", "positives", "value")},
    }


CALIBRATION = {
    **{"slope": 0.02, "level": -0.03, "p_value": 0.7, "drifted": False},
    "sentence": "On 9,000 matured leads the log odds are off by -0.03 and need a slope of 1.02: no sure difference.",
}
MODELS = [{"version": str(number), "origin": f"2025-{number:02d}-01T00:00:00+00:00"} for number in range(1, 7)]


def audit_entry(day: date, *, decision: str = "promoted", version: int = 2, **changes: Any) -> dict[str, Any]:
    moved = decision in ("promoted", "rolled back")
    return {
        "at": f"{day}T06:10:00+00:00",
        "decision": decision,
        "reason": "all 9 gates passed",
        "from_version": str(version - 1),
        "to_version": str(version if moved else version - 1),
        "candidate_version": str(version),
        **changes,
    }


def alert(severity: str = "warning", code: str = "outcomes_fewer_than_promised", **changes: Any) -> dict[str, Any]:
    return {
        "severity": severity,
        "code": code,
        "message": "Fewer outcomes came than the scores promised: 6.10% of 4170 mature leads, 8.00% were promised.",
        "action": "Check that outcomes are recorded completely. Find out what changed.",
        "cause": "Sales or its recording changed.",
        "figure": 0.061,
        "threshold": 0.08,
        "money": 14200.0,
        "currency": "EUR",
        "since": "2025-06-27T05:00:00+00:00",
        **changes,
    }


HELD = {
    "2025-05-01": {
        "since": "2025-05-02T05:00:00+00:00",
        "status": "complete",
        "findings": [],
        "scored_at": "2025-05-03T05:00:00+00:00",
    },
    "2025-06-10": {
        "since": "2025-06-11T05:00:00+00:00",
        "status": "released",
        "by": "Zoe Example",
        "reason": "Zoe says that it was a holiday",
        "findings": [{"message": "leads has 21 rows on 2025-06-10, where about 230 are usual (9%)."}],
        "scored_at": "2025-06-11T09:00:00+00:00",
    },
}


def write(day: date, **changes: Any) -> dict[str, Any]:
    return {
        "finished_at_utc": f"{day}T05:03:00",
        "kind": "write",
        "run_id": f"run-{day:%Y%m%d}",
        "model_version": "6",
        "inserted": 212,
        "updated": 14,
        "unchanged": 3300,
        "removed": 0,
        "who": "Zoe Example",
        **changes,
    }


def freshness(last: date = LAST) -> tuple[TableAge, ...]:
    read = datetime(2025, 6, 30, 4, 30, tzinfo=UTC)
    return tuple(TableAge(table=table, newest_day=last, recorded_at=read) for table in ("ads", "leads", "outcomes"))


def monitoring_content(count: int = 180, **changes: Any) -> MonitoringContent:
    """Half a year in which all is well; ``changes`` replace parts."""
    parts: dict[str, Any] = {
        "name": "lead_ads",
        "org_id": "acme",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "as_of": AS_OF,
        "days": days_frame(count),
        "rows": rows_frame(),
        "drift": drift_frame(moved=False),
        "performance": performance_frame(),
        "reconciled": reconciled(),
        "calibration": CALIBRATION,
        "models": MODELS,
        "audit": [
            audit_entry(date(2025, 3, 3), version=4),
            audit_entry(date(2025, 3, 17), decision="kept", version=5, reason="gate calibration failed"),
            audit_entry(date(2025, 4, 7), version=5),
            audit_entry(
                date(2025, 5, 5), decision="rolled back", version=4, from_version="5", reason="calls took too long"
            ),
            audit_entry(date(2025, 6, 2), version=6),
        ],
        "held": HELD,
        "writes": [write(LAST + timedelta(days=1)), write(LAST)],
        "freshness": freshness(),
    }
    return MonitoringContent(**parts | changes)


def young_content() -> MonitoringContent:
    """The first scored day of an account: nothing else is known."""
    return MonitoringContent(name="lead_ads", currency="EUR", timezone="Europe/Berlin", as_of=AS_OF, days=days_frame(1))


def empty_content() -> MonitoringContent:
    """Before anything was scored."""
    return MonitoringContent(
        name="lead_ads", currency="EUR", timezone="UTC", as_of=AS_OF, days=pl.DataFrame(schema=DAYS)
    )


def troubled_content() -> MonitoringContent:
    """Fewer outcomes than promised, a feature that moved, a held day."""
    frame = performance_frame(came=0.75)
    return monitoring_content(
        days=days_frame(180, held=1),
        drift=drift_frame(last=LAST - timedelta(days=1)),
        performance=frame,
        reconciled=reconciled("too optimistic"),
        held={
            **HELD,
            LAST.isoformat(): {
                "since": AS_OF.isoformat(),
                "status": "held",
                "findings": [{"message": "leads has 0 rows on 2025-06-29, where about 120 are usual."}],
            },
        },
        alerts=[
            alert(
                "info",
                "feature_drift",
                money=1900.0,
                figure=0.36,
                threshold=0.15,
                message="1 of the main features has moved; most of all ad_clicks_1d (PSI 0.360, threshold 0.150).",
                cause="",
                action="Check whether budgets changed.",
            ),
            alert(),
            alert(
                "warning",
                "day_held",
                money=None,
                figure=1.0,
                threshold=0.0,
                message="1 day is held back because inputs are incomplete, the newest 2025-06-29: leads has 0 rows.",
                action="Let the missing export run again.",
                cause="An export that failed.",
            ),
        ],
    )
