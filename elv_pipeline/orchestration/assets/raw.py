"""Raw assets: exports become typed, validated, day-partitioned tables.

Belongs here: the asset functions. Does not belong here: reading and rules (``ingest/``). A contract violation raises
before anything is written, so bad data never replaces good.
"""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from elv_pipeline.contracts.lead_ads import LEAD_TO_AD_MAP, LEADS, OUTCOMES
from elv_pipeline.ingest.cross_checks import check_outcomes
from elv_pipeline.ingest.review.data_checks import DATA_CHECKS, data_checks
from elv_pipeline.ingest.review.profile import profile_of
from elv_pipeline.ingest.review.profile_markdown import profile_markdown
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.assets.enrichment import enrichment_assets
from elv_pipeline.orchestration.describe import schema_of_contract, table_metadata
from elv_pipeline.orchestration.exports_at_hand import export_at_hand, usable_exports
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.outcome_rows import complete_columns, known_leads, note_unobserved, with_withdrawn
from elv_pipeline.orchestration.partitions import day_range
from elv_pipeline.orchestration.queries_read import is_edited, require_all_days
from elv_pipeline.orchestration.raw_writes import RestatedConfig, coverage_check, raw_parts, write_rows, write_versions
from elv_pipeline.orchestration.resources import narrated
from elv_pipeline.problems.lead_ads import LEAD_ATTRIBUTES
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.run_bundle import write_plain_bundle
from elv_pipeline.tables.joins import ID_COLUMNS


def raw_assets(deployment: LeadAdsDeployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Raw tables of the exports that the configuration names, and the profile of all of them."""
    paths = deployment.config.paths
    assets = [_profile_asset(deployment, parts), _leads_asset(deployment, parts)]
    if paths.ads_path:
        assets.append(_ads_asset(deployment, parts))
    if paths.outcomes_path:
        assets.append(_outcomes_asset(deployment, parts))
    if paths.lead_to_ad_map_path:
        assets.append(_mapping_asset(deployment, parts))
    return [*assets, *enrichment_assets(deployment, parts)]


def _profile_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("data_profile", group="raw", kinds={"csv", "pandera"}),
        description="All exports read and checked against their contracts and each other: what is there, what is "
        "missing, what looks wrong, and whether it is enough to train or to score. Writes no table.",
        check_specs=[
            dg.AssetCheckSpec(spec.name, asset=parts.key("data_profile"), description=spec.description)
            for spec in DATA_CHECKS
        ],
    )
    def data_profile(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "reading and checking every export"):
            document = profile_of(usable_exports(deployment), deployment.config)
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
                "profile": dg.MetadataValue.md(profile_markdown(document)),
                "page": dg.MetadataValue.url((deployment.home.runs / context.run.run_id / "validation.html").as_uri()),
                "verdict": document["verdict"],
                "ready_to_train": document["readiness"]["train"]["ready"],
                "ready_to_score": document["readiness"]["score"]["ready"],
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name=check.name,
                    passed=check.passed,
                    severity=dg.AssetCheckSeverity.ERROR if check.severity == "error" else dg.AssetCheckSeverity.WARN,
                    description=check.sentence,
                    metadata=dict(check.metadata),
                )
                for check in data_checks(document)
            ],
        )

    return data_profile


def _leads_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("leads", **raw_parts(deployment, "leads")),
        description="Leads by local day of creation. Unknown columns, and with them personal data, stay outside.",
        check_specs=[coverage_check(parts, "leads")],
    )
    def leads(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        export = export_at_hand(deployment, "leads")
        found = export.of_days(day_range(context).days)
        carried = export.carried([*ID_COLUMNS, *LEAD_ATTRIBUTES])
        if deployment.config.paths.lead_to_ad_map_path:
            carried += export_at_hand(deployment, "lead_to_ad_map").carried(ID_COLUMNS)
        # Levels that an earlier export carried stay: one file without them must not change what the features are.
        earlier = deployment.lake.read_json("sources/leads") or {}
        carried += [*earlier.get("id_columns", []), *earlier.get("attributes", [])]
        extra = {
            "id_columns": [column for column in ID_COLUMNS if column in carried],
            "attributes": [column for column in LEAD_ATTRIBUTES if column in carried],
        }
        return write_rows(context, deployment, export, LEADS, rows=found.frame, profile=found.profile, extra=extra)

    return leads


def _ads_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("ads", **raw_parts(deployment, "ads")),
        description="Daily delivery of each ad as first known: impressions, clicks, spend as whole millionths of the "
        "currency. What later exports restate is kept beside it with the moment it became known.",
        check_specs=[coverage_check(parts, "ads")],
    )
    def ads(context: dg.AssetExecutionContext, config: RestatedConfig) -> dg.MaterializeResult:
        export = export_at_hand(deployment, "ads")
        return write_versions(context, deployment, export, deployment.ads_store, anew=config.anew)

    return ads


def _outcomes_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.daily("outcomes", **_outcomes_parts(deployment)),
        description="Qualified leads by the local day on which that was recorded, checked against the leads export. "
        "An outcome that a later export of its day no longer holds counts as withdrawn from then on.",
        check_specs=[coverage_check(parts, "outcomes")],
    )
    def outcomes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        days, config = day_range(context).days, deployment.config
        export, leads = export_at_hand(deployment, "outcomes"), export_at_hand(deployment, "leads")
        found = export.of_days(days)
        edited = is_edited(deployment, OUTCOMES.name, export.arrivals)
        if edited:  # before anything is noted
            require_all_days(deployment, OUTCOMES.name, export.arrivals, days=days)
        complete_columns(deployment.lake, OUTCOMES.name, OUTCOMES.schema)
        checked = check_outcomes(found, known_leads(deployment, leads, of=found), config)
        # An edited query says what an outcome is: one that it does not deliver was none, and is not withdrawn.
        rows = checked.frame if edited else with_withdrawn(deployment, export, checked.frame, days=days)
        note_unobserved(deployment, checked, anew=edited)
        # Days without an outcome at the end are covered as far as the leads that were exported with them.
        reach = max((day for day in (export.last_day, leads.last_day) if day), default=None)
        return write_rows(context, deployment, export, OUTCOMES, rows=rows, profile=checked.profile, last_day=reach)

    return outcomes


def _outcomes_parts(deployment: LeadAdsDeployment) -> dict[str, Any]:
    found = raw_parts(deployment, "outcomes")
    return {**found, "deps": {"leads": None, **found.get("deps", {})}}


def _mapping_asset(deployment: LeadAdsDeployment, parts: AssetParts) -> dg.AssetsDefinition:
    @asset(
        **parts.common("lead_to_ad_map", **raw_parts(deployment, "lead_to_ad_map")),
        description="Which ad a lead belongs to, for leads whose own export does not say.",
    )
    def lead_to_ad_map(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "reading the mapping"):
            ingested = export_at_hand(deployment, "lead_to_ad_map").whole()
            deployment.lake.write_frame("lead_to_ad_map", ingested.frame)
        return dg.MaterializeResult(
            metadata=table_metadata(ingested.frame, schema=schema_of_contract(LEAD_TO_AD_MAP)),
            data_version=dg.DataVersion(ingested.profile.sha256),
        )

    return lead_to_ad_map
