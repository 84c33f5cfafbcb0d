"""Scoring assets: predictions, leaderboards, drift and the table of scores.

Belongs here: the asset functions. Does not belong here: models (``learning/``), decisions, PSI or SQL.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.contracts.outputs import ADSET_LEADERBOARD, CAMPAIGN_LEADERBOARD, DRIFT, of_days, predictions_contract
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.decisions.leaderboards import ADSET_BOARD, CAMPAIGN_BOARD, LeaderboardSpec, latest_names, leaderboard
from elv_pipeline.decisions.predictions import ScoringRun, rank_predictions
from elv_pipeline.decisions.predictions import predictions as score
from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.lake import content_checksum, days_between
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.monitoring.drift import drift as measure_drift
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.assets_learning import SCORE
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import (
    lineage,
    note_partition_rows,
    picture,
    schema_of_contract,
    schema_of_frame,
    table_metadata,
)
from elv_pipeline.orchestration.lineage import board_lineage, drift_lineage, predictions_lineage, scores_lineage
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.resources import ScoringModel, narrated
from elv_pipeline.publishing import charts
from elv_pipeline.publishing.model_registry import ModelHandle, load_model
from elv_pipeline.publishing.run_bundle import RUN_COLUMNS
from elv_pipeline.publishing.scores import open_database, score_rows, upsert_scores
from elv_pipeline.tables.joins import ID_COLUMNS, fill_parents


def scoring_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Everything a scored day yields."""
    return [
        _predictions_asset(deployment, parts),
        _board_asset(deployment, parts, "campaign_leaderboard", spec=CAMPAIGN_BOARD, contract=CAMPAIGN_LEADERBOARD),
        _board_asset(deployment, parts, "adset_leaderboard", spec=ADSET_BOARD, contract=ADSET_LEADERBOARD),
        _drift_asset(deployment, parts),
        _scores_asset(deployment, parts),
    ]


def compatible_model(deployment: Deployment, chosen: ScoringModel) -> tuple[ModelHandle, ModelBundle]:
    """The model of a run, refused where it contradicts the configuration."""
    handle = chosen.handle(deployment)
    model = load_model(handle)
    model.require_compatible(
        outcome_window_days=deployment.config.label_window_days,
        feature_lag_days=deployment.config.feature_lag_days,
        target=deployment.config.label_column,
        timezone=deployment.config.timezone,
    )
    _require_sources(deployment, model)
    return handle, model


def _require_sources(deployment: Deployment, model: ModelBundle) -> None:
    """Refuse a model whose optional exports are not configured, before anything is computed for it.

    Raises:
        ScoringRefusedError: naming each export and its columns.
    """
    if deployment.lake.read_json("sources/leads") is None:
        return  # what leads carry is not known before they are read; the scoring asset asks again
    columns = deployment.problem.feature_columns(deployment.data(), lag_days=deployment.config.feature_lag_days)
    absent = sorted(set(model.schema.names) - {column.name for column in columns})
    lacking = deployment.problem.missing_sources(absent)
    if lacking:
        lines = [f"- {source}: {', '.join(names[:5])}{_more(names)}" for source, names in sorted(lacking.items())]
        raise ScoringRefusedError(
            "\n".join(
                [
                    f"{deployment.name}: the model was trained with exports that this configuration does not have, so "
                    f"{len(absent)} of its columns are missing. Configure them, or train without them:",
                    *lines,
                ]
            )
        )


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""


def _predictions_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    config = deployment.config
    contract = predictions_contract(config.probability_column)

    @asset(
        **parts.daily(
            "predictions", group="scoring", kinds={"polars", "parquet"}, deps={"features": None, "champion": None}
        ),
        description="Calibrated probability and expected value of each lead, best first, by the champion (or the model "
        "file that the run names).",
        check_specs=[
            dg.AssetCheckSpec(
                "plausible",
                asset=parts.key("predictions"),
                blocking=True,
                description="One finite probability a lead, and not the same one for all.",
            ),
        ],
    )
    def predictions(context: dg.AssetExecutionContext, scoring_model: ScoringModel) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"scoring leads of {days}"):
            deployment.lake.require_days("features", days.days)
            handle, model = compatible_model(deployment, scoring_model)
            deployment.require_recipe()
            run = scoring_run(deployment, run_id=context.run.run_id, handle=handle)
            features = deployment.scan("features", first=days.first, last=days.last).collect()
            scored = score(features, model, run=run)
            contract.validate(scored.drop("day"), place="predictions")
            rows = deployment.lake.write_days("predictions", _ranked_by_day(scored, deployment), days=days.days)
        note_partition_rows(context, rows)
        return dg.MaterializeResult(
            metadata={
                **table_metadata(scored, schema=schema_of_contract(contract)),
                "dagster/column_lineage": lineage(
                    predictions_lineage(config.probability_column, features=model.schema.names, table="features"),
                    deployment=deployment,
                ),
                "model_version": handle.version,
                "mean_probability": scored.select(pl.col(config.probability_column).mean()).item(),
                "expected_value": float(scored["elv"].sum()),
                "score_distribution": picture(
                    charts.score_distribution(scored, probability=config.probability_column), title="Scores"
                ),
            },
            data_version=dg.DataVersion(content_checksum(scored, exclude=RUN_COLUMNS)),
            check_results=[_plausible(scored, config.probability_column)],
        )

    return predictions


