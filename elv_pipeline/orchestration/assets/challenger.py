"""The challenger: it scores beside the champion, nothing uses its scores, and a report compares the two.

Belongs here: the asset functions. Does not belong here: the comparison (``decisions/overlap.py``) or the promotion of
a challenger (``registry.py``).
"""

from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.decisions.overlap import overlap
from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import note_partition_rows, preview
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.publishing.registry.model_handle import ModelHandle, load_model
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.tables.labels import with_status

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "lead_id": pl.String,
    "created_time": pl.Datetime("us", "UTC"),
    "day": pl.Date,
    "probability": pl.Float64,
    "model_version": pl.String,
}
REPORTED_DAYS = 84
"""Days that the comparison looks back on: long enough for several weeks of outcomes to have matured."""


def challenger_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Scores of the challenger, and the comparison."""
    return [_predictions_asset(deployment, parts), _report_asset(deployment, parts)]


def _predictions_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily(
            "challenger_predictions",
            group="scoring",
            kinds={"polars", "parquet"},
            deps={"features": None, "champion": None},
        ),
        description="What the challenger says about the same leads; nothing acts on it. Empty without a challenger.",
    )
    def challenger_predictions(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"scoring leads of {days} with the challenger"):
            deployment.lake.require_days("features", days.days)
            challenger = ModelRegistry(deployment.home).challenger(deployment.name)
            scored, note = pl.DataFrame(schema=SCHEMA), "there is no challenger"
            if challenger is not None:
                features = deployment.scan("features", first=days.first, last=days.last).collect()
                scored, note = _scored(deployment, challenger, features)
            rows = deployment.lake.write_days("challenger_predictions", scored, days=days.days)
        note_partition_rows(context, rows)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": scored.height,
                "preview": preview(scored),
                "challenger_version": challenger.version if challenger else "none",
                "note": note,
            }
        )

    return challenger_predictions


def _scored(deployment: Deployment, challenger: ModelHandle, features: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The challenger's scores; none, and why, where it does not fit: it must never stop the champion."""
    try:
        model = load_model(challenger)
        model.require_compatible(
            outcome_window_days=deployment.label_reach_days,
            feature_lag_days=deployment.config.feature_lag_days,
            target=deployment.config.label_column,
            timezone=deployment.config.timezone,
        )
        p = model.predict(features)
    except ScoringRefusedError as error:
        return pl.DataFrame(schema=SCHEMA), f"the challenger cannot score: {str(error).splitlines()[0]}"
    scored = features.select("lead_id", "created_time", "day").with_columns(
        probability=pl.Series(p, dtype=pl.Float64), model_version=pl.lit(challenger.version)
    )
    return scored.sort("created_time", "lead_id"), "scored beside the champion"


def _report_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common(
            "challenger_report",
            group="proof",
            kinds={"json"},
            deps=dict.fromkeys(("challenger_predictions", "predictions", "matured_labels")),
        ),
        description=f"Challenger against champion on the leads of the last {REPORTED_DAYS} days that both scored: "
        "agreement of the top of the list, rank shifts, and wins and losses once outcomes mature.",
    )
    def challenger_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "comparing challenger and champion"):
            document = compare_with_challenger(deployment)
            deployment.lake.write_json("challenger_report", document)
        return dg.MaterializeResult(
            metadata={
                "summary": document["sentence"],
                "leads": document["leads"],
                "challenger_version": document["challenger_version"] or "none",
                "top": dg.MetadataValue.json(document.get("top", [])),
                "proof": dg.MetadataValue.json(document.get("proof") or {}),
            }
        )

    return challenger_report


def compare_with_challenger(deployment: Deployment) -> dict[str, Any]:
    """The comparison on the days that both scored, by the challenger's present version only."""
    challenger = ModelRegistry(deployment.home).challenger(deployment.name)
    written = deployment.lake.days("challenger_predictions")
    if challenger is None or not written:
        why = "There is no challenger." if challenger is None else "The challenger has not scored a day yet."
        return {"leads": 0, "challenger_version": challenger and challenger.version, "sentence": why}
    first, last = written[-1] - timedelta(days=REPORTED_DAYS - 1), written[-1]
    probability = deployment.config.probability_column
    entity = [name for name in [deployment.words.entity_id] if name is not None]
    champion = deployment.scan("predictions", first=first, last=last).select(
        "lead_id", "split", *entity, champion=probability, champion_version="model_version"
    )
    status = with_status(
        deployment.scan("matured_labels", first=first, last=last),
        observation=deployment.observation(),
        labelled=deployment.has_outcomes,
    )
    both = (
        deployment.scan("challenger_predictions", first=first, last=last)
        .filter(pl.col("model_version") == challenger.version)
        .select("lead_id", "created_time", challenger="probability")
        # A model that learned from a lead would look better on it than it is.
        .filter(pl.col("created_time") >= deployment.midnight(challenger.origin_day(deployment.config.zone)))
        .join(champion.filter(~pl.col("split").is_in(["train", "calibration"])), on="lead_id", validate="1:1")
        .join(status.select("lead_id", "y"), on="lead_id", how="left", validate="1:1")
        .collect()
    )
    document = overlap(
        both,
        timezone=deployment.config.timezone,
        seed=deployment.config.model.seed,
        samples=deployment.config.model.bootstrap_samples,
        entity=deployment.words.entity_id,
        words=deployment.words,
    )
    versions = sorted(both["champion_version"].unique().to_list())
    return {**document, "challenger_version": challenger.version, "champion_versions": versions}
