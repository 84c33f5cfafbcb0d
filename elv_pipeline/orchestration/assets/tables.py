"""Table assets: joined leads of lead ads, matured labels, features, and the table a person can open.

Belongs here: the asset functions. Does not belong here: joins, maturity and features themselves (``tables/``).
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.contracts.lead_ads import NAME_LEVELS
from elv_pipeline.errors import ElvError
from elv_pipeline.lake import content_checksum
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import (
    lineage,
    note_partition_rows,
    picture,
    preview,
    schema_of_frame,
    table_metadata,
)
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.lineage import LABEL_STATUS, LABEL_TIMES, Sources, carried
from elv_pipeline.orchestration.outcome_rows import complete_columns
from elv_pipeline.orchestration.partitions import DayRange, day_range
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.problems.nouns import capital
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.pages.scoring_charts import label_maturity
from elv_pipeline.publishing.run_bundle import write_plain_bundle
from elv_pipeline.tables.join_statistics import match_rate
from elv_pipeline.tables.joins import CARRIED, ID_COLUMNS, join_leads
from elv_pipeline.tables.labels import label_counts_by_week, with_status


def table_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The chain from joined rows to features."""
    return [
        _labels_asset(deployment, parts),
        _features_asset(deployment, parts),
        _modelling_table_asset(deployment, parts),
    ]


def joined_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    """The leads with the ids of what they came from."""
    config, lag = deployment.config, deployment.config.feature_lag_days
    lookback = deployment.problem.hierarchy_lookback_days
    deps: dict[str, Window | None] = {"leads": None}
    if config.paths.ads_path:
        deps["ads"] = Window(-(lookback + lag), -lag)
    if config.paths.lead_to_ad_map_path:
        deps["lead_to_ad_map"] = None

    @asset(
        **parts.daily("joined_leads", group="tables", kinds={"polars", "parquet"}, deps=deps),
        description="Each lead with its ad, ad set and campaign as they could be known at its moment, and how that "
        "was found (join_method).",
        check_specs=[
            dg.AssetCheckSpec(
                "joined",
                asset=parts.key("joined_leads"),
                description=f"At least {config.minimum_data.match_rate:.0%} of the leads have an id that the ads "
                f"export knows, in all and in every week (minimum_data.match_rate).",
            )
        ],
    )
    def joined_leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"joining leads of {days}"):
            start = max(days.first - timedelta(days=lookback + lag), deployment.first_day)
            known_until = days.last - timedelta(days=lag)
            if config.paths.ads_path and known_until >= start:
                deployment.require_history(["ads"], first=start, last=known_until)
            mapping = deployment.lake.read_frame("lead_to_ad_map") if config.paths.lead_to_ad_map_path else None
            joined = join_leads(
                deployment.scan("leads", first=days.first, last=days.last),
                hierarchy=deployment.scan("ads", first=start, last=known_until) if config.paths.ads_path else None,
                mapping=mapping.lazy() if mapping is not None else None,
                lag_days=lag,
                lookback_days=lookback,
            ).collect()
            rows = deployment.lake.write_days("joined_leads", joined, days=days.days)
        note_partition_rows(context, rows)
        statistics = deployment.join_summary(joined)
        return dg.MaterializeResult(
            metadata={
                **table_metadata(joined, schema=schema_of_frame(joined)),
                "dagster/column_lineage": lineage(_joined_lineage(), deployment=deployment),
                "join_statistics": statistics,
            },
            data_version=dg.DataVersion(content_checksum(joined)),
            check_results=[_well_joined(statistics, good=config.minimum_data.match_rate)],
        )

    return joined_leads


def _well_joined(statistics: dict[str, Any], *, good: float) -> dg.AssetCheckResult:
    leads, without = statistics["leads"], statistics["by_method"].get("none", 0)
    matched, sentences = match_rate(statistics), []
    if without > (1 - good) * leads:
        sentences.append(f"{without} of {leads} leads carry no id at all")
    if matched is not None and matched[1] < good:
        sentences.append(f"only {matched[1]:.0%} of the leads with {matched[0]} carry one that the ads export knows")
    weak = [week for week in statistics["by_week"] if week["match_rate"] is not None and week["match_rate"] < good]
    if weak:
        worst = min(weak, key=lambda week: week["match_rate"])
        sentences.append(
            f"{len(weak)} week(s) match less than {good:.0%}, the worst that of {worst['week']} with "
            f"{worst['match_rate']:.0%} of {worst['leads']} leads"
        )
    return dg.AssetCheckResult(
        check_name="joined",
        passed=not sentences,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(sentences) or "leads are joined",
        metadata={
            "leads": leads,
            "without_any_id": without,
            "match_rate": matched[1] if matched else None,
            "by_method": statistics["by_method"],
            "weeks_below": [week["week"] for week in weak],
        },
    )


