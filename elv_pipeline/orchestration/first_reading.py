"""The first reading of a configuration's exports, before it is accepted.

Belongs here: where its calendar begins. Does not belong here: what later runs read (``assets/``).
"""

from __future__ import annotations

from datetime import date

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.ingest.outreach_exports import read_outreach
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.exports_at_hand import usable_exports
from elv_pipeline.orchestration.outreach_deployment import OutreachDeployment


def first_day_of_exports(deployment: Deployment) -> date:
    """The oldest local day on which there may be something to score.

    Raises:
        ContractError: the exports cannot be used.
    """
    if not isinstance(deployment, OutreachDeployment):
        return usable_exports(deployment).required().first_day
    sources = read_outreach(deployment.config, home=deployment.home)
    cleaned = clean_outreach(sources.tables, known_until=sources.known_until)
    cleaned.gate.require()
    enrolled = cleaned.tables["enrollments"]["enrolled_time"].dt.convert_time_zone(deployment.config.timezone)
    first = enrolled.dt.date().min()
    if not isinstance(first, date):
        raise ContractError("enrollments: no row has an enrolled_time, so no calendar begins. Correct the export.")
    return first
