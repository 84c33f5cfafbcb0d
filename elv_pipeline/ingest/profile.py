"""The data profile of a run bundle: counts and spans, safe to hand on.

Belongs here: turning what ingest measured into JSON and Markdown. Does not belong here: measuring, or any value of a
row other than an id named in a finding.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from elv_pipeline.ingest.findings import Finding
from elv_pipeline.ingest.ingested import TableProfile
from elv_pipeline.ingest.readiness import Readiness, Verdict
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig


def profile(sources: Sources, found: list[Finding], verdicts: Readiness, config: PipelineConfig) -> dict[str, Any]:
    """The profile as a JSON-able dict; it names files without their folders.

    Args:
        sources: the exports as read.
        found: result of ``findings``.
        verdicts: result of ``readiness``.
        config: the configuration that they were read with.
    """
    observed_from = config.observed_from_moment
    return {
        "name": config.name,
        "timezone": config.timezone,
        "outcome_window_days": config.label_window_days,
        "observed_from": observed_from.isoformat() if observed_from else None,
        "observed_until": sources.observed_until.isoformat(),
        "first_day": sources.first_day.isoformat(),
        "last_day": sources.last_day.isoformat(),
        "tables": {table.profile.table: _table(table.profile) for table in sources.tables},
        "findings": [asdict(finding) for finding in found],
        "readiness": {"train": _verdict(verdicts.train), "score": _verdict(verdicts.score)},
    }


def profile_markdown(content: dict[str, Any]) -> str:
    """The profile for people."""
    lines = [
        f"# Data profile of {content['name']}",
        "",
        f"Days {content['first_day']} to {content['last_day']} ({content['timezone']}); outcomes known until "
        f"{content['observed_until']}"
        + (f", recorded from {content['observed_from']}." if content["observed_from"] else "."),
        "",
        "## Ready?",
        "",
    ]
    for what, verdict in content["readiness"].items():
        counts = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in verdict["counts"].items())
        why = "; ".join(verdict["reasons"])
        lines.append(f"- to {what}: **{'yes' if verdict['ready'] else 'no'}** ({counts})" + (f": {why}" if why else ""))
    lines += ["", "## Findings", ""]
    for finding in content["findings"]:
        remedy = f" *{finding['remedy']}*" if finding["remedy"] else ""
        lines.append(f"- **{finding['severity']}** `{finding['code']}`: {finding['message']}{remedy}")
    if not content["findings"]:
        lines.append("- none")
    for name, table in content["tables"].items():
        lines += _table_lines(name, table)
    return "\n".join(lines) + "\n"


def _table(found: TableProfile) -> dict[str, Any]:
    return {
        "file": found.file,
        "sha256": found.sha256,
        "rows_read": found.rows_read,
        "rows": found.rows,
        "first_day": found.first_day.isoformat() if found.first_day else None,
        "last_day": found.last_day.isoformat() if found.last_day else None,
        "columns": [asdict(column) for column in found.columns],
        "duplicates_dropped": found.duplicates_dropped,
        "dropped_rows": dict(found.dropped_rows),
        "dropped_columns": list(found.dropped_columns),
        "time_shapes": dict(found.time_shapes),
        "notes": dict(found.notes),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"ready": verdict.ready, "reasons": list(verdict.reasons), "counts": dict(verdict.counts)}


def _table_lines(name: str, table: dict[str, Any]) -> list[str]:
    span = f", {table['first_day']} to {table['last_day']}" if table["first_day"] else ""
    dropped = ", ".join(f"{rule} {count:,}" for rule, count in table["dropped_rows"].items()) or "none"
    ignored = ", ".join(table["dropped_columns"]) or "none"
    lines = ["", f"## {name}", "", f"`{table['file']}`: {table['rows']:,} of {table['rows_read']:,} rows{span}."]
    lines += [f"Rows left out: {dropped}. Columns not loaded: {ignored}. SHA-256 `{table['sha256'][:16]}…`.", ""]
    lines += ["| column | type | empty | distinct |", "|---|---|---|---|"]
    for column in table["columns"]:
        empty = f"{100 * column['null_share']:.1f} %"
        lines.append(f"| `{column['name']}` | {column['dtype']} | {empty} | {column['distinct']:,} |")
    return lines
