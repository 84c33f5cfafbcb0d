"""Proof assets: the run's bundle with its report, and the scoring of leads that belong to no partition yet.

Belongs here: the asset functions. Does not belong here: what a bundle holds (``publishing/run_bundle.py``).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import polars as pl
from pydantic import Field

from elv_pipeline.contracts.outputs import predictions_contract
from elv_pipeline.decisions.predictions import predictions as score
from elv_pipeline.decisions.predictions import rank_predictions
from elv_pipeline.errors import ElvError, ScoringRefusedError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.ingest.tables import read_leads
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.assets.completeness import held_among
from elv_pipeline.orchestration.assets.scoring import (
    drift_of,
    drift_of_days,
    scored_days,
    scoring_run,
    with_score,
    withheld,
    withheld_of_models,
)
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import lineage, picture, schema_of_contract, table_metadata
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.lineage import predictions_lineage
from elv_pipeline.orchestration.models_in_use import compatible_model, rows_by_model, several_models
from elv_pipeline.orchestration.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from elv_pipeline.orchestration.resources import ScoringModel, TrainingOrigin, narrated
from elv_pipeline.orchestration.run_content import ScoredRun, bundle_inputs
from elv_pipeline.publishing.pages import scoring_charts
from elv_pipeline.publishing.registry.model_handle import ModelHandle, load_model, read_handle
from elv_pipeline.publishing.registry.model_registry import ModelRegistry
from elv_pipeline.publishing.run_bundle import write_run_bundle
from elv_pipeline.tables.joins import join_leads


class ReportConfig(dg.Config):
    """What a report is about.

    Attributes:
        kind: ``score`` reports the scored days of the run, ``train`` the candidate of the run's origin.
        only: days (ISO 8601) that were asked for; of others only the leads that the run scored. Empty: all of the run.
        truth_path: true probabilities of synthetic leads, if there are any.
    """

    kind: Literal["score", "train"] = "score"
    only: list[str] = Field(default_factory=list)
    truth_path: str = ""


class BatchConfig(dg.Config):
    """Leads to score outside the partitions: a CSV with the columns of the leads export."""

    leads_path: str


def report_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The run report."""
    return [_run_report_asset(deployment, parts)]


def _run_report_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    nouns = (
        "data_profile",
        "champion",
        "predictions",
        *deployment.boards,
        "drift",
        "lead_scores",
    )

    @asset(
        **parts.common("run_report", group="proof", kinds={"html"}, deps=dict.fromkeys(nouns)),
        description="The run's bundle: manifest, metrics, predictions, leaderboards, drift, cards, and report.html, "
        "which opens offline.",
    )
    def run_report(
        context: dg.AssetExecutionContext,
        config: ReportConfig,
        scoring_model: ScoringModel,
        training_origin: TrainingOrigin,
    ) -> dg.MaterializeResult:
        with narrated(context, "writing the bundle and the report"):
            if config.kind == "train":
                run = _trained_run(deployment, context.run.run_id, tags=context.run.tags, asked=training_origin)
            else:
                run = _scored_run(deployment, context.run.run_id, config, tags=context.run.tags, chosen=scoring_model)
            inputs = bundle_inputs(deployment, run, truth_path=config.truth_path)
            folder = write_run_bundle(deployment.home, inputs)
            if config.kind == "train":
                cards = [folder / name for name in ("MODEL_CARD.md", "DATA_CARD.md")]
                ModelRegistry(deployment.home).log_cards(run.handle, cards)
        return dg.MaterializeResult(metadata=_bundle_metadata(deployment, folder, inputs.content.manifest, run))

    return run_report


def _bundle_metadata(deployment: Deployment, folder: Path, manifest: dict[str, Any], run: ScoredRun) -> dict[str, Any]:
    return {
        "report": dg.MetadataValue.url((folder / "report.html").as_uri()),
        "bundle": dg.MetadataValue.path(str(folder)),
        "scored_leads": run.predictions.height,
        "model_version": run.handle.version,
        "alerts": [alert["message"] for alert in manifest["alerts"]],
        "as_of_date": manifest["as_of_date"],
        "score_distribution": picture(
            scoring_charts.score_distribution(
                run.predictions, probability=deployment.config.probability_column, noun=deployment.words.row_noun
            ),
            title="Scores",
        ),
    }