def _joined_lineage() -> dict[str, Sources]:
    names = tuple((table, name) for table in ("leads", "ads") for name in NAME_LEVELS)
    ids = {c: (("leads", c), ("lead_to_ad_map", c), ("ads", c), *names) for c in ID_COLUMNS}
    made_of = tuple(source for sources in ids.values() for source in sources)
    return {**carried("leads", ("lead_id", "created_time", "day", *CARRIED)), **ids, "join_method": made_of}


def _labels_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    deps: dict[str, Window | None] = {"joined_leads": None, **deployment.label_sources}

    @asset(
        **parts.daily("matured_labels", group="tables", kinds={"polars", "parquet"}, deps=deps),
        description="When each lead's outcome happened and was recorded. Times, not verdicts: whether a lead counts as "
        "positive, negative or unknown is derived for a given moment, so it never goes stale.",
    )
    def matured_labels(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"labelling leads of {days}"):
            until = deployment.labels_horizon(days.first)
            joined = deployment.scan("joined_leads", first=days.first, last=days.last)
            labels = deployment.label_times(joined, first=days.first, observed_until=until).collect()
            complete_columns(deployment.lake, "matured_labels", labels.schema)
            rows = deployment.lake.write_days("matured_labels", labels, days=days.days)
        note_partition_rows(context, rows)
        status = _status(deployment, labels.lazy())
        weeks = label_counts_by_week(status)
        return dg.MaterializeResult(
            metadata={
                **table_metadata(labels, schema=schema_of_frame(labels)),
                "dagster/column_lineage": lineage(LABEL_TIMES, deployment=deployment),
                "observed_until": until.isoformat(),
                "label_counts": _counts(status),
                "label_maturity": picture(
                    label_maturity(weeks, words=deployment.words),
                    title=f"{capital(deployment.words.rows)} by label status and week",
                ),
            },
            data_version=dg.DataVersion(content_checksum(labels)),
        )

    return matured_labels


def _status(deployment: Deployment, labels: pl.LazyFrame) -> pl.DataFrame:
    return with_status(labels, observation=deployment.observation(), labelled=deployment.has_outcomes).collect()


def _counts(status: pl.DataFrame) -> dict[str, int]:
    counts = {name: int((status["label_status"] == name).sum()) for name in ("positive", "negative", "unknown")}
    labelled = status["y"].drop_nulls()
    return {"leads": status.height, **counts, "labelled": labelled.len(), "labelled_positive": int(labelled.sum())}


