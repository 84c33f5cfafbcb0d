"""What a careful analyst would say about these exports before trusting them. Nothing here stops a run.

Belongs here: gathering the observations of every subject. Does not belong here: the observations (``findings_*``),
contract violations (they raise in ``tables`` and ``cross_checks``) or verdicts (``readiness``).
"""

from __future__ import annotations

from elv_pipeline.ingest.review.finding import Finding
from elv_pipeline.ingest.review.findings_days import day_findings
from elv_pipeline.ingest.review.findings_files import file_findings
from elv_pipeline.ingest.review.findings_ids import id_findings
from elv_pipeline.ingest.review.findings_matches import match_findings
from elv_pipeline.ingest.review.findings_money import money_findings
from elv_pipeline.ingest.review.findings_outcomes import outcome_findings
from elv_pipeline.ingest.review.findings_personal import personal_findings
from elv_pipeline.ingest.review.findings_times import time_findings
from elv_pipeline.ingest.sources import Sources
from elv_pipeline.settings import PipelineConfig

__all__ = ["Finding", "findings"]


def findings(sources: Sources, config: PipelineConfig) -> list[Finding]:
    """Everything absent or suspicious in the exports, warnings first."""
    found = [
        *file_findings(sources),
        *outcome_findings(sources, config),
        *id_findings(sources),
        *personal_findings(sources),
        *time_findings(sources, config),
        *day_findings(sources, config),
        *match_findings(sources, config),
        *money_findings(sources, config),
    ]
    return sorted(found, key=lambda finding: finding.severity != "warning")
