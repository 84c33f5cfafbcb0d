"""Raw assets: exports become typed, validated, day-partitioned tables.

Belongs here: the asset functions. Does not belong here: reading and rules (``ingest/``). A contract violation raises
before anything is written, so bad data never replaces good.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.contracts.lead_ads import ADS, LEAD_TO_AD_MAP, LEADS, OUTCOMES
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.cross_checks import check_outcomes
from elv_pipeline.ingest.findings import findings
from elv_pipeline.ingest.ingested import Ingested
from elv_pipeline.ingest.profile import profile, profile_markdown
from elv_pipeline.ingest.readiness import readiness
from elv_pipeline.ingest.sources import read_sources
from elv_pipeline.ingest.tables import read_ads, read_lead_to_ad_map, read_leads, read_outcomes
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.describe import (
    note_partition_rows,
    preview,
    schema_of_contract,
    table_metadata,
)
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.run_bundle import write_plain_bundle
from elv_pipeline.tables.joins import ID_COLUMNS


def raw_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Raw tables of the exports that the configuration names, and the profile of all of them."""
    paths = deployment.config.paths
    assets = [_profile_asset(deployment, parts), _leads_asset(deployment, parts)]
    if paths.ads_path:
        assets.append(_ads_asset(deployment, parts))
    if paths.outcomes_path:
        assets.append(_outcomes_asset(deployment, parts))
    if paths.lead_to_ad_map_path:
        assets.append(_mapping_asset(deployment, parts))
    return assets


def _profile_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("data_profile", group="raw", kinds={"csv", "pandera"}),
        description="All exports read and checked against their contracts and each other: what is there, what is "
        "missing, what looks wrong, and whether it is enough to train or to score. Writes no table.",
        check_specs=[
            dg.AssetCheckSpec(
                "no_warnings", asset=parts.key("data_profile"), description="Nothing in the exports looks suspicious."
            )
        ],
    )
    def data_profile(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "reading and checking every export"):
            sources = read_sources(deployment.config)
            found, verdicts = findings(sources, deployment.config), readiness(sources, deployment.config)
            document = profile(sources, found, verdicts, deployment.config)
            deployment.lake.write_json("data_profile", document)
            facts = RunFacts(
                run_id=context.run.run_id,
                kind="validate",
                started_at=datetime.now(UTC),
                as_of_date=document["last_day"],
                observed_until=document["observed_until"],
            )
            write_plain_bundle(deployment.home, facts, config=deployment.config, profile=document)
        warnings = [finding for finding in found if finding.severity == "warning"]
        return dg.MaterializeResult(
            metadata={
                "profile": dg.MetadataValue.md(profile_markdown(document)),
                "ready_to_train": verdicts.train.ready,
                "ready_to_score": verdicts.score.ready,
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="no_warnings",
                    passed=not warnings,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={finding.code: finding.message for finding in warnings},
                )
            ],
        )

    return data_profile


def _leads_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("leads", group="raw", kinds={"csv", "polars"}),
        description="Leads by local day of creation. Unknown columns, and with them personal data, stay outside.",
    )
    def leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        ingested = read_leads(deployment.config.paths.leads_path, deployment.config)
        carried = [column for column in ID_COLUMNS if ingested.frame[column].null_count() < ingested.frame.height]
        if deployment.config.paths.lead_to_ad_map_path:
            mapped = read_lead_to_ad_map(deployment.config.paths.lead_to_ad_map_path, deployment.config).frame
            carried += [column for column in ID_COLUMNS if mapped[column].null_count() < mapped.height]
        extra = {"id_columns": [column for column in ID_COLUMNS if column in carried]}
        return _store(context, deployment, ingested, LEADS, moment="created_time", extra=extra)

    return leads


def _ads_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("ads", group="raw", kinds={"csv", "polars"}),
        description="Daily delivery of each ad: impressions, clicks, spend as whole millionths of the currency.",
    )
    def ads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        path = deployment.config.paths.ads_path
        assert path is not None  # the asset exists only where the path does
        return _store(context, deployment, read_ads(path, deployment.config), ADS, moment=None)

    return ads


def _outcomes_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("outcomes", group="raw", kinds={"csv", "polars"}),
        description="Qualified leads by the local day on which that was recorded, checked against the leads export.",
    )
    def outcomes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        config = deployment.config
        assert config.paths.outcomes_path is not None  # the asset exists only where the path does
        checked = check_outcomes(
            read_outcomes(config.paths.outcomes_path, config), read_leads(config.paths.leads_path, config), config
        )
        deployment.lake.write_frame(
            "sources/unobserved_leads", checked.dropped_keys.alias("lead_id").unique().sort().to_frame()
        )
        return _store(context, deployment, checked, OUTCOMES, moment="recorded_time")

    return outcomes


def _mapping_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("lead_to_ad_map", group="raw", kinds={"csv", "polars"}),
        description="Which ad a lead belongs to, for leads whose own export does not say.",
    )
    def lead_to_ad_map(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        path = deployment.config.paths.lead_to_ad_map_path
        assert path is not None  # the asset exists only where the path does
        with narrated(context, "reading the mapping"):
            ingested = read_lead_to_ad_map(path, deployment.config)
            deployment.lake.write_frame("lead_to_ad_map", ingested.frame)
        return dg.MaterializeResult(
            metadata=table_metadata(ingested.frame, schema=schema_of_contract(LEAD_TO_AD_MAP)),
            data_version=dg.DataVersion(ingested.profile.sha256),
        )

    return lead_to_ad_map


def _store(
    context: dg.AssetExecutionContext,
    deployment: Deployment,
    ingested: Ingested,
    contract: TableContract,
    *,
    moment: str | None,
    extra: dict[str, Any] | None = None,
) -> dg.MaterializeResult:
    """Write the run's days of a validated table, and note how far the source reaches."""
    days = day_range(context)
    with narrated(context, f"{ingested.frame.height:,} rows read, writing {days}"):
        frame = ingested.frame.filter(pl.col("day").is_between(days.first, days.last)).sort("day", *contract.key)
        rows = deployment.lake.write_days(contract.name, frame, days=days.days)
        newest = ingested.frame[moment].max() if moment and ingested.frame.height else None
        deployment.lake.write_json(
            f"sources/{contract.name}",
            {
                "file": Path(ingested.profile.file).name,
                "sha256": ingested.profile.sha256,
                "rows": ingested.frame.height,
                "newest_moment": newest.isoformat() if newest else None,  # type: ignore[union-attr]  # a datetime
                **(extra or {}),
            },
        )
    note_partition_rows(context, rows)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": frame.height,
            "dagster/column_schema": schema_of_contract(contract),
            "preview": preview(frame),
            "dropped_columns": ", ".join(ingested.profile.dropped_columns) or "none",
            "dropped_rows": ingested.profile.dropped_rows,
        },
        data_version=dg.DataVersion(ingested.profile.sha256),
    )
