"""What is watched of a configuration as of a day: gathered from the lake, measured, and arranged for page and alerts.

Belongs here: reading what the measurements need. Does not belong here: measuring (``monitoring/``), drawing
(``publishing/pages/monitoring/``) or Dagster. Nothing recorded after the day is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import inspect, select

from elv_pipeline.contracts.outputs import DRIFT
from elv_pipeline.databases.connections import SCHEMA, describe, open_engine
from elv_pipeline.databases.retries import with_retries
from elv_pipeline.ingest.extracts.snapshots import snapshots_in
from elv_pipeline.lake import days_between
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.monitoring.alert_rules_drift import drift_alerts
from elv_pipeline.monitoring.alert_rules_inputs import TableAge, freshness_alerts, held_alerts, unusual_alerts
from elv_pipeline.monitoring.alert_rules_operation import registry_alerts
from elv_pipeline.monitoring.alert_rules_performance import performance_alerts
from elv_pipeline.monitoring.day_completeness import WINDOW_DAYS, DayFinding, completeness
from elv_pipeline.monitoring.held_days import held_days
from elv_pipeline.monitoring.prevalence import calibration, calibration_drift, prevalence
from elv_pipeline.monitoring.realised_performance import judgeable
from elv_pipeline.monitoring.reconciliation import cohort_performance, performance_table, reconcile
from elv_pipeline.monitoring.watch import watch
from elv_pipeline.orchestration.assets.scoring import references_of, with_score
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.due_days import held_record, incomplete_days
from elv_pipeline.orchestration.publication import scores_connection
from elv_pipeline.orchestration.queries_read import extracts_folder
from elv_pipeline.problems.words import Words
from elv_pipeline.publishing.pages.monitoring.content import DAYS
from elv_pipeline.publishing.registry.model_handle import ModelHandle, load_model
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.publishing.scores.tables import SCORE_RUNS

WATCHED_DAYS = 182
"""Days before the watched one that the page shows."""
REFERENCE_DAYS = 56
"""Days before a model's origin whose leads stand for those it learned from."""
WATCHED = "watched"
"""Table of the lake: every comparison of a watched day, those with outcomes and whole leads included."""
CHANCE = 0.0005
"""Of a false alarm about calibration, on a day."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Everything measured as of a day.

    Attributes:
        as_of: the day.
        drift: rows of ``DRIFT`` of that day.
        judged: published scores with what is known of their outcomes (``judgeable``); None without outcomes.
        cohorts: estimated and realised performance of each weekly cohort.
        performance: the same as rows of ``PERFORMANCE``.
        reconciled: whether estimates held; None without outcomes.
        calibration: calibration against that of the training; None without outcomes.
        freshness: how far each table reaches.
    """

    as_of: date
    drift: list[dict[str, Any]]
    judged: pl.DataFrame | None
    cohorts: list[dict[str, Any]]
    performance: pl.DataFrame | None
    reconciled: dict[str, Any] | None
    calibration: dict[str, Any] | None
    freshness: list[TableAge]


def measure(deployment: Deployment, *, as_of: date, handle: ModelHandle) -> Watched:
    """Compare the days up to ``as_of`` with what the model and its scores promised."""
    model = load_model(handle)
    judged = _judged(deployment, as_of=as_of, model=model)
    matured = judged.filter(pl.col("y").is_not_null()) if judged is not None else None
    cohorts = cohort_performance(judged) if judged is not None else []
    table = performance_table(cohorts) if judged is not None else None
    own = matured.filter(pl.col("model_version") == handle.version) if matured is not None else None
    promised = judged.filter(pl.col("model_version") == handle.version) if judged is not None else None
    newest = _newest(deployment, own)
    return Watched(
        as_of=as_of,
        drift=_drift(deployment, model, as_of=as_of, handle=handle, matured=newest),
        judged=judged,
        cohorts=cohorts,
        performance=table,
        reconciled=_reconciled(promised),
        calibration=_calibration(model, newest, words=deployment.words),
        freshness=_freshness(deployment, as_of=as_of),
    )


def alerts_of(deployment: Deployment, watched: Watched, *, now: datetime) -> list[Alert]:
    """What of the measurements, and of what happened in the week before ``now``, a person should know."""
    incomplete = incomplete_days(deployment, scored_since=now - timedelta(days=7))
    validations = [
        document
        for file in sorted((deployment.lake.root / "model_validation").glob("*.json"))
        if (document := deployment.lake.read_json(f"model_validation/{file.stem}"))
    ]
    return [
        *drift_alerts(watched.drift, currency=deployment.config.currency, words=deployment.words),
        *performance_alerts(reconciled=watched.reconciled, calibration=watched.calibration, words=deployment.words),
        *held_alerts(held_record(deployment), scored_incomplete=incomplete),
        *unusual_alerts(_unusual(deployment, watched.as_of)),
        *freshness_alerts(watched.freshness, today=watched.as_of + timedelta(days=1)),
        *registry_alerts(
            overlap=deployment.lake.read_json("challenger_report"), validations=validations, words=deployment.words
        ),
    ]


