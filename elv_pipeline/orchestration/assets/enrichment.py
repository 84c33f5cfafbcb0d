"""Raw assets of the optional exports: delivery by placement and region, audiences, creatives.

Belongs here: the asset functions. Does not belong here: reading and rules (``ingest/enrichment.py``), or the features
made of them (``tables/``).
"""

import dagster as dg

from elv_pipeline.ingest.enrichment import ATTRIBUTES, BREAKDOWNS
from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.describe import schema_of_contract, table_metadata
from elv_pipeline.orchestration.exports_at_hand import CONTRACTS, export_at_hand
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.raw_writes import RestatedConfig, coverage_check, raw_parts, write_versions
from elv_pipeline.orchestration.resources import narrated


def enrichment_assets(deployment: LeadAdsDeployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """Raw tables of the optional exports that the configuration names."""
    configured = [table for table in (*BREAKDOWNS, *ATTRIBUTES) if getattr(deployment.config.paths, f"{table}_path")]
    return [
        _breakdown_asset(deployment, parts, table)
        if table in BREAKDOWNS
        else _attributes_asset(deployment, parts, table)
        for table in configured
    ]


def _breakdown_asset(deployment: LeadAdsDeployment, parts: AssetParts, table: str) -> dg.AssetsDefinition:
    @asset(
        **parts.daily(table, **raw_parts(deployment, table)),
        description=CONTRACTS[table].description + " First known figures; restatements are kept beside them.",
        check_specs=[coverage_check(parts, table)],
    )
    def breakdown(context: dg.AssetExecutionContext, config: RestatedConfig) -> dg.MaterializeResult:
        export = export_at_hand(deployment, table)
        return write_versions(context, deployment, export, deployment.breakdown_store(table), anew=config.anew)

    return breakdown


def _attributes_asset(deployment: LeadAdsDeployment, parts: AssetParts, table: str) -> dg.AssetsDefinition:
    @asset(
        **parts.common(table, **raw_parts(deployment, table)),
        description=CONTRACTS[table].description,
    )
    def attributes(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with narrated(context, "reading the export"):
            export = export_at_hand(deployment, table)
            frame = export.whole().frame
            deployment.lake.write_frame(table, frame)
        return dg.MaterializeResult(
            metadata=table_metadata(frame, schema=schema_of_contract(CONTRACTS[table])),
            data_version=dg.DataVersion(export.sha256),
        )

    return attributes