def _features_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    config = deployment.config
    deps = deployment.feature_sources
    needed = deployment.needed_days

    @asset(
        **parts.daily("features", group="tables", kinds={"polars", "parquet"}, deps=deps),
        description="Features of each lead from what was known at its moment: activity up to the day before "
        "(feature_lag_days), outcomes recorded before the lead. The same whether a day is computed alone or in a year.",
        check_specs=[
            dg.AssetCheckSpec(
                "complete",
                asset=parts.key("features"),
                blocking=True,
                description="Every joined lead has exactly one row of features.",
            )
        ],
    )
    def features(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        on = "" if config.engine == "polars" else f" on {config.engine}"
        with narrated(context, f"computing features of {days}{on}"):
            start = deployment.history_start(days.first)
            deployment.require_history(needed, first=start, last=days.last)
            deployment.require_recipe(rewritten=days.days)
            deployment.note_recipe(complete=False)
            joined = deployment.scan("joined_leads", first=days.first, last=days.last)
            with deployment.computed_features(joined, first=days.first, last=days.last) as computed:
                rows = deployment.lake.write_days("features", computed, days=days.days)
            deployment.note_recipe(complete=True)
        note_partition_rows(context, rows)
        return dg.MaterializeResult(
            metadata={"dagster/row_count": sum(rows.values()), **_features_metadata(deployment, days)},
            data_version=dg.DataVersion(deployment.lake.digest("features", days.days)),
            check_results=[_complete(deployment, rows, days)],
        )

    return features


def _features_metadata(deployment: Deployment, days: DayRange) -> dict[str, Any]:
    lag_days = deployment.config.feature_lag_days
    sample = deployment.scan("features", first=days.first, last=days.last).head(5).collect()
    columns = deployment.problem.feature_columns(deployment.data(), lag_days=lag_days)
    definitions = {column.name: column.definition for column in columns}
    sources = {column.name: column.sources for column in columns}
    return {
        "dagster/column_schema": schema_of_frame(sample, definitions=definitions),
        "dagster/column_lineage": lineage(sources, deployment=deployment),
        "preview": preview(sample),
        "feature_columns": len(columns),
        "feature_lag_days": lag_days,
    }


def _complete(deployment: Deployment, rows: dict[date, int], days: DayRange) -> dg.AssetCheckResult:
    expected = deployment.scan("joined_leads", first=days.first, last=days.last).group_by("day").len().collect()
    wanted = dict(expected.iter_rows())
    bad = [day for day in days.days if rows[day] != wanted.get(day, 0)]
    return dg.AssetCheckResult(
        check_name="complete", passed=not bad, metadata={"days": len(rows), "bad_days": [str(day) for day in bad[:20]]}
    )


def _modelling_table_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common(
            "modelling_table",
            group="tables",
            kinds={"parquet"},
            deps={"features": None, "matured_labels": None},
        ),
        description="The whole table of features and label status, with its join and label counts, in the run's "
        "bundle: for people and notebooks. Training reads the partitions, never this file.",
    )
    def modelling_table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "writing the table of features and labels"):
            written = deployment.lake.days("features")
            if not written:
                raise ElvError(f"{parts.name}: no features yet. Materialise the history first ('elv build-table').")
            deployment.require_history(["features", "matured_labels"], first=written[0], last=written[-1])
            joined, status = _joined_and_status(deployment, written[0], written[-1])
            features = deployment.scan("features", first=written[0], last=written[-1])
            table = features.join(
                status.lazy().select("lead_id", "label_status", "mature", "y"), on="lead_id", validate="1:1"
            )
            statistics = deployment.join_summary(joined)
            counts = {
                **_counts(status),
                "by_week": label_counts_by_week(status).with_columns(pl.col("week").cast(pl.String)).to_dicts(),
            }
            facts = RunFacts(
                run_id=context.run.run_id,
                kind="build_table",
                started_at=datetime.now(UTC),
                as_of_date=str(written[-1]),
                observed_until=deployment.observed_until().isoformat(),
            )
            folder = write_plain_bundle(
                deployment.home,
                facts,
                config=deployment.config,
                profile=deployment.lake.read_json("data_profile") or {},
                table=table.sort("created_time", "lead_id"),
                documents={"join_stats": statistics, "label_counts": counts},
            )
        written_table = pl.read_parquet(folder / "table.parquet", n_rows=5)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(folder / "table.parquet")),
                **table_metadata(written_table, schema=schema_of_frame(written_table)),
                "dagster/row_count": status.height,
                "dagster/column_lineage": lineage(
                    {**carried("features", features.collect_schema().names()), **LABEL_STATUS}, deployment=deployment
                ),
                "join_statistics": statistics,
                "label_counts": {key: value for key, value in counts.items() if key != "by_week"},
            }
        )

    return modelling_table


def _joined_and_status(deployment: Deployment, first: date, last: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    return (
        deployment.scan("joined_leads", first=first, last=last).collect(),
        _status(deployment, deployment.scan("matured_labels", first=first, last=last)),
    )


def label_summary(deployment: Deployment) -> tuple[dict[str, int], pl.DataFrame] | None:
    """Label counts and their weeks over the labelled days that reports look at, or None before the first."""
    written = deployment.lake.days("matured_labels")
    if not written:
        return None
    first = deployment.summary_start(written[-1])
    status = _status(deployment, deployment.scan("matured_labels", first=first, last=written[-1]))
    return _counts(status), label_counts_by_week(status)
