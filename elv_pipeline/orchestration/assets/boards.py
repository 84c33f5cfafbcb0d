"""Leaderboards: campaigns and ad sets by expected value, as of each scored day.

Belongs here: the asset functions and the rows that they read. Does not belong here: sums, intervals and ranks
(``decisions/leaderboards.py``, ``decisions/segment_ranking.py``).
"""

from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import polars as pl

from elv_pipeline.contracts.outputs import of_days
from elv_pipeline.decisions.leaderboards import LeaderboardSpec, leaderboard
from elv_pipeline.decisions.segment_ranking import rank_segments
from elv_pipeline.lake import content_checksum
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.value_intervals import ValueIntervals
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.assets.scoring import AskedConfig, without_waiting
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import (
    lineage,
    note_partition_rows,
    picture,
    schema_of_contract,
    table_metadata,
)
from elv_pipeline.orchestration.due_days import outdated
from elv_pipeline.orchestration.lineage import board_lineage
from elv_pipeline.orchestration.models_in_use import compatible_model
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.resources import ScoringModel, narrated
from elv_pipeline.publishing.pages import scoring_charts
from elv_pipeline.tables.anchored_labels import ANCHOR_COLUMNS
from elv_pipeline.tables.joins import fill_parents
from elv_pipeline.tables.labels import with_status
from elv_pipeline.tables.training_table import MOMENTS

MATURED_DAYS = 90
"""Days before a board whose matured leads say what a segment has really brought."""


def board_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """A board of each level."""
    return [_board_asset(deployment, parts, noun, spec=spec) for noun, spec in deployment.boards.items()]


def _board_asset(deployment: Deployment, parts: AssetParts, noun: str, *, spec: LeaderboardSpec) -> dg.AssetsDefinition:
    reach, contract = deployment.config.reporting.leaderboard_days, spec.contract(deployment.words)
    deps: dict[str, Window | None] = {"predictions": Window(1 - reach - MATURED_DAYS, 0)}
    for table, window in deployment.label_sources.items():
        deps[table] = window and Window(1 - reach - MATURED_DAYS, 0)
    if deployment.config.paths.ads_path:
        deps["ads"] = Window(1 - reach, 0)
    level, worth = spec.level, "per unit of spend" if spec.with_spend else f"per {deployment.words.entity}"

    @asset(
        **parts.daily(noun, group="scoring", kinds={"polars", "parquet"}, deps=deps),
        description=f"Each {level} by expected value {worth} over the scored days among the last {reach}, "
        f"with an interval that holds chance and the model's own error; segments with few leads are marked; the "
        f"rank corrects each by the outcomes known of it and its parents.",
    )
    def board(
        context: dg.AssetExecutionContext, config: AskedConfig, scoring_model: ScoringModel
    ) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"ranking each {level} of {days}"):
            _, model = compatible_model(deployment, scoring_model)
            wanted = outdated(days.days, only=config.only, holds=lambda day: _holds(deployment, noun, day))
            boards = build_boards(deployment, wanted, spec=spec, model=model)
            frames = [
                found.with_columns(pl.lit(day).alias("day")) for day, found in boards.items() if found is not None
            ]
            daily = of_days(contract)
            checked = daily.validate(pl.concat([daily.empty(), *frames]), place=noun)
            deployment.lake.write_days(noun, checked, days=wanted)
        note_partition_rows(context, deployment.lake.row_counts(noun, days.days))
        newest = boards[days.last]
        if newest is None:
            return dg.MaterializeResult(
                metadata={"dagster/row_count": 0, "not_available": f"no scored lead carries a {spec.segment}"}
            )
        return dg.MaterializeResult(
            metadata={
                **table_metadata(newest, schema=schema_of_contract(contract)),
                "dagster/column_lineage": lineage(
                    board_lineage(deployment.config.probability_column, columns=contract.names), deployment=deployment
                ),
                "leaderboard": picture(
                    scoring_charts.leaderboard(
                        newest, level=level, currency=deployment.config.currency, words=deployment.words
                    ),
                    title=f"{level} leaderboard",
                ),
            },
            data_version=dg.DataVersion(content_checksum(newest)),
        )

    return board


def _holds(deployment: Deployment, noun: str, day: date) -> bool:
    """Whether a board counts all leads that were scored by now."""
    if not deployment.lake.partition(noun, day).is_file():
        return False
    reach = timedelta(days=deployment.config.reporting.leaderboard_days - 1)
    scored = without_waiting(deployment, [d for d in deployment.lake.days("predictions") if day - reach <= d <= day])
    counted, spec = pl.read_parquet(deployment.lake.partition(noun, day))["lead_count"].sum(), deployment.boards[noun]
    if spec.once_by is None:
        return bool(counted == sum(deployment.lake.row_counts("predictions", scored).values()))
    rows = deployment.scan("predictions", first=day - reach, last=day).filter(pl.col("day").is_in(scored))
    return bool(counted == spec.counted(rows.collect()).height)


