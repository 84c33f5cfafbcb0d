"""The asset that lets go what is old, so that a schedule can do what ``elv purge`` does.

Belongs here: the asset function. Does not belong here: what may go (``housekeeping.py``, ``publishing/retention.py``).
"""

from datetime import UTC, datetime

import dagster as dg

from elv_pipeline.orchestration.asset_parts import AssetParts, asset
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.housekeeping import purge_home
from elv_pipeline.orchestration.resources import narrated


class PurgeConfig(dg.Config):
    """What goes.

    Attributes:
        older_than: days, for everything; 0: ``retention`` of the configuration.
        dry_run: only say what would go.
    """

    older_than: int = 0
    dry_run: bool = False


def housekeeping_assets(deployment: Deployment, parts: AssetParts) -> list[dg.AssetsDefinition]:
    """The housekeeping of a configuration."""

    @asset(
        **parts.common("housekeeping", group="watching", kinds={"json"}),
        description="Removes snapshots, bundles, caches and run records that are older than the retention and that "
        "nothing needs: models in use, the newest snapshots and the log of promotions stay.",
    )
    def housekeeping(context: dg.AssetExecutionContext, config: PurgeConfig) -> dg.MaterializeResult:
        with narrated(context, "removing what is old"):
            done = purge_home(
                deployment,
                context.instance,
                older_than=config.older_than or None,
                dry_run=config.dry_run,
                now=datetime.now(UTC),
            )
        return dg.MaterializeResult(
            metadata={
                "removed": dict(done.files.counts()),
                "freed_mb": round(done.files.freed / 1e6, 1),
                "run_records": len(done.runs.removed),
                "kept_bundles": dict(done.files.kept_bundles),
            }
        )

    return [housekeeping]