def _scored_run(
    deployment: Deployment, run_id: str, config: ReportConfig, *, tags: Mapping[str, str], chosen: ScoringModel
) -> ScoredRun:
    last = tags.get(RANGE_END_TAG) or tags.get(PARTITION_TAG)
    first = tags.get(RANGE_START_TAG) or tags.get(PARTITION_TAG)
    days = scored_days(deployment, date.fromisoformat(last) if last else None)
    # The run's own days, not those of the boards: a run whose only day is held back has a report without leads.
    rows = deployment.scan(
        "predictions", first=date.fromisoformat(first or str(days[0])), last=date.fromisoformat(last or str(days[-1]))
    ).collect()
    if config.only:  # a day that was left alone has its own report; of it only late leads are news
        asked = [date.fromisoformat(day) for day in config.only]
        rows = rows.filter(pl.col("day").is_in(asked) | (pl.col("run_id") == run_id))
    # A held day that has scores keeps them; they were reported by their own run, and their model may be gone since.
    held = held_among(deployment, rows["day"].unique().to_list())
    rows = rows.filter(~pl.col("day").is_in(held))
    board_rows = deployment.scan("predictions", first=days[0], last=days[-1]).collect()
    parts = rows_by_model(deployment, rows, chosen)
    # Without leads there is only the model that would have scored them.
    handle, model = (parts[0].handle, parts[0].model) if parts else compatible_model(deployment, chosen)
    return ScoredRun(
        run_id=run_id,
        kind="score",
        as_of=days[-1],
        handle=handle,
        model=model,
        predictions=_ranked(deployment, rows),
        board_rows=board_rows,
        board_days=days,
        drift=drift_of_days(deployment, model, [days[-1]])[days[-1]],
        notes=[*withheld_of_models(deployment, parts), *several_models(parts)],
        further=parts[1:],
    )


def _trained_run(deployment: Deployment, run_id: str, *, tags: Mapping[str, str], asked: TrainingOrigin) -> ScoredRun:
    week = tags.get(PARTITION_TAG)
    if week is None:
        raise ElvError("a training report needs the origin of its run; materialise it with a weekly partition")
    origin = str(asked.day(date.fromisoformat(week)))
    handle: ModelHandle = read_handle(deployment.home.models(deployment.name) / origin / "candidate.json")
    model = load_model(handle)
    table = deployment.lake.read_frame(f"training_table/{origin}")
    if table is None:
        raise ElvError(f"training_table of {origin} is gone; materialise it again")
    rows = score(table, model, run=scoring_run(deployment, run_id=run_id, handle=handle))
    reach = date.fromisoformat(origin) - timedelta(days=deployment.config.reporting.leaderboard_days)
    recent = rows.filter(pl.col("day") >= reach)
    return ScoredRun(
        run_id=run_id,
        kind="train",
        as_of=max(rows["day"]),
        handle=handle,
        model=model,
        predictions=rows,
        board_rows=recent if recent.height else rows,
        drift=list(handle.evidence().metrics["psi_train_test"].values()),
    )


def _ranked(deployment: Deployment, rows: pl.DataFrame) -> pl.DataFrame:
    return rank_predictions(
        rows,
        probability_column=deployment.config.probability_column,
        id_columns=deployment.words.id_columns,
    )


def batch_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    """The scoring of leads that are given as a file."""
    contract = predictions_contract(deployment.config.probability_column)

    @asset(
        **parts.common(
            "batch_predictions",
            group="batch",
            kinds={"csv", "polars"},
            deps={"joined_leads": None, "champion": None},
        ),
        description="Scores of leads given as a file, such as today's, which have no partition yet: every row given is "
        "scored from the history in the lake, into the run's own bundle. Their outcomes are never looked at.",
    )
    def batch_predictions(
        context: dg.AssetExecutionContext, config: BatchConfig, scoring_model: ScoringModel
    ) -> dg.MaterializeResult:
        with narrated(context, "scoring the leads of the file"):
            handle, model = compatible_model(deployment, scoring_model)
            given = read_leads(config.leads_path, _without_start(deployment)).frame
            leads = Forgotten.load(forgotten_file(deployment.home, deployment.name)).without(given)
            features = batch_features(deployment, leads)
            scored = score(features, model, run=scoring_run(deployment, run_id=context.run.run_id, handle=handle))
            broken = withheld(deployment, scored.drop("day"), model)
            if broken:
                raise ScoringRefusedError(" ".join(f"{alert['message']} {alert['action']}" for alert in broken))
            run = ScoredRun(
                run_id=context.run.run_id,
                kind="batch",
                as_of=max(leads["day"]),
                handle=handle,
                model=model,
                predictions=scored,
                board_rows=scored,
                drift=drift_of(model, with_score(model, features)),
                notes=[*_reach_notes(deployment, leads), *_unknown_ids(deployment, features)],
                joined=features.select(deployment.problem.key_columns),
            )
            folder = write_run_bundle(deployment.home, bundle_inputs(deployment, run, truth_path=""))
        return dg.MaterializeResult(
            metadata={
                **table_metadata(scored.drop("day"), schema=schema_of_contract(contract)),
                "dagster/column_lineage": lineage(
                    predictions_lineage(
                        deployment.config.probability_column,
                        features=("created_time",),
                        table="joined_leads",
                        id_columns=deployment.words.id_columns,
                    ),
                    deployment=deployment,
                ),
                "bundle": dg.MetadataValue.path(str(folder)),
                "scored_at": datetime.now(UTC).isoformat(),
            }
        )

    return batch_predictions


