"""Scoring assets: predictions and drift.

Belongs here: the asset functions. Does not belong here: models (``learning/``), decisions, PSI, or publishing scores
(``publishing.py``).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from elv_pipeline.contracts.outputs import DRIFT, predictions_contract
from elv_pipeline.decisions.guards import RecentLabels, guards
from elv_pipeline.decisions.predictions import ScoringRun
from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.lake import content_checksum, days_between
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.monitoring.watch import References, watch
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.assets.completeness import held_among, settle_days
from elv_pipeline.orchestration.assets.learning import SCORE
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import (
    lineage,
    note_partition_rows,
    picture,
    schema_of_contract,
    table_metadata,
)
from elv_pipeline.orchestration.due_days import outdated
from elv_pipeline.orchestration.lineage import drift_lineage, predictions_lineage
from elv_pipeline.orchestration.models_in_use import ModelRows, compatible_model
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.resources import ScoringModel, narrated
from elv_pipeline.orchestration.scored_leads import chosen_days, score_leads, write_scored
from elv_pipeline.orchestration.speaking import reason_spec
from elv_pipeline.publishing.pages import scoring_charts
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.publishing.run_bundle import RUN_COLUMNS
from elv_pipeline.tables.labels import with_status


class PredictConfig(dg.Config):
    """Which days of a run are scored.

    Attributes:
        only: days (ISO 8601) to be scored; others that have scores keep them, and only leads that arrived late on them
            are scored. Empty: all.
        now: the present moment (ISO 8601); empty for the clock's. Only a rehearsal of past days gives one.
    """

    only: list[str] = Field(default_factory=list)
    now: str = ""

    @property
    def moment(self) -> datetime:
        """The present moment, UTC."""
        return datetime.fromisoformat(self.now).astimezone(UTC) if self.now else datetime.now(UTC)


class AskedConfig(dg.Config):
    """Which days of a run are asked for.

    Attributes:
        only: days (ISO 8601) that are asked for; a summary of days before them is made anew only where a lead has
            arrived late. Empty: all.
    """

    only: list[str] = Field(default_factory=list)


def scoring_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Predictions of a day, and their drift."""
    return [
        _predictions_asset(deployment, parts),
        _drift_asset(deployment, parts),
    ]


def _predictions_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    probability = deployment.config.probability_column
    contract = predictions_contract(probability, id_columns=deployment.words.id_columns, words=deployment.words)

    @asset(
        **parts.daily(
            "predictions",
            group="scoring",
            kinds={"polars", "parquet"},
            deps={"features": None, "champion": None, "day_completeness": None},
        ),
        description=f"Calibrated probability and expected value of each {deployment.words.row}, best first, by the "
        f"champion (or the model file that the run names). A day that is held back, or has scores and is not asked "
        f"for, keeps them; to the latter, {deployment.words.rows} that arrived late are added.",
        check_specs=[
            dg.AssetCheckSpec(
                "plausible",
                asset=parts.key("predictions"),
                description="One finite probability a lead, not the same one for all, and outcomes still arrive; "
                "otherwise nothing is published.",
            ),
        ],
    )
    def predictions(
        context: dg.AssetExecutionContext, config: PredictConfig, scoring_model: ScoringModel
    ) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"scoring leads of {days}"):
            deployment.lake.require_days("features", days.days)
            handle, model = compatible_model(deployment, scoring_model)
            deployment.require_recipe()
            run = scoring_run(deployment, run_id=context.run.run_id, handle=handle, scored_at=config.moment)
            chosen = chosen_days(deployment, days, only=config.only)
            scored = score_leads(deployment, chosen, model, run=run)
            contract.validate(scored.drop("day"), place="predictions")
            write_scored(deployment, scored, chosen)
            settle_days(deployment, chosen.whole, now=config.moment)
        note_partition_rows(context, deployment.lake.row_counts("predictions", days.days))
        return dg.MaterializeResult(
            metadata={
                **table_metadata(scored, schema=schema_of_contract(contract)),
                "model_version": handle.version,
                **chosen.told(scored),
                **_scored_metadata(deployment, scored, features=model.schema.names),
            },
            data_version=dg.DataVersion(content_checksum(scored, exclude=RUN_COLUMNS)),
            check_results=[_plausible(scored, withheld(deployment, scored, model))],
        )

    return predictions


