"""What may be said about a lead of one configuration.

Belongs here: the specification of reasons from problem and configuration. Does not belong here: the reasons themselves
(``decisions/reasons.py``).
"""

from __future__ import annotations

from elv_pipeline.decisions.reasons import ReasonSpec
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.problems.reason_phrases import reason_phrases
from elv_pipeline.problems.sensitive import SENSITIVE


def reason_spec(deployment: Deployment) -> ReasonSpec:
    """Phrases of the problem's features, without sensitive attributes and what the configuration keeps out."""
    config = deployment.config
    return ReasonSpec(
        phrases=reason_phrases(deployment.problem),
        denied=(*SENSITIVE, *config.reporting.unspoken),
        currency=config.currency,
        words=deployment.words,
    )