def day_table(deployment: Deployment, *, as_of: date) -> pl.DataFrame:
    """One row a scored day: leads, scores, value, version, held or not, and how much drifted."""
    first = as_of - timedelta(days=WATCHED_DAYS)
    probability, held = deployment.config.probability_column, held_days(held_record(deployment))
    if not any(first <= day <= as_of for day in deployment.lake.days("predictions")):
        return pl.DataFrame(schema=DAYS)
    # Collected first: over a scan, even sorted floats are added in parts that depend on how many threads there are.
    rows = deployment.scan("predictions", first=first, last=as_of).collect()
    found = rows.group_by("day").agg(
        leads=pl.len().cast(pl.Int64),
        mean_probability=pl.col(probability).sort().mean(),
        score_spread=pl.col(probability).sort().std(),
        expected_value=pl.col("elv").sort().sum(),
        # What scored the day; a lead that arrived late was perhaps scored by the next model.
        model_version=pl.col("model_version").sort_by("scored_at", "model_version").first(),
    )
    written = [day for day in deployment.lake.days("predictions") if first <= day <= as_of]
    days = pl.DataFrame({"day": written}, schema={"day": pl.Date})
    full = days.join(found, on="day", how="left", validate="1:1").with_columns(
        pl.col("leads").fill_null(0), pl.col("expected_value").fill_null(0.0)
    )
    return (
        full.join(_drifted(deployment, first=first, last=as_of), on="day", how="left", validate="1:1")
        .with_columns(held=pl.col("day").is_in(held))
        .select(*DAYS)
        .sort("day")
    )


def drift_history(deployment: Deployment, *, first: date, last: date) -> pl.DataFrame:
    """Rows of ``DRIFT`` with their day: what the watch found, and the daily comparison of days without a watch."""
    tables = [
        rows
        for name in (WATCHED, "drift")
        if (rows := _drift_rows(deployment, name, first=first, last=last)) is not None
    ]
    if not tables:
        return pl.DataFrame(schema={**DRIFT.schema, "day": pl.Date})
    seen = tables[0]["day"].unique() if len(tables) > 1 else pl.Series([], dtype=pl.Date)
    further = [rows.filter(~pl.col("day").is_in(seen.implode())) for rows in tables[1:]]
    return pl.concat([tables[0], *further]).sort("day", "kind", "column")


def _drift_rows(deployment: Deployment, table: str, *, first: date, last: date) -> pl.DataFrame | None:
    """Rows of a table of drift; days that an older version wrote lack the newer columns."""
    days = [day for day in deployment.lake.days(table) if first <= day <= last]
    parts = [pl.read_parquet(deployment.lake.partition(table, day)) for day in days]
    found = [
        rows.with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in DRIFT.schema.items() if name not in rows.columns
        )
        for rows in parts
    ]
    return pl.concat([rows.select(*DRIFT.schema, "day") for rows in found]) if found else None


def table_rows(deployment: Deployment, *, as_of: date) -> pl.DataFrame:
    """Rows of each raw table by day, for the trend of volumes."""
    first = max(as_of - timedelta(days=max(WATCHED_DAYS, WINDOW_DAYS)), deployment.first_day)
    rows = [
        (table, day, count)
        for table in deployment.counted_tables
        for day, count in deployment.lake.row_counts(table, days_between(first, as_of)).items()
    ]
    return pl.DataFrame(rows, schema={"table": pl.String, "day": pl.Date, "rows": pl.Int64}, orient="row")


def cohort_prevalence(watched: Watched) -> list[dict[str, Any]]:
    """Observed against expected outcomes of each cohort whose leads are mature."""
    if watched.judged is None:
        return []
    mature = watched.judged.filter(pl.col("y").is_not_null())
    return [
        {"cohort": cohort, **prevalence(mature.filter(pl.col("cohort") == cohort))}
        for cohort in mature["cohort"].unique().sort().to_list()
    ]


def newest_writes(deployment: Deployment, *, most: int = 20) -> list[dict[str, Any]]:
    """The newest rows of the ledger of scores, newest first; none where nothing was ever written.

    Raises:
        ConfigError: the address of the database is missing or is none.
        SourceError: the database cannot be reached or refuses.
    """
    chosen = scores_connection(deployment.config, deployment.home)
    engine = open_engine(chosen, purpose="ledger")

    def read() -> list[dict[str, Any]]:
        with engine.connect() as connection:
            schema = None if connection.dialect.name == "sqlite" else SCHEMA
            if not inspect(connection).has_table(SCORE_RUNS.name, schema=schema):
                return []
            newest = select(SCORE_RUNS).order_by(SCORE_RUNS.c.write_id.desc()).limit(most)
            wanted = newest.where(SCORE_RUNS.c.org_id == deployment.config.org_id)
            return [dict(row) for row in connection.execute(wanted).mappings()]

    try:
        return with_retries(read, dialect=engine.dialect.name, attempts=chosen.attempts, where=describe(engine))
    finally:
        engine.dispose()


