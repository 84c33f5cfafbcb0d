"""The data profile of a run bundle: counts, spans, findings and verdicts, safe to hand on.

Belongs here: turning what ingest measured into one JSON document. Does not belong here: measuring, the document in
words (``profile_markdown``), or any value of a row other than an id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from elv_pipeline.contracts.lead_ads import SOURCES
from elv_pipeline.contracts.spec import type_name
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.parsing.clock import times_read
from elv_pipeline.ingest.review.data_checks import DATA_CHECKS, data_checks
from elv_pipeline.ingest.review.day_coverage import days_with_rows, gaps, missing_days, rows_over_time
from elv_pipeline.ingest.review.finding import Finding
from elv_pipeline.ingest.review.findings import findings
from elv_pipeline.ingest.review.fix_first import broken_contracts, fix_first
from elv_pipeline.ingest.review.matching import id_coverage, matching
from elv_pipeline.ingest.review.maturity import maturity
from elv_pipeline.ingest.review.outcome_values import outcome_values
from elv_pipeline.ingest.review.profile_markdown import profile_markdown
from elv_pipeline.ingest.review.readiness import NOT_READY, Readiness, Verdict, readiness, verdict_word
from elv_pipeline.ingest.sources import Examination, Sources, configured_paths
from elv_pipeline.settings import PipelineConfig

__all__ = ["profile", "profile_markdown", "profile_of"]


def profile_of(examination: Examination, config: PipelineConfig) -> dict[str, Any]:
    """The profile of exports as they were read; where a contract is broken, of those that could be read."""
    if examination.sources is None:
        return _broken(examination, config)
    sources = examination.sources
    return profile(sources, findings(sources, config), readiness(sources, config), config)


def profile(sources: Sources, found: list[Finding], verdicts: Readiness, config: PipelineConfig) -> dict[str, Any]:
    """The profile as a JSON-able dict; it names files without their folders.

    Args:
        sources: the exports as read.
        found: result of ``findings``.
        verdicts: result of ``readiness``.
        config: the configuration that they were read with.
    """
    document = {
        **_settings(config),
        "observed_until": sources.observed_until.isoformat(),
        "first_day": sources.first_day.isoformat(),
        "last_day": sources.last_day.isoformat(),
        "errors": {},
        "tables": {table.profile.table: _table(table) for table in sources.tables},
        "findings": [asdict(finding) for finding in found],
        "readiness": {
            purpose: _verdict(verdict, warned=_warned(found, verdict, purpose=purpose))
            for purpose, verdict in (("train", verdicts.train), ("score", verdicts.score))
        },
        "fix_first": [asdict(action) for action in fix_first(found, verdicts)],
        "id_coverage": id_coverage(sources),
        "matching": matching(sources),
        "maturity": maturity(sources, config),
        "values": outcome_values(sources),
        "times": [asdict(times) for times in times_read(sources, config)],
    }
    return _with_verdict(document)


def _broken(examination: Examination, config: PipelineConfig) -> dict[str, Any]:
    """What can be said while contracts are broken: the errors, and the tables that could be read."""
    reasons = [f"the {table} export cannot be read" for table in examination.errors]
    refused = {"ready": False, "verdict": NOT_READY, "reasons": reasons, "counts": {}, "rules": []}
    document = {
        **_settings(config),
        **dict.fromkeys(("observed_until", "first_day", "last_day", "matching", "maturity", "values")),
        "errors": dict(examination.errors),
        "tables": {name: _table(table) for name, table in examination.tables.items() if name not in examination.errors},
        "findings": [],
        "readiness": {"train": refused, "score": dict(refused)},
        "fix_first": [asdict(action) for action in broken_contracts(examination.errors)],
        "id_coverage": [],
        "times": [],
    }
    return _with_verdict(document)


def _settings(config: PipelineConfig) -> dict[str, Any]:
    observed_from = config.observed_from_moment
    return {
        "name": config.name,
        "timezone": config.timezone,
        "currency": config.currency,
        "value_per_qualified": config.value_per_qualified,
        "outcome_window_days": config.label_window_days,
        "feature_lag_days": config.feature_lag_days,
        "minimum_data": config.minimum_data.model_dump(),
        "observed_from": observed_from.isoformat() if observed_from else None,
        "absent": [contract.name for contract in SOURCES if contract.name not in configured_paths(config)],
    }


def _with_verdict(document: dict[str, Any]) -> dict[str, Any]:
    """Add the overall verdict, which is the worse of both purposes, and the answers to the data checks."""
    words = [verdict["verdict"] for verdict in document["readiness"].values()]
    order = (NOT_READY, verdict_word(ready=True, warned=True), verdict_word(ready=True, warned=False))
    checks = [asdict(check) for check in data_checks(document)]
    return {**document, "verdict": min(words, key=order.index), "headline": _headline(document), "checks": checks}


def _headline(document: Mapping[str, Any]) -> str:
    """The verdict as one sentence."""
    errors, purposes = document["errors"], document["readiness"]
    if errors:
        what = "One export breaks its contract" if len(errors) == 1 else f"{len(errors)} exports break their contracts"
        return f"{what}, so nothing was loaded."
    if not purposes["train"]["ready"]:
        return (
            "These leads can be scored by a model trained earlier, but no model can be trained on them yet."
            if purposes["score"]["ready"]
            else "These exports can neither train a model nor be scored yet."
        )
    if not purposes["score"]["ready"]:
        return "These exports can train a model, but no lead can be tied to an ad, so all scores would be equal."
    warnings = sum(finding["severity"] == "warning" for finding in document["findings"])
    points = f", with {warnings} {'point' if warnings == 1 else 'points'} to look at first" if warnings else ""
    return f"These exports can train a model and be scored{points}."


def _warned(found: Iterable[Finding], verdict: Verdict, *, purpose: str) -> bool:
    touching = {spec.name for spec in DATA_CHECKS if purpose in spec.purposes}
    rules = any(not rule.passed for rule in verdict.rules if not rule.blocking)
    return rules or any(finding.severity == "warning" and finding.check in touching for finding in found)


def _verdict(verdict: Verdict, *, warned: bool) -> dict[str, Any]:
    return {
        "ready": verdict.ready,
        "verdict": verdict_word(ready=verdict.ready, warned=warned),
        "reasons": list(verdict.reasons),
        "counts": dict(verdict.counts),
        "rules": [{**asdict(rule), "passed": rule.passed} for rule in verdict.rules],
    }


def _table(table: Ingested) -> dict[str, Any]:
    found = table.profile
    missing = missing_days(table)
    return {
        "file": found.file,
        "sha256": found.sha256,
        "connector": found.connector,
        "currency": found.currency,
        "rows_read": found.rows_read,
        "rows": found.rows,
        "first_day": found.first_day.isoformat() if found.first_day else None,
        "last_day": found.last_day.isoformat() if found.last_day else None,
        "days_with_rows": days_with_rows(table),
        "covered_until": found.last_day.isoformat() if found.last_day and found.known_until else None,
        "missing_days": len(missing),
        "gaps": gaps(missing),
        "rows_over_time": rows_over_time(table),
        "columns": [asdict(column) for column in found.columns],
        "expected_columns": _expected(found.table, found.columns_in_file),
        "duplicates_dropped": found.duplicates_dropped,
        "dropped_rows": dict(found.dropped_rows),
        "left_out": [asdict(row) for row in found.left_out],
        "dropped_columns": list(found.dropped_columns),
        "time_shapes": dict(found.time_shapes),
        "notes": dict(found.notes),
        "personal_values": [asdict(one) for one in found.personal],
    }


def _expected(table: str, columns_in_file: Iterable[str]) -> list[Mapping[str, Any]]:
    """Columns that the export may have: whether each is required, and whether the file has it."""
    present = set(columns_in_file)
    contract = next(contract for contract in SOURCES if contract.name == table)
    return [
        {
            "name": column.name,
            "type": type_name(column.dtype),
            "required": column.required,
            "present": column.name in present,
        }
        for column in contract.columns
    ]
