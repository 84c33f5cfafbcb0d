"""Assets of outreach before the core: cleaned tables, moments and their features, and the rows of each target.

Belongs here: the asset functions. Does not belong here: reading and rules (``ingest/``), moments and features
(``tables/``). Tables that break their quality gate are refused before anything is written, so bad data never replaces
good.
"""

import hashlib
import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg
import polars as pl

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.ingest.outreach_cleaning import CleanedOutreach, clean_outreach
from elv_pipeline.ingest.outreach_exports import OutreachSources, read_outreach
from elv_pipeline.ingest.review.outreach_profile import outreach_profile, outreach_profile_markdown
from elv_pipeline.lake import content_checksum
from elv_pipeline.orchestration.asset_parts import AssetParts, Window, asset
from elv_pipeline.orchestration.describe import (
    lineage,
    note_partition_rows,
    preview,
    schema_of_contract,
    schema_of_frame,
    table_metadata,
)
from elv_pipeline.orchestration.lineage import Sources, carried
from elv_pipeline.orchestration.made_days import days_to_make, note_made
from elv_pipeline.orchestration.outreach_deployment import (
    CLEAN,
    MOMENT_FEATURES,
    MOMENTS,
    UNOBSERVED,
    OutreachDeployment,
)
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.queries_read import note_rows_of_query, require_rows_of_one_query
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.run_bundle import write_plain_bundle
from elv_pipeline.tables.anchored_labels import with_exclusion_at_prediction
from elv_pipeline.tables.daily_moments import with_ends_of_days
from elv_pipeline.tables.moment_features import keyed
from elv_pipeline.tables.moments import MomentChoice, reaches

_KEPT_VERSIONS = 2
"""Versions of the cleaned tables in the lake: the newest, and the one that a read which has just begun may still need.
Jobs of one home run one behind another, so no run meets more."""