def _scored_metadata(deployment: Deployment, scored: pl.DataFrame, *, features: Sequence[str]) -> dict[str, Any]:
    probability, words = deployment.config.probability_column, deployment.words
    sources = predictions_lineage(probability, features=features, table="features", id_columns=words.id_columns)
    chart = scoring_charts.score_distribution(scored, probability=probability, noun=words.row_noun)
    return {
        "dagster/column_lineage": lineage(sources, deployment=deployment),
        "mean_probability": scored.select(pl.col(probability).mean()).item(),
        "expected_value": float(scored["elv"].sum()),
        "score_distribution": picture(chart, title="Scores"),
    }


def scoring_run(
    deployment: Deployment, *, run_id: str, handle: ModelHandle, scored_at: datetime | None = None
) -> ScoringRun:
    """What names a scoring run of this configuration; ``scored_at``: the clock's moment where none is given."""
    return ScoringRun(
        run_id=run_id,
        model_version=handle.version,
        scored_at=scored_at or datetime.now(UTC),
        probability_column=deployment.config.probability_column,
        value_per_qualified=deployment.config.value_per_qualified,
        reasons=reason_spec(deployment),
        id_columns=deployment.words.id_columns,
    )


def withheld(deployment: Deployment, scored: pl.DataFrame, model: ModelBundle) -> list[dict[str, str]]:
    """Critical alerts about scored rows; where there is one, nothing is published."""
    return guards(
        scored,
        probability_column=deployment.config.probability_column,
        base_rate=float(model.metadata["base_rate"]),
        recent=_recent_labels(deployment, scored),
        words=deployment.words,
    )


def withheld_of_models(deployment: Deployment, parts: Sequence[ModelRows]) -> list[dict[str, str]]:
    """The same about rows of several models, of each against its own; what holds for several is said once."""
    found = [alert for part in parts for alert in withheld(deployment, part.rows, part.model)]
    return list({alert["message"]: alert for alert in found}.values())


def _recent_labels(deployment: Deployment, scored: pl.DataFrame) -> RecentLabels | None:
    """Labels of the ``reporting.leaderboard_days`` of leads that had matured when the scored ones came in."""
    if not deployment.has_outcomes or scored.is_empty():
        return None
    newest: date = scored.select(pl.col("created_time").max().dt.date()).item()  # a day more or less does not matter
    last = newest - timedelta(days=deployment.label_reach_days + 1)
    first = last - timedelta(days=deployment.config.reporting.leaderboard_days)
    if not any(first <= day <= last for day in deployment.lake.days("matured_labels")):
        return None  # a calendar so young that no lead in it has matured
    status = with_status(
        deployment.scan("matured_labels", first=first, last=last), observation=deployment.observation()
    )
    y = status.select("y").collect()["y"].drop_nulls()
    return RecentLabels(labelled=y.len(), positives=int(y.sum()))


def _plausible(scored: pl.DataFrame, alerts: list[dict[str, str]]) -> dg.AssetCheckResult:
    once = scored["lead_id"].n_unique() == scored.height
    return dg.AssetCheckResult(
        check_name="plausible",
        passed=once and not alerts,
        severity=dg.AssetCheckSeverity.ERROR,
        description=" ".join(alert["message"] for alert in alerts) or None,
        metadata={"leads": scored.height, "one_row_a_lead": once, "alerts": [alert["code"] for alert in alerts]},
    )


def _drift_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    reach = deployment.config.reporting.drift_days

    @asset(
        **parts.daily(
            "drift",
            group="scoring",
            kinds={"polars"},
            deps={"features": Window(1 - reach, 0), "predictions": Window(1 - reach, 0)},
        ),
        description=f"How far features, score, missing values and categories of {reach} days are from the model's "
        "reference, with effect sizes, the money concerned, and thresholds that know the sample size.",
        check_specs=[
            dg.AssetCheckSpec(
                "score_stable", asset=parts.key("drift"), description="The distribution of scores has not moved."
            )
        ],
    )
    def drift(
        context: dg.AssetExecutionContext, config: AskedConfig, scoring_model: ScoringModel
    ) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"comparing {days} with the model's reference"):
            _, model = compatible_model(deployment, scoring_model)
            wanted = outdated(days.days, only=config.only, holds=lambda day: _drift_holds(deployment, day))
            results = drift_of_days(deployment, model, wanted)
            frame = pl.concat(
                [
                    pl.DataFrame(found, schema=DRIFT.schema).with_columns(pl.lit(day).alias("day"))
                    for day, found in results.items()
                ]
            )
            for day, found in frame.partition_by("day", as_dict=True).items():
                DRIFT.validate(found.drop("day"), place=f"drift of {day[0]}")
            deployment.lake.write_days("drift", frame, days=wanted)
        note_partition_rows(context, deployment.lake.row_counts("drift", days.days))
        moved = [
            str(day) for day, found in results.items() for row in found if row["kind"] == "score" and row["drifted"]
        ]
        return dg.MaterializeResult(
            metadata=_drift_metadata(deployment, results[days.last], features=model.schema.names),
            check_results=[
                dg.AssetCheckResult(
                    check_name="score_stable",
                    passed=not moved,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"days": len(results), "drifted_days": moved[:20]},
                )
            ],
        )

    return drift