def scoring_run(deployment: Deployment, *, run_id: str, handle: ModelHandle) -> ScoringRun:
    """What names a scoring run of this configuration."""
    return ScoringRun(
        run_id=run_id,
        model_version=handle.version,
        scored_at=datetime.now(UTC),
        probability_column=deployment.config.probability_column,
        value_per_qualified=deployment.config.value_per_qualified,
    )


def _ranked_by_day(scored: pl.DataFrame, deployment: Deployment) -> pl.DataFrame:
    """Rank within each day, so that a day is the same alone and in a range."""
    config = deployment.config
    return pl.concat(
        [
            rank_predictions(
                part,
                probability_column=config.probability_column,
                value_per_qualified=config.value_per_qualified,
            )
            for _, part in sorted(scored.group_by("day"), key=lambda group: str(group[0]))
        ]
        or [scored]
    )


def _plausible(scored: pl.DataFrame, probability_column: str) -> dg.AssetCheckResult:
    p = scored[probability_column]
    constant = p.len() >= 20 and p.n_unique() == 1
    once = scored["lead_id"].n_unique() == scored.height
    return dg.AssetCheckResult(
        check_name="plausible",
        passed=once and not constant and bool(p.is_finite().all()),
        metadata={"leads": scored.height, "distinct_probabilities": p.n_unique(), "one_row_a_lead": once},
    )


def _board_asset(
    deployment: Deployment, parts: AssetParts, noun: str, *, spec: LeaderboardSpec, contract: TableContract
) -> dg.AssetsDefinition:
    reach = deployment.config.reporting.leaderboard_days
    deps: dict[str, Window | None] = {"predictions": Window(1 - reach, 0)}
    if deployment.config.paths.ads_path:
        deps["ads"] = Window(1 - reach, 0)
    level = noun.removesuffix("_leaderboard")

    @asset(
        **parts.daily(noun, group="scoring", kinds={"polars", "parquet"}, deps=deps),
        description=f"Each {level} by expected value per unit of spend over the scored days among the last {reach}, "
        f"with an interval that holds chance and the model's own error; segments with few leads are marked and ranked "
        f"last.",
    )
    def board(context: dg.AssetExecutionContext, scoring_model: ScoringModel) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"ranking each {level} of {days}"):
            _, model = compatible_model(deployment, scoring_model)
            boards = build_boards(deployment, days.days, spec=spec, model=model)
            frames = [
                found.with_columns(pl.lit(day).alias("day")) for day, found in boards.items() if found is not None
            ]
            daily = of_days(contract)
            checked = daily.validate(pl.concat([daily.empty(), *frames]), place=noun)
            rows = deployment.lake.write_days(noun, checked, days=days.days)
        note_partition_rows(context, rows)
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
                    charts.leaderboard(newest, level=level, currency=deployment.config.currency),
                    title=f"{level} leaderboard",
                ),
            },
            data_version=dg.DataVersion(content_checksum(newest)),
        )

    return board


def build_boards(
    deployment: Deployment, days: list[date], *, spec: LeaderboardSpec, model: ModelBundle
) -> dict[date, pl.DataFrame | None]:
    """A leaderboard as of each day, over the scored days among the ``reporting.leaderboard_days`` that end there.

    Days may have been scored by different models; the error in the intervals is that of the model given.
    """
    reach = timedelta(days=deployment.config.reporting.leaderboard_days - 1)
    written = [day for day in deployment.lake.days("predictions") if days[0] - reach <= day <= days[-1]]
    if not written:
        return dict.fromkeys(days)
    scored = deployment.scan("predictions", first=written[0], last=written[-1]).collect()
    rows = BoardRows.read(deployment, scored, days=written)
    return {
        day: rows.board(deployment, [other for other in written if day - reach <= other <= day], spec=spec, model=model)
        for day in days
    }


