"""Raw assets: exports become typed, validated, day-partitioned tables.

Belongs here: the asset functions. Does not belong here: reading and rules (``ingest/``). A contract violation raises
before anything is written, so bad data never replaces good.
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from elv_pipeline.contracts.lead_ads import ADS, LEAD_TO_AD_MAP, LEADS, OUTCOMES
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.ingest.coverage import WritePlan, plan_write
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
        check_specs=[coverage_check(parts, "leads")],
    )
    def leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        ingested = read_leads(deployment.config.paths.leads_path, deployment.config)
        carried = [column for column in ID_COLUMNS if ingested.frame[column].null_count() < ingested.frame.height]
        if deployment.config.paths.lead_to_ad_map_path:
            mapped = read_lead_to_ad_map(deployment.config.paths.lead_to_ad_map_path, deployment.config).frame
            carried += [column for column in ID_COLUMNS if mapped[column].null_count() < mapped.height]
        # Levels that an earlier export carried stay: one file without them must not change what the features are.
        carried += (deployment.lake.read_json("sources/leads") or {}).get("id_columns", [])
        extra = {"id_columns": [column for column in ID_COLUMNS if column in carried]}
        return _store(context, deployment, ingested, LEADS, moment="created_time", extra=extra)

    return leads


def _ads_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("ads", group="raw", kinds={"csv", "polars"}),
        description="Daily delivery of each ad: impressions, clicks, spend as whole millionths of the currency.",
        check_specs=[coverage_check(parts, "ads")],
    )
    def ads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        path = deployment.config.paths.ads_path
        assert path is not None  # the asset exists only where the path does
        return _store(context, deployment, read_ads(path, deployment.config), ADS, moment=None)

    return ads


def _outcomes_asset(deployment: Deployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("outcomes", group="raw", kinds={"csv", "polars"}, deps={"leads": None}),
        description="Qualified leads by the local day on which that was recorded, checked against the leads export.",
        check_specs=[coverage_check(parts, "outcomes")],
    )
    def outcomes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        config = deployment.config
        assert config.paths.outcomes_path is not None  # the asset exists only where the path does
        exported = read_leads(config.paths.leads_path, config)
        checked = check_outcomes(
            read_outcomes(config.paths.outcomes_path, config), _with_earlier_leads(exported, deployment), config
        )
        deployment.lake.write_frame(
            "sources/unobserved_leads", checked.dropped_keys.alias("lead_id").unique().sort().to_frame()
        )
        # Days without an outcome at the end are covered as far as the leads that were exported with them.
        reach = [day for day in (checked.profile.last_day, exported.profile.last_day) if day]
        return _store(context, deployment, checked, OUTCOMES, moment="recorded_time", last_day=max(reach, default=None))

    return outcomes


def _with_earlier_leads(exported: Ingested, deployment: Deployment) -> Ingested:
    """The exported leads and those that an earlier export brought: a rolling export forgets leads, outcomes do not."""
    earlier = deployment.scan("leads", first=date.min, last=date.max).collect()
    forgotten = earlier.join(exported.frame, on="lead_id", how="anti").select(exported.frame.columns)
    return replace(exported, frame=pl.concat([exported.frame, forgotten]))


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
    last_day: date | None = None,
) -> dg.MaterializeResult:
    """Write the run's days of a validated table that the export speaks for, and note how far it reaches."""
    days, name = day_range(context), contract.name
    reach = last_day or ingested.profile.last_day
    with narrated(context, f"{ingested.frame.height:,} rows read, writing {days}"):
        plan = plan_write(
            days.days,
            first_day=ingested.profile.first_day,
            last_day=reach,
            rows=deployment.lake.row_counts(name, days.days),
        )
        frame = ingested.frame.filter(pl.col("day").is_in(plan.write)).sort("day", *contract.key)
        rows = deployment.lake.write_days(name, frame, days=plan.write) if plan.write else {}
        deployment.note_provisional(name, days=days.days, provisional=plan.provisional)
        newest = ingested.frame[moment].max() if moment and ingested.frame.height else None
        deployment.lake.write_json(
            f"sources/{name}",
            {
                "file": Path(ingested.profile.file).name,
                "sha256": ingested.profile.sha256,
                "rows": ingested.frame.height,
                "last_day": str(reach) if reach else None,
                "newest_moment": newest.isoformat() if newest else None,  # type: ignore[union-attr]  # a datetime
                **(extra or {}),
            },
        )
    note_partition_rows(context, {**rows, **deployment.lake.row_counts(name, plan.keep)})
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": frame.height,
            "dagster/column_schema": schema_of_contract(contract),
            "preview": preview(frame),
            "dropped_columns": ", ".join(ingested.profile.dropped_columns) or "none",
            "dropped_rows": ingested.profile.dropped_rows,
            "kept_days": len(plan.keep),
            "provisional_days": len(plan.provisional),
        },
        data_version=dg.DataVersion(ingested.profile.sha256),
        check_results=[_covered(plan, ingested)],
    )


def coverage_check(parts: AssetParts, noun: str) -> dg.AssetCheckSpec:
    """Declaration of the check that ``_store`` evaluates."""
    return dg.AssetCheckSpec("covered", asset=parts.key(noun), description="The export covers every day of the run.")


def _covered(plan: WritePlan, ingested: Ingested) -> dg.AssetCheckResult:
    file, profile, sentences = ingested.profile.file, ingested.profile, []
    if plan.provisional:
        sentences.append(
            f"{file} ends on {profile.last_day}; {len(plan.provisional)} later day(s) are empty until a newer export "
            f"reaches them"
        )
    if plan.keep:
        sentences.append(
            f"{file} covers {profile.first_day} to {profile.last_day}; {len(plan.keep)} day(s) outside keep the rows "
            f"of an earlier export"
        )
    # A quiet end is normal for outcomes: nobody qualifies every day.
    quiet = profile.table == OUTCOMES.name and not plan.keep
    return dg.AssetCheckResult(
        check_name="covered",
        passed=quiet or not sentences,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(sentences) or "every day is covered",
        metadata={"kept_days": len(plan.keep), "provisional_days": len(plan.provisional)},
    )