def build_boards(
    deployment: Deployment, days: list[date], *, spec: LeaderboardSpec, model: ModelBundle
) -> dict[date, pl.DataFrame | None]:
    """A leaderboard as of each day, over the scored days among the ``reporting.leaderboard_days`` that end there.

    Days may have been scored by different models; the error in the intervals is that of the model given.
    """
    reach = timedelta(days=deployment.config.reporting.leaderboard_days - 1)
    known = [day for day in deployment.lake.days("predictions") if days[0] - reach <= day <= days[-1]]
    written = without_waiting(deployment, known)
    if not written:
        return dict.fromkeys(days)
    scored = deployment.scan("predictions", first=written[0], last=written[-1]).collect()
    rows = BoardRows.read(deployment, scored, days=written)
    covered = {day: [other for other in written if day - reach <= other <= day] for day in days}
    return {
        day: rows.board(deployment, others, spec=spec, model=model) if others else None
        for day, others in covered.items()
    }


@dataclass(frozen=True)
class BoardRows:
    """What boards are made of.

    Attributes:
        scored: leads with every parent that is known.
        ads: ads rows of the same days.
        everything: those of all days, for names.
        unlearned: scored leads that the model did not learn from, with the times of their outcomes.
    """

    scored: pl.DataFrame
    ads: pl.DataFrame | None
    everything: pl.DataFrame | None
    unlearned: pl.DataFrame

    @classmethod
    def read(
        cls,
        deployment: Deployment,
        scored: pl.DataFrame,
        *,
        days: list[date],
        with_spend: bool = True,
        judged: pl.DataFrame | None = None,
    ) -> "BoardRows":
        """Read once what the boards of many days share; without spend where the leads are only a part of their days.

        ``judged`` are the scores whose outcomes correct a segment's estimate, by default those of the lake.

        For reporting, unlike for features, a lead's campaign may be known from any day since shortly before it, and
        spend is the newest figure, restatements included.
        """
        unlearned = _unlearned(deployment, judged, days=days)
        everything = deployment.delivery(scored["day"].min())
        if everything is None:
            return cls(scored, None, None, unlearned)
        hierarchy = everything.select(deployment.problem.id_columns).unique()
        spent = everything.filter(pl.col("day").is_in(days if with_spend else []))
        return cls(fill_parents(scored, hierarchy), spent, everything, fill_parents(unlearned, hierarchy))

    def board(
        self, deployment: Deployment, days: list[date], *, spec: LeaderboardSpec, model: ModelBundle
    ) -> pl.DataFrame | None:
        """The leaderboard of some days; spend counts on the very days whose leads are counted.

        Outcomes of earlier leads correct each segment as far as they were known at the end of the last day.
        """
        config = deployment.config
        ranges = model.metadata.get("value_intervals")  # measured on campaigns
        board = leaderboard(
            self.scored.filter(pl.col("day").is_in(days)),
            None if self.ads is None else self.ads.filter(pl.col("day").is_in(days)),
            spec=spec,
            names=deployment.segment_names(spec, self.everything),
            probability_column=config.probability_column,
            value_spread=float(model.metadata.get("value_spread", 0.0)),
            min_segment_leads=config.reporting.min_segment_leads,
            segment_error=model.metadata["segment_error"][spec.segment],
            size_errors=ValueIntervals.from_dict(ranges) if ranges and spec.level == "campaign" else None,
        )
        if board is None:
            return None
        known = deployment.observation(origin=deployment.midnight(max(days) + timedelta(days=1)))
        # The same days whatever range is computed at once.
        first = max(days) - timedelta(days=config.reporting.leaderboard_days - 1 + MATURED_DAYS)
        earlier = self.unlearned.filter(pl.col("day").is_between(first, max(days)))
        status = with_status(earlier.lazy(), observation=known, labelled=deployment.has_outcomes)
        status = status.filter(pl.col("y").is_not_null())
        return rank_segments(
            board,
            spec.counted(status.collect()),
            levels=spec.id_columns,
            errors=model.metadata["segment_error"],
            probability_column=config.probability_column,
        ).select(spec.columns)


def _unlearned(deployment: Deployment, judged: pl.DataFrame | None, *, days: list[date]) -> pl.DataFrame:
    """Scores that no model learned from, with the times of their outcomes.

    The times come from the outcomes themselves. Labels of these days are refreshed after the boards of a day, so that a
    board that is made again, or of a day that is caught up, would know more than the same board made in time.
    """
    reach = deployment.config.reporting.leaderboard_days + MATURED_DAYS
    first, last = min(days) - timedelta(days=reach), max(days)
    source = deployment.scan("predictions", first=first, last=last) if judged is None else judged.lazy()
    scored = source.filter(
        ~pl.col("split").is_in(["train", "calibration"]) & pl.col("day").is_between(first, last)
    ).select("lead_id", "created_time", "day", *deployment.words.id_columns, deployment.config.probability_column)
    horizon = deployment.labels_horizon(max(first, deployment.first_day))
    times = deployment.label_times(scored, first=first, observed_until=horizon)
    known = [name for name in times.collect_schema().names() if name in (*MOMENTS, *ANCHOR_COLUMNS)]
    return scored.join(times.select("lead_id", *known), on="lead_id", how="inner", validate="1:1").collect()
