"""The profile of outreach: what the cleaning found, how far the data reach, whether they are enough.

Belongs here: the document and its Markdown. Does not belong here: cleaning (``outreach_cleaning.py``), or the profile
of lead ads (``profile.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from elv_pipeline.problems.event_specs import AnchoredTarget
from elv_pipeline.settings import PipelineConfig

NOT_READY = "not ready"
_SEVERITIES = {"expected": "info", "warning": "warning", "refused": "warning"}


def outreach_profile(
    cleaned: Mapping[str, Any],
    *,
    enrollments: pl.LazyFrame,
    outcomes: pl.LazyFrame | None,
    target: AnchoredTarget,
    config: PipelineConfig,
    observed_until: datetime,
) -> dict[str, Any]:
    """What there is, what the cleaning did to it, and whether it is enough for one target.

    Args:
        cleaned: what was noted of the cleaned tables: ``tables``, ``cleaned_rows``, ``findings``.
        enrollments: ``enrolled_time``, one row an enrollment.
        outcomes: ``enrollment_id, outcome, withdrawn_time``; None where none are configured.
        target: what is to be predicted.
        config: the minimum of data.
        observed_until: how far the record reaches.

    Returns:
        A JSON document with the keys that every profile has: ``tables, findings, readiness, verdict, first_day,
        last_day, observed_until``.
    """
    days = _days(enrollments, target=target, config=config, observed_until=observed_until)
    counts = {
        "enrollments": days.height,
        "old_enough": int(days["old_enough"].sum()),
        "reached": 0 if outcomes is None else _reached(outcomes, target=target),
        "days": days["day"].n_unique(),
    }
    findings = [_finding(found) for found in cleaned["findings"]]
    score, train = _score_reasons(counts, config), _train_reasons(counts, target, config, labelled=outcomes is not None)
    warned = any(finding["severity"] == "warning" for finding in findings)
    readiness = {
        "train": _readiness([*score, *train], counts, warned=warned),
        "score": _readiness(score, counts, warned=warned),
    }
    return {
        "problem": "outreach",
        "name": config.name,
        "timezone": config.timezone,
        "target": target.name,
        "currency": config.currency,
        "outcome_window_days": target.window_days,
        "first_day": str(days["day"].min()),
        "last_day": str(observed_until.astimezone(config.zone).date()),
        "observed_until": observed_until.isoformat(),
        "observed_from": str(config.observed_from) if config.observed_from else None,
        "tables": {
            name: {**noted, "cleaned_rows": cleaned["cleaned_rows"][name]} for name, noted in cleaned["tables"].items()
        },
        "findings": findings,
        "readiness": readiness,
        "verdict": readiness["train"]["verdict"],
    }


def _days(
    enrollments: pl.LazyFrame, *, target: AnchoredTarget, config: PipelineConfig, observed_until: datetime
) -> pl.DataFrame:
    """The local ``day`` on which each enrollment began, and whether its label is decided by its age: ``old_enough``."""
    began = pl.col("enrolled_time")
    return enrollments.select(
        began.dt.convert_time_zone(config.timezone).dt.date().alias("day"),
        (began + timedelta(days=target.reach_days) < observed_until).alias("old_enough"),
    ).collect()


def _reached(outcomes: pl.LazyFrame, *, target: AnchoredTarget) -> int:
    """Enrollments that came to the outcome and were not taken back."""
    standing = outcomes.filter((pl.col("outcome") == target.outcome) & pl.col("withdrawn_time").is_null())
    return int(standing.select(pl.col("enrollment_id").n_unique()).collect().item())


def _finding(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": found["code"],
        "severity": _SEVERITIES[found["severity"]],
        "table": found["table"],
        "effect": found["effect"],
        "rows": found["rows"],
        "of": found["of"],
        "message": found["message"],
        "remedy": found["remedy"],
    }


def _score_reasons(counts: Mapping[str, int], config: PipelineConfig) -> list[str]:
    return [] if counts["enrollments"] else [f"{config.name} has no enrollment. Widen the window of the export."]


def _train_reasons(
    counts: Mapping[str, int], target: AnchoredTarget, config: PipelineConfig, *, labelled: bool
) -> list[str]:
    needed = config.minimum_data
    if not labelled:
        return ["No outcomes export is configured (paths.outcomes_path), so nothing can be learned."]
    found = []
    if counts["old_enough"] < needed.leads:
        found.append(
            f"{counts['old_enough']:,} enrollments are older than the {target.reach_days} days within which "
            f"{target.name} is decided; {needed.leads:,} are needed (minimum_data.leads)."
        )
    if counts["days"] < needed.days:
        found.append(f"Enrollments of {counts['days']} days; {needed.days} are needed (minimum_data.days).")
    if counts["reached"] < config.model.min_positives:
        found.append(
            f"{counts['reached']:,} enrollments came to {target.outcome}; {config.model.min_positives:,} are needed "
            f"(model.min_positives)."
        )
    return found


def _readiness(reasons: list[str], counts: Mapping[str, int], *, warned: bool) -> dict[str, Any]:
    verdict = NOT_READY if reasons else ("ready with warnings" if warned else "ready")
    return {"ready": not reasons, "verdict": verdict, "reasons": reasons, "counts": dict(counts), "rules": []}


def outreach_profile_markdown(document: Mapping[str, Any]) -> str:
    """The profile for people."""
    train, score = document["readiness"]["train"], document["readiness"]["score"]
    counts = train["counts"]
    lines = [
        f"# Data profile of {document['name']}",
        "",
        f"**{document['verdict'].capitalize()}.** Target: {document['target']}.",
        "",
        f"Days {document['first_day']} to {document['last_day']} ({document['timezone']}); "
        f"{counts['enrollments']:,} enrollments, {counts['reached']:,} of them came to the outcome.",
        "",
        f"- To train: {_said(train)}",
        f"- To score: {_said(score)}",
        "",
        "## Tables",
        "",
        "| table | from | rows read | rows after cleaning | columns left outside |",
        "|---|---|---:|---:|---|",
    ]
    for name, table in document["tables"].items():
        outside = ", ".join(table.get("dropped_columns", [])) or "none"
        lines.append(f"| {name} | {table['file']} | {table['rows']:,} | {table['cleaned_rows']:,} | {outside} |")
    lines += ["", "## What the cleaning found", ""]
    lines += [f"- **{one['severity']}** {one['message']}" for one in document["findings"]] or ["- nothing"]
    return "\n".join(lines) + "\n"


def _said(purpose: Mapping[str, Any]) -> str:
    return f"{purpose['verdict']}." + "".join(f" {reason}" for reason in purpose["reasons"])