def outreach_assets(deployment: OutreachDeployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """What all targets of a file share: cleaned tables, moments, features."""
    return [
        _tables_asset(deployment, parts),
        _moments_asset(deployment, parts),
        _moment_features_asset(deployment, parts),
    ]


def target_assets(deployment: OutreachDeployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """What a target has of its own before labels and features: the profile of its data, and the moments it scores."""
    return [_profile_asset(deployment, parts), _scored_moments_asset(deployment, parts)]


def _tables_asset(deployment: OutreachDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    deps: dict[str, Window | None] = {"extracts": None} if deployment.config.extracts.queries else {}

    @asset(
        **parts.common(CLEAN, group="raw", kinds={"csv", "polars"}, deps=deps),
        description="Contacts, campaigns, steps, enrollments, events and outcomes, read, checked and cleaned by "
        "counted rules. Names, addresses and the texts of replies stay outside.",
        check_specs=[
            dg.AssetCheckSpec(
                "quality_gate",
                asset=parts.key(CLEAN),
                description="No rule dropped or repaired more rows than it may; else nothing is written.",
            )
        ],
    )
    def outreach_tables(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "reading and cleaning contacts, campaigns, enrollments and events"):
            sources = read_outreach(deployment.config, home=deployment.home)
            cleaned = clean_outreach(sources.tables, known_until=sources.known_until)
            cleaned.gate.require()
            version = _store(deployment, sources, cleaned)
        findings = [finding.message for finding in cleaned.gate.findings]
        return dg.MaterializeResult(
            metadata={
                "findings": dg.MetadataValue.md("\n".join(f"- {line}" for line in findings) or "*nothing was changed*"),
                **{f"rows_of_{table}": frame.height for table, frame in cleaned.tables.items()},
                "enrollments": preview(cleaned.tables["enrollments"]),
                "dagster/column_schema": schema_of_contract(CANONICAL["engagement_logs"]),
            },
            data_version=dg.DataVersion(version),
            check_results=[
                dg.AssetCheckResult(
                    check_name="quality_gate",
                    passed=cleaned.gate.verdict == "ready",
                    severity=dg.AssetCheckSeverity.WARN,
                    description=" ".join(findings[:3]) or None,
                    metadata={"verdict": cleaned.gate.verdict, "findings": len(findings)},
                )
            ],
        )

    return outreach_tables


def _store(deployment: OutreachDeployment, sources: OutreachSources, cleaned: CleanedOutreach) -> str:
    """Write all tables under one version and then the note that names it, so that readers see all of it or none."""
    tables = {**cleaned.tables, UNOBSERVED: cleaned.unobserved.alias("enrollment_id").to_frame()}
    digests = {name: _digest(frame) for name, frame in tables.items()}
    version = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]
    lake = deployment.shared_lake
    for name, frame in tables.items():
        lake.write_frame(f"{CLEAN}/{version}/{name}", frame)
    earlier = lake.read_json(CLEAN) or {}
    versions = [version, *(old for old in earlier.get("versions", []) if old != version)][:_KEPT_VERSIONS]
    lake.write_json(
        CLEAN,
        {
            "version": version,
            "versions": versions,
            "tables": {name: facts.document() for name, facts in sources.files.items()},
            "cleaned_rows": {name: frame.height for name, frame in cleaned.tables.items()},
            "verdict": cleaned.gate.verdict,
            "findings": [{**asdict(found), "message": found.message} for found in cleaned.gate.findings],
        },
    )
    for folder in (lake.root / CLEAN).glob("*"):
        if folder.name not in versions:
            shutil.rmtree(folder, ignore_errors=True)
    return version


def _digest(frame: pl.DataFrame) -> str:
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return content_checksum(frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists))


def _moments_asset(deployment: OutreachDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily(MOMENTS, group="tables", kinds={"polars", "parquet"}, deps={CLEAN: None}),
        description="When each enrollment is looked at: at enrollment, after each step that went out, and at the ends "
        "of the days after it, so that open enrollments are scored anew with what is known by then.",
    )
    def moments(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"finding the moments of {days}"):
            lake, wanted = deployment.shared_lake, days_to_make(deployment, MOMENTS, days.days)
            if wanted:
                lake.write_days(
                    MOMENTS, _moments_of(deployment).filter(pl.col("day").is_in(wanted)).collect(), days=wanted
                )
                note_made(deployment, MOMENTS, wanted)
            found = lake.scan_days(MOMENTS, first=days.first, last=days.last).collect()
        note_partition_rows(context, lake.row_counts(MOMENTS, days.days))
        return dg.MaterializeResult(
            metadata={**table_metadata(found, schema=schema_of_frame(found)), "days_made": len(wanted)},
            data_version=dg.DataVersion(content_checksum(found)),
        )

    return moments


def _moments_of(deployment: OutreachDeployment) -> pl.LazyFrame:
    chosen = deployment.config.moments
    reached = reaches(
        deployment.clean("enrollments"), deployment.clean("campaign_steps"), deployment.clean("engagement_logs")
    )
    return with_ends_of_days(
        reached,
        timezone=deployment.config.timezone,
        rescore_days=chosen.rescore_days,
        known_until=deployment.moments_until(),
        choice=MomentChoice(
            at_enrollment=chosen.at_enrollment,
            positions=None if chosen.positions is None else frozenset(chosen.positions),
        ),
    )


def _moment_features_asset(deployment: OutreachDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily(MOMENT_FEATURES, group="tables", kinds={"polars", "parquet"}, deps={MOMENTS: None, CLEAN: None}),
        description="Features of each moment from what had happened and had been recorded by then; all targets of the "
        "file share them. The same whether a day is computed alone or in a year.",
    )
    def features_of_moments(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days, lake = day_range(context), deployment.shared_lake
        with narrated(context, f"computing features of moments of {days}"):
            lake.require_days(MOMENTS, days.days)
            wanted = days_to_make(deployment, MOMENT_FEATURES, days.days)
            if wanted:
                asked = lake.scan_days(MOMENTS, first=wanted[0], last=wanted[-1]).filter(pl.col("day").is_in(wanted))
                lake.write_days(MOMENT_FEATURES, pl.concat(list(deployment.moment_features(asked))), days=wanted)
                note_made(deployment, MOMENT_FEATURES, wanted)
            rows = lake.row_counts(MOMENT_FEATURES, days.days)
            sample = lake.scan_days(MOMENT_FEATURES, first=days.first, last=days.last).head(5).collect()
        note_partition_rows(context, rows)
        columns = deployment.problem.feature_columns(deployment.data(), lag_days=0)
        definitions = {column.name: column.definition for column in columns}
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(rows.values()),
                "days_made": len(wanted),
                "dagster/column_schema": schema_of_frame(sample, definitions=definitions),
                "dagster/column_lineage": lineage(
                    {column.name: column.sources for column in columns}, deployment=deployment
                ),
                "preview": preview(sample),
                "feature_columns": len(columns),
            },
            data_version=dg.DataVersion(lake.digest(MOMENT_FEATURES, days.days)),
        )

    return features_of_moments