def _drift_metadata(deployment: Deployment, newest: list[dict[str, Any]], *, features: Sequence[str]) -> dict[str, Any]:
    sources = drift_lineage(deployment.config.probability_column, features=features)
    return {
        **table_metadata(pl.DataFrame(newest, schema=DRIFT.schema), schema=schema_of_contract(DRIFT)),
        "dagster/column_lineage": lineage(sources, deployment=deployment),
        "drift": picture(
            scoring_charts.drift_chart(newest, words=deployment.words), title="Drift against the model's reference"
        ),
        "drifted_columns": [row["column"] for row in newest if row["drifted"]],
    }


def _drift_holds(deployment: Deployment, day: date) -> bool:
    """Whether the comparison of a day was made with all leads that are known today."""
    if not deployment.lake.partition("drift", day).is_file():
        return False
    days = days_between(day - timedelta(days=deployment.config.reporting.drift_days - 1), day)
    waiting = held_among(deployment, days)
    counts = deployment.lake.row_counts("features", [found for found in days if found not in waiting])
    compared = pl.read_parquet(deployment.lake.partition("drift", day)).filter(pl.col("kind") == "score")
    return compared["rows_current"].to_list() == [sum(counts.values())]


def drift_of_days(deployment: Deployment, model: ModelBundle, days: list[date]) -> dict[date, list[dict[str, Any]]]:
    """Drift of the ``reporting.drift_days`` that end at each day."""
    reach = timedelta(days=deployment.config.reporting.drift_days - 1)
    held = held_among(deployment, days_between(days[0] - reach, days[-1]))  # half a day is not how leads have become
    complete = deployment.scan("features", first=days[0] - reach, last=days[-1]).filter(~pl.col("day").is_in(held))
    features = with_score(model, complete.collect())
    worth = _worth(deployment, first=days[0] - reach, last=days[-1])
    rows = features.join(worth, on="lead_id", how="left", validate="1:1") if worth is not None else features
    return {day: drift_of(model, rows.filter(pl.col("day").is_between(day - reach, day))) for day in days}


def _worth(deployment: Deployment, *, first: date, last: date) -> pl.DataFrame | None:
    """Expected value of the scored leads of some days; None where no day was scored."""
    if not any(first <= day <= last for day in deployment.lake.days("predictions")):
        return None
    return deployment.scan("predictions", first=first, last=last).select("lead_id", "elv").collect()


def with_score(model: ModelBundle, features: pl.DataFrame) -> pl.DataFrame:
    """Feature rows with what the model says about them, as drift compares both."""
    return features.with_columns(pl.Series(SCORE, model.predict(features), dtype=pl.Float64))


def references_of(model: ModelBundle, *, stretch_days: int, rows: pl.DataFrame | None = None) -> References:
    """What later rows are compared with, as the model's bundle keeps it; ``rows``: of its training, where at hand."""
    return References(
        drift=model.metadata["drift_reference"],
        missing=model.metadata.get("missing_reference", {}),
        kinds={SCORE: "score"},
        rows=rows,
        stretch_days=stretch_days,
    )


def drift_of(model: ModelBundle, scored_features: pl.DataFrame) -> list[dict[str, Any]]:
    """Drift of ``with_score`` rows against the reference inside the model."""
    references = references_of(model, stretch_days=1)
    return watch(references, scored_features, matured=None, features=model.schema.names)


def scored_days(deployment: Deployment, last: date | None = None) -> list[date]:
    """Scored days up to ``last`` (default: the newest) among the last ``reporting.leaderboard_days``."""
    written = deployment.lake.days("predictions")
    if not written:
        raise ScoringRefusedError(f"{deployment.name}: no predictions yet. Run 'elv score' first.")
    end = last or written[-1]
    first = end - timedelta(days=deployment.config.reporting.leaderboard_days - 1)
    days = [day for day in written if first <= day <= end]
    return without_waiting(deployment, days) or days


def without_waiting(deployment: Deployment, days: list[date]) -> list[date]:
    """Written days but those that are held back and were never scored: their spend without leads would mislead."""
    held = deployment.lake.row_counts("predictions", held_among(deployment, days))
    return [day for day in days if held.get(day) != 0]