def model_rows(deployment: Deployment) -> list[dict[str, Any]]:
    """Registered versions with the origin of each."""
    versions = ModelRegistry(deployment.home).versions(deployment.name)
    return [{"version": handle.version, "origin": handle.origin} for handle, _ in versions]


def _judged(deployment: Deployment, *, as_of: date, model: ModelBundle) -> pl.DataFrame | None:
    first = as_of - timedelta(days=WATCHED_DAYS)
    scored = [day for day in deployment.lake.days("predictions") if first <= day <= as_of]
    if not deployment.has_outcomes or not scored:
        return None
    labelled = any(scored[0] <= day <= as_of for day in deployment.lake.days("matured_labels"))
    if not labelled:
        return None
    return judgeable(
        deployment.scan_once_a_lead("predictions", first=scored[0], last=as_of).collect(),
        deployment.scan_once_a_lead("matured_labels", first=scored[0], last=as_of).collect(),
        observation=deployment.observation(origin=deployment.midnight(as_of + timedelta(days=1))),
        probability_column=deployment.config.probability_column,
        learned_value="value_model" in model.metadata,
    )


def _reconciled(promised: pl.DataFrame | None) -> dict[str, Any] | None:
    """Whether the estimates of the champion's own scores held; an earlier model's failures are not its own."""
    if promised is None or promised.is_empty():
        return None
    return reconcile(performance_table(cohort_performance(promised)))


def _unusual(deployment: Deployment, as_of: date) -> list[DayFinding]:
    """What is unusual about the inputs of the watched day and does not hold it."""
    counts = table_rows(deployment, as_of=as_of)
    if counts.is_empty():
        return []
    end = deployment.midnight(as_of + timedelta(days=1))
    found = completeness(counts, as_of, settings=deployment.config.monitoring, day_end=end)
    return [finding for finding in found if not finding.holds]


def _newest(deployment: Deployment, matured: pl.DataFrame | None) -> pl.DataFrame | None:
    """Of the mature leads those of the ``reporting.leaderboard_days`` that matured last."""
    if matured is None or matured.is_empty():
        return None
    newest = matured.select(pl.col("day").max()).item()
    return matured.filter(pl.col("day") > newest - timedelta(days=deployment.config.reporting.leaderboard_days))


def _drift(
    deployment: Deployment, model: ModelBundle, *, as_of: date, handle: ModelHandle, matured: pl.DataFrame | None
) -> list[dict[str, Any]]:
    reach = deployment.config.reporting.drift_days
    first = as_of - timedelta(days=reach - 1)
    if not any(first <= day <= as_of for day in deployment.lake.days("features")):
        return []
    held = held_days(held_record(deployment))
    rows = deployment.scan("features", first=first, last=as_of).filter(~pl.col("day").is_in(held)).collect()
    current = with_score(model, rows)
    if any(first <= day <= as_of for day in deployment.lake.days("predictions")):
        worth = deployment.scan("predictions", first=first, last=as_of).select("lead_id", "elv").collect()
        current = current.join(worth, on="lead_id", how="left", validate="1:1")
    references = references_of(
        model, stretch_days=reach, rows=_reference_rows(deployment, handle, columns=rows.columns)
    )
    return watch(references, current, matured=matured, features=model.schema.names)


def _reference_rows(deployment: Deployment, handle: ModelHandle, *, columns: Sequence[str]) -> pl.DataFrame | None:
    """Leads of the weeks before the model's origin; None where the lake holds too few, or other columns."""
    last = handle.origin_day(deployment.config.zone) - timedelta(days=1)
    first = last - timedelta(days=REFERENCE_DAYS - 1)
    if not any(first <= day <= last for day in deployment.lake.days("features")):
        return None
    rows = deployment.scan("features", first=first, last=last).collect()
    return rows if rows.height and list(rows.columns) == list(columns) else None


def _calibration(model: ModelBundle, matured: pl.DataFrame | None, *, words: Words) -> dict[str, Any] | None:
    if matured is None:
        return None
    reference = model.metadata.get("calibration_reference")
    return calibration_drift(reference, calibration(matured), chance=CHANCE, words=words)


def _freshness(deployment: Deployment, *, as_of: date) -> list[TableAge]:
    found = []
    for table, source in deployment.sources.items():
        newest = date.fromisoformat(source["last_day"]) if source.get("last_day") else None
        found.append(
            TableAge(
                table=table,
                newest_day=min(newest, as_of) if newest else None,
                recorded_at=_recorded(deployment, table),
            )
        )
    return found


def _recorded(deployment: Deployment, table: str) -> datetime | None:
    if table not in deployment.config.extracts.queries:
        return None
    found = snapshots_in(extracts_folder(deployment) / table)
    return max((snapshot.manifest.recorded_at for snapshot in found), default=None)


def _drifted(deployment: Deployment, *, first: date, last: date) -> pl.DataFrame:
    rows = drift_history(deployment, first=first, last=last)
    return rows.group_by("day").agg(drifted=pl.col("drifted").fill_null(False).sum().cast(pl.Int64))