def _without_start(deployment: Deployment) -> Any:
    """The configuration for a batch: its leads need not lie inside the calendar."""
    return deployment.config.model_copy(update={"start_date": None})


def batch_features(deployment: LeadAdsDeployment, leads: pl.DataFrame) -> pl.DataFrame:
    """Features of leads outside the partitions, from the lake's history up to each lead's moment."""
    config = deployment.config
    first, last = leads["day"].min(), leads["day"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    if last < deployment.first_day:
        raise ScoringRefusedError(
            f"{config.name}: the newest lead to score is of {last}, but the history begins on {deployment.first_day} "
            f"(start_date); nothing is known about leads before it. Give later leads."
        )
    lag, lookback = config.feature_lag_days, deployment.problem.hierarchy_lookback_days
    mapping = deployment.lake.read_frame("lead_to_ad_map") if config.paths.lead_to_ad_map_path else None
    joined = join_leads(
        leads.lazy(),
        hierarchy=deployment.scan("ads", first=first - timedelta(days=lookback + lag), last=last)
        if config.paths.ads_path
        else None,
        mapping=mapping.lazy() if mapping is not None else None,
        lag_days=lag,
        lookback_days=lookback,
    ).collect()
    plan = deployment.features(joined.lazy(), first=first, last=last, extra=joined.lazy())
    return plan.collect(engine="streaming")


def _reach_notes(deployment: Deployment, leads: pl.DataFrame) -> list[dict[str, str]]:
    """Say so where the history in the lake does not cover what the leads of a batch need."""
    found = []
    reach = min(
        _reach(deployment, table) for table in ("leads", *(["ads"] if deployment.config.paths.ads_path else []))
    )
    beyond = leads.filter(pl.col("day") > reach + timedelta(days=1)).height
    if beyond:
        found.append(
            {
                "severity": "warning",
                "code": "history_ends_early",
                "message": f"{beyond} of {leads.height} leads were created more than a day after the newest data of "
                f"the exports ({reach}); their trailing windows are incomplete.",
                "action": "Update the exports and run 'elv build-table', then score the batch again.",
            }
        )
    before = leads.filter(pl.col("day") < deployment.first_day).height
    if before:
        found.append(
            {
                "severity": "warning",
                "code": "leads_before_history",
                "message": f"{before} of {leads.height} leads were created before the history begins "
                f"({deployment.first_day}); they are scored without any.",
                "action": "Leave them out, or start the calendar earlier (start_date) in another home.",
            }
        )
    return found


def _unknown_ids(deployment: Deployment, joined: pl.DataFrame) -> list[dict[str, str]]:
    """Say how many leads carry an id that the ads export has never shown: they are scored without ad activity."""
    found = deployment.join_summary(joined).get("found_in_ads", {})
    carried = {column: joined.height - joined[column].null_count() for column in found}
    unknown = {column: carried[column] - int(found[column]["leads"]) for column in found}
    worst = max(unknown, key=lambda column: unknown[column], default=None)
    if worst is None or unknown[worst] == 0:
        return []
    return [
        {
            "severity": "warning",
            "code": "ids_unknown_to_ads",
            "message": f"{unknown[worst]} of {carried[worst]} leads with {worst} carry one that the ads export does "
            f"not know; they are scored without its activity.",
            "action": f"Check that the file uses the same {worst} as the ads export, or update the export.",
        }
    ]


def _reach(deployment: Deployment, table: str) -> date:
    last = deployment.source(table).get("last_day")
    return date.fromisoformat(last) if last else deployment.first_day