def _profile_asset(deployment: OutreachDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("data_profile", group="raw", kinds={"json"}, deps={CLEAN: None}),
        description="What the cleaning found, how far the data reach, and whether they are enough to train this target "
        "or to score. Writes no table.",
    )
    def data_profile(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "counting what there is to learn from"):
            document = outreach_profile(
                deployment.document(),
                enrollments=deployment.clean("enrollments"),
                outcomes=deployment.clean("outcomes") if deployment.has_outcomes else None,
                target=deployment.target,
                config=deployment.config,
                observed_until=deployment.observed_until(),
            )
            facts = RunFacts(
                run_id=context.run.run_id,
                kind="validate",
                started_at=datetime.now(UTC),
                as_of_date=document["last_day"],
                observed_until=document["observed_until"],
            )
            write_plain_bundle(deployment.home, facts, config=deployment.config, profile=document)
            deployment.lake.write_json("data_profile", document)
        return dg.MaterializeResult(
            metadata={
                "profile": dg.MetadataValue.md(outreach_profile_markdown(document)),
                "verdict": document["verdict"],
                "ready_to_train": document["readiness"]["train"]["ready"],
                "ready_to_score": document["readiness"]["score"]["ready"],
            }
        )

    return data_profile


def _scored_moments_asset(deployment: OutreachDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("joined_leads", group="tables", kinds={"polars", "parquet"}, deps={MOMENTS: None, CLEAN: None}),
        description="The moments at which the target could still be won, as it stood then: neither had its outcome "
        "been recorded nor its window ended.",
    )
    def scored_moments(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days = day_range(context)
        with narrated(context, f"choosing the moments of {days} at which the target is open"):
            deployment.shared_lake.require_days(MOMENTS, days.days)
            require_rows_of_one_query(deployment, days=days.days)
            asked = deployment.shared_lake.scan_days(MOMENTS, first=days.first, last=days.last)
            outcomes = deployment.clean("outcomes") if deployment.has_outcomes else None
            open_ones = with_exclusion_at_prediction(
                asked, deployment.clean("engagement_logs"), outcomes, target=deployment.target
            )
            chosen = keyed(open_ones.filter(pl.col("exclusion").is_null())).select(deployment.problem.key_columns)
            found = chosen.sort("day", "created_time", "lead_id").collect()
            rows = deployment.lake.write_days("joined_leads", found, days=days.days)
            note_rows_of_query(deployment)
        note_partition_rows(context, rows)
        return dg.MaterializeResult(
            metadata={
                **table_metadata(found, schema=schema_of_frame(found)),
                "dagster/column_lineage": lineage(_scored_lineage(), deployment=deployment),
                "moments": asked.select(pl.len()).collect().item(),
                "still_open": found.height,
            },
            data_version=dg.DataVersion(content_checksum(found)),
        )

    return scored_moments


def _scored_lineage() -> dict[str, Sources]:
    same = carried(MOMENTS, ("day", "step_id", "template_id", "campaign_id", "enrollment_id"))
    return {
        **same,
        "lead_id": ((MOMENTS, "moment_id"),),
        "created_time": ((MOMENTS, "prediction_time"),),
        "join_method": ((MOMENTS, "enrollment_id"),),
    }
