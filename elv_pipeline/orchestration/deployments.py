"""The deployment of a configuration, by its problem.

Belongs here: which class a problem has. Does not belong here: what these do.
"""

from __future__ import annotations

from collections.abc import Mapping

from elv_pipeline.home import Home
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.lead_ads_deployment import LeadAdsDeployment
from elv_pipeline.orchestration.outreach_deployment import OutreachDeployment
from elv_pipeline.settings import PipelineConfig

DEPLOYMENTS: Mapping[str, type[Deployment]] = {"lead_ads": LeadAdsDeployment, "outreach": OutreachDeployment}


def deployment_of(config: PipelineConfig, home: Home) -> Deployment:
    """A configuration in a home."""
    return DEPLOYMENTS[config.problem](config, home)