@dataclass(frozen=True)
class BoardRows:
    """Scored leads with every parent that is known, the ads rows of the same days, and those of all days for names."""

    scored: pl.DataFrame
    ads: pl.DataFrame | None
    everything: pl.DataFrame | None

    @classmethod
    def read(
        cls, deployment: Deployment, scored: pl.DataFrame, *, days: list[date], with_spend: bool = True
    ) -> "BoardRows":
        """Read once what the boards of many days share; without spend where the leads are only a part of their days.

        For reporting, unlike for features, a lead's campaign may be known from any day since shortly before it, and
        spend is the newest figure, restatements included.
        """
        if not deployment.config.paths.ads_path:
            return cls(scored, None, None)
        first = deployment.hierarchy_start(scored["day"].min())
        everything = deployment.ads_store.newest(first=first, last=date.max).collect()
        filled = fill_parents(scored, everything.select(ID_COLUMNS).unique())
        return cls(filled, everything.filter(pl.col("day").is_in(days if with_spend else [])), everything)

    def board(
        self, deployment: Deployment, days: list[date], *, spec: LeaderboardSpec, model: ModelBundle
    ) -> pl.DataFrame | None:
        """The leaderboard of some days; spend counts on the very days whose leads are counted."""
        config = deployment.config
        return leaderboard(
            self.scored.filter(pl.col("day").is_in(days)),
            None if self.ads is None else self.ads.filter(pl.col("day").is_in(days)),
            spec=spec,
            names=None if self.everything is None else latest_names(self.everything, spec=spec),
            probability_column=config.probability_column,
            value_per_qualified=config.value_per_qualified,
            min_segment_leads=config.reporting.min_segment_leads,
            segment_error=model.metadata["segment_error"][spec.segment],
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
        description=f"Population stability of the main features and the score over {reach} days against the model's "
        "reference, with thresholds that know the sample size.",
        check_specs=[
            dg.AssetCheckSpec(
                "score_stable", asset=parts.key("drift"), description="The distribution of scores has not moved."
            )
        ],
    )
    def drift(context: dg.AssetExecutionContext, scoring_model: ScoringModel) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"comparing {days} with the model's reference"):
            _, model = compatible_model(deployment, scoring_model)
            results = drift_of_days(deployment, model, days.days)
            frame = pl.concat(
                [
                    pl.DataFrame(found, schema=DRIFT.schema).with_columns(pl.lit(day).alias("day"))
                    for day, found in results.items()
                ]
            )
            for day, found in frame.partition_by("day", as_dict=True).items():
                DRIFT.validate(found.drop("day"), place=f"drift of {day[0]}")
            rows = deployment.lake.write_days("drift", frame, days=days.days)
        note_partition_rows(context, rows)
        newest = results[days.last]
        moved = [
            str(day) for day, found in results.items() for row in found if row["kind"] == "score" and row["drifted"]
        ]
        return dg.MaterializeResult(
            metadata={
                **table_metadata(frame.filter(pl.col("day") == days.last), schema=schema_of_contract(DRIFT)),
                "dagster/column_lineage": lineage(
                    drift_lineage(deployment.config.probability_column, features=model.schema.names),
                    deployment=deployment,
                ),
                "drift": picture(charts.drift_chart(newest), title="Drift against the model's reference"),
                "drifted_columns": [row["column"] for row in newest if row["drifted"]],
            },
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


def drift_of_days(deployment: Deployment, model: ModelBundle, days: list[date]) -> dict[date, list[dict[str, Any]]]:
    """Drift of the ``reporting.drift_days`` that end at each day."""
    reach = timedelta(days=deployment.config.reporting.drift_days - 1)
    features = with_score(model, deployment.scan("features", first=days[0] - reach, last=days[-1]).collect())
    return {day: drift_of(model, features.filter(pl.col("day").is_between(day - reach, day))) for day in days}


def with_score(model: ModelBundle, features: pl.DataFrame) -> pl.DataFrame:
    """Feature rows with what the model says about them, as drift compares both."""
    return features.with_columns(pl.Series(SCORE, model.predict(features), dtype=pl.Float64))


def drift_of(model: ModelBundle, scored_features: pl.DataFrame) -> list[dict[str, Any]]:
    """Drift of ``with_score`` rows against the reference inside the model."""
    return measure_drift(model.metadata["drift_reference"], scored_features, kinds={SCORE: "score"})


def _scores_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    config = deployment.config

    @asset(
        **parts.daily("lead_scores", group="scoring", kinds={"sqlite", "table"}, deps={"predictions": None}),
        description="Scores upserted into dbo.lead_scores on (org_id, enrollment_id, label_col): staged, compared, one "
        "transaction; a second run changes nothing.",
    )
    def lead_scores(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"writing scores of {days}"):
            scored = deployment.scan("predictions", first=days.first, last=days.last).collect()
            rows = score_rows(
                scored,
                org_id=config.org_id,
                label_column=config.label_column,
                probability_column=config.probability_column,
                written_at=datetime.now(UTC),
            )
            engine = open_database(deployment.home.scores_url)
            counts = upsert_scores(engine, rows)
            engine.dispose()
        note_partition_rows(context, dict(scored.group_by("day").len().iter_rows()))
        return dg.MaterializeResult(
            metadata={
                **table_metadata(rows, schema=schema_of_frame(rows)),
                "dagster/column_lineage": lineage(scores_lineage(config.probability_column), deployment=deployment),
                "dagster/table_name": "dbo.lead_scores",
                "inserted": counts.inserted,
                "updated": counts.updated,
                "unchanged": counts.unchanged,
            }
        )

    return lead_scores


def scored_days(deployment: Deployment, last: date | None = None) -> list[date]:
    """Scored days up to ``last`` (default: the newest) among the last ``reporting.leaderboard_days``."""
    written = deployment.lake.days("predictions")
    if not written:
        raise ScoringRefusedError(f"{deployment.name}: no predictions yet. Run 'elv score' first.")
    end = last or written[-1]
    first = end - timedelta(days=deployment.config.reporting.leaderboard_days - 1)
    return [day for day in days_between(first, end) if day in set(written)]
