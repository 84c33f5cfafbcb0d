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
from elv_pipeline.orchestration.assets.publishing import publishing_assets
from elv_pipeline.orchestration.assets.raw import raw_assets
from elv_pipeline.orchestration.assets.registry import registry_assets
from elv_pipeline.orchestration.assets.report import report_assets
from elv_pipeline.orchestration.assets.scoring import scoring_assets
from elv_pipeline.orchestration.assets.tables import table_assets
from elv_pipeline.orchestration.assets.watching import watching_assets
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.jobs import jobs, schedules
from elv_pipeline.orchestration.resources import ScoringModel, TrainingOrigin
from elv_pipeline.orchestration.sensors import sensors


def problem_definitions(deployment: Deployment) -> dg.Definitions:
    """The asset chain, jobs, schedules and sensors of one configuration."""
    parts = AssetParts(deployment)
    return dg.Definitions(
        assets=[
            *extract_assets(deployment, parts),
            *raw_assets(deployment, parts),
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
    chains = [problem_definitions(Deployment(config, place)) for config in place.registered()]
    return dg.Definitions.merge(*chains, dg.Definitions(resources=resources, sensors=[abandoned_runs]))
