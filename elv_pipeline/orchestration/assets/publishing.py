"""The asset that publishes scores: guards, rollout and the upsert, in this order.

Belongs here: the asset function. Does not belong here: the rules (``decisions/``), what must hold before scores leave
(``publication.py``), or SQL (``publishing/``).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.assets.completeness import held_among
from elv_pipeline.orchestration.assets.scoring import withheld_of_models
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import lineage, note_partition_rows, schema_of_frame, table_metadata
from elv_pipeline.orchestration.due_days import left_alone, note_published
from elv_pipeline.orchestration.late_leads import is_unpublished, note_late_published
from elv_pipeline.orchestration.lineage import scores_lineage
from elv_pipeline.orchestration.models_in_use import ModelRows, model_place, rows_by_model
from elv_pipeline.orchestration.partitions import DayRange, day_range
from elv_pipeline.orchestration.publication import takes_part, write
from elv_pipeline.orchestration.resources import ScoringModel, narrated
from elv_pipeline.publishing.scores.rows import score_rows

WRITTEN = "written"
"""Document of the lake: what the newest write of scores did."""


class PublishConfig(dg.Config):
    """Whether scores leave.

    Attributes:
        persist: write scores to the database; else they stay in the lake and the bundle.
        only: days (ISO 8601) whose scores are written; of other scored days only leads that arrived late. Empty: all.
        now: the present moment (ISO 8601); empty for the clock's. Only a rehearsal of past days gives one.
    """

    persist: bool = True
    only: list[str] = Field(default_factory=list)
    now: str = ""

    @property
    def moment(self) -> datetime:
        """The present moment, UTC."""
        return datetime.fromisoformat(self.now).astimezone(UTC) if self.now else datetime.now(UTC)


def publishing_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The table of scores."""
    kind = "sql" if deployment.config.databases.scores else "sqlite"

    @asset(
        **parts.daily("lead_scores", group="scoring", kinds={kind, "table"}, deps={"predictions": None}),
        description="Scores upserted into dbo.lead_scores on (org_id, enrollment_id, label_col), with their history "
        "and the ledger of writes: staged, compared, one transaction; a second run changes nothing.",
    )
    def lead_scores(
        context: dg.AssetExecutionContext, config: PublishConfig, scoring_model: ScoringModel
    ) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"writing scores of {days}"):
            held = held_among(deployment, days.days)
            alone = left_alone(deployment, set(days.days) - set(held), only=config.only)
            whole = [day for day in days.days if day not in {*held, *alone}]
            scored = _leaving(deployment, days, whole=whole, alone=alone)
            models = rows_by_model(deployment, scored, scoring_model)
            suspicious = " ".join(alert["message"] for alert in withheld_of_models(deployment, models))
            why = suspicious or _kept_back(deployment, config)
            leaving = _rows(deployment, scored, models=models, moment=config.moment)
            counts = None if why else write(deployment.config, deployment.home, leaving, now=config.moment)
        if not suspicious:  # what a guard withholds stays owed until it may leave
            kept_back_by = context.run.run_id if why else ""
            note_published(deployment, whole, kept_back_by=kept_back_by)
            note_late_published(deployment, [*whole, *alone], kept_back_by=kept_back_by)
        document = {
            "run_id": context.run.run_id,
            "first_day": str(days.first),
            "last_day": str(days.last),
            "withheld": why,
            "late": _late(scored, alone),
            **({} if counts is None else vars(counts)),
        }
        deployment.lake.write_json(WRITTEN, document)
        if counts is None:
            return dg.MaterializeResult(metadata={"dagster/row_count": 0, "withheld": why})
        note_partition_rows(context, dict(scored.group_by("day").len().iter_rows()))
        return dg.MaterializeResult(metadata=_metadata(deployment, leaving, document=document))

    return [lead_scores]


def _leaving(deployment: Deployment, days: DayRange, *, whole: list[date], alone: list[date]) -> pl.DataFrame:
    """Scores that go to the database: of whole days, and of leads that arrived late on days that are left alone.

    What the others of such a day were told is written already.
    """
    rows = deployment.scan("predictions", first=days.first, last=days.last)
    late = pl.col("day").is_in(alone) & is_unpublished(deployment)
    return rows.filter(pl.col("day").is_in(whole) | late).collect()


def _late(scored: pl.DataFrame, alone: list[date]) -> dict[str, int]:
    """How many leads arrived late, by day."""
    late = scored.filter(pl.col("day").is_in(alone)).group_by("day").len().sort("day")
    return {str(day): count for day, count in late.iter_rows()}


def _kept_back(deployment: Deployment, config: PublishConfig) -> str:
    """Why scores stay here on purpose; empty where they leave."""
    if not config.persist:
        return "The run was asked not to write scores."
    if not takes_part(deployment.config):
        return (
            f"{deployment.config.org_id} is not yet inside the {deployment.config.rollout.share:.0%} of the "
            f"organisations whose scores are written (rollout.share)."
        )
    return ""


def _rows(
    deployment: Deployment, scored: pl.DataFrame, *, models: Sequence[ModelRows], moment: datetime
) -> pl.DataFrame:
    """Rows of the table, each with the place of the model that made it."""
    config = deployment.config
    placed: list[tuple[pl.DataFrame, str | None]] = [
        (part.rows, model_place(deployment.home, part.handle)) for part in models
    ]
    newest = _newest(deployment, scored)
    return pl.concat(
        score_rows(
            rows if newest is None else rows.join(newest, on="lead_id", how="semi", maintain_order="left"),
            org_id=config.org_id,
            label_column=config.label_column,
            probability_column=config.probability_column,
            written_at=moment,
            model_path=place,
            entity_id=deployment.words.entity_id,
        )
        for rows, place in (placed or [(scored, None)])  # without rows the table keeps its columns
    )


def _newest(deployment: Deployment, scored: pl.DataFrame) -> pl.DataFrame | None:
    """Which of some rows are the newest score of their entity; None where each row is an entity of its own.

    Whatever days are written again: a later day's score of the same enrollment stays.
    """
    entity = deployment.words.entity_id
    if entity is None or scored.is_empty():
        return None
    first = scored["day"].min()
    assert isinstance(first, date)
    since = deployment.scan("predictions", first=first, last=date.max)
    newest = since.select("lead_id", entity, "created_time").sort("created_time", "lead_id")
    return newest.unique(entity, keep="last", maintain_order=True).select("lead_id").collect()


def _metadata(deployment: Deployment, rows: pl.DataFrame, *, document: dict[str, Any]) -> dict[str, Any]:
    return {
        **table_metadata(rows, schema=schema_of_frame(rows)),
        "dagster/column_lineage": lineage(scores_lineage(deployment.config.probability_column), deployment=deployment),
        "dagster/table_name": "dbo.lead_scores",
        **{name: document[name] for name in ("inserted", "updated", "unchanged")},
    }
