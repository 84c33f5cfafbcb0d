"""The code location: every configuration that the home has accepted becomes its own chain of assets.

Belongs here: the factory from a configuration to definitions, and merging them. Does not belong here: assets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from elv_pipeline.home import Home
from elv_pipeline.orchestration.abandoned import abandoned_runs
from elv_pipeline.orchestration.asset_parts import AssetParts
from elv_pipeline.orchestration.assets.backtest import backtest_assets
from elv_pipeline.orchestration.assets.boards import board_assets
from elv_pipeline.orchestration.assets.challenger import challenger_assets
from elv_pipeline.orchestration.assets.completeness import completeness_assets
from elv_pipeline.orchestration.assets.extract import extract_assets
from elv_pipeline.orchestration.assets.housekeeping import housekeeping_assets
from elv_pipeline.orchestration.assets.learning import learning_assets
from elv_pipeline.orchestration.assets.outreach import outreach_assets, target_assets
from elv_pipeline.orchestration.assets.publishing import publishing_assets
from elv_pipeline.orchestration.assets.raw import raw_assets
from elv_pipeline.orchestration.assets.recommend import recommend_assets
from elv_pipeline.orchestration.assets.registry import registry_assets
from elv_pipeline.orchestration.assets.report import batch_asset, report_assets
from elv_pipeline.orchestration.assets.scoring import scoring_assets
from elv_pipeline.orchestration.assets.tables import joined_asset, table_assets
from elv_pipeline.orchestration.assets.watching import watching_assets
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.deployments import deployment_of
from elv_pipeline.orchestration.jobs import jobs, schedules
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.outreach_deployment import OutreachDeployment
from elv_pipeline.orchestration.resources import ScoringModel, TrainingOrigin
from elv_pipeline.orchestration.sensors import sensors


def _row_assets(deployment: Deployment, parts: AssetParts, *, with_shared: bool) -> list[dg.AssetsDefinition]:
    """What is the problem's own: everything up to the rows that are scored."""
    if isinstance(deployment, OutreachDeployment):
        shared = [*extract_assets(deployment, parts), *outreach_assets(deployment, parts)] if with_shared else []
        return [*shared, *target_assets(deployment, parts), *recommend_assets(deployment, parts)]
    assert isinstance(deployment, LeadAdsDeployment)
    return [
        *extract_assets(deployment, parts),
        *raw_assets(deployment, parts),
        joined_asset(deployment, parts),
        batch_asset(deployment, parts),
    ]


def problem_definitions(deployment: Deployment, *, with_shared: bool = True) -> dg.Definitions:
    """The asset chain, jobs, schedules and sensors of one configuration.

    Args:
        deployment: the configuration.
        with_shared: whether the assets that the targets of one file share are among them: exactly one target has them.
    """
    parts = AssetParts(deployment)
    return dg.Definitions(
        assets=[
            *_row_assets(deployment, parts, with_shared=with_shared),
            *table_assets(deployment, parts),
            *learning_assets(deployment, parts),
            *registry_assets(deployment, parts),
            *backtest_assets(deployment, parts),
            *completeness_assets(deployment, parts),
            *scoring_assets(deployment, parts),
            *publishing_assets(deployment, parts),
            *board_assets(deployment, parts),
            *challenger_assets(deployment, parts),
            *report_assets(deployment, parts),
            *watching_assets(deployment, parts),
            *housekeeping_assets(deployment, parts),
        ],
        jobs=jobs(deployment, parts),
        schedules=schedules(deployment, parts),
        sensors=sensors(deployment, parts),
    )


def build_defs(*, home: Home | None = None, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """A fresh graph of every configuration registered in a home.

    Args:
        home: the state folder; by default the one of ``ELV_HOME``.
        resource_overrides: resources that replace the defaults, for tests.
    """
    place = home or Home.from_environment()
    resources: dict[str, Any] = {
        "scoring_model": ScoringModel(),
        "training_origin": TrainingOrigin(),
        **(resource_overrides or {}),
    }
    families: set[str] = set()
    chains = []
    for config in place.registered():
        chains.append(problem_definitions(deployment_of(config, place), with_shared=config.shared_name not in families))
        families.add(config.shared_name)
    return dg.Definitions.merge(*chains, dg.Definitions(resources=resources, sensors=[abandoned_runs]))
