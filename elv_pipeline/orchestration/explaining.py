"""The explanation of one lead's score, on demand.

Belongs here: reading the lead from the lake and explaining it with a model. Does not belong here: contributions and
their words (``decisions/reasons.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from elv_pipeline.decisions.predictions import predictions
from elv_pipeline.decisions.reasons import explanation
from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.orchestration.assets.scoring import scoring_run
from elv_pipeline.orchestration.deployment import Deployment
from elv_pipeline.orchestration.models_in_use import compatible_model
from elv_pipeline.orchestration.resources import ScoringModel
from elv_pipeline.privacy import HEX_DIGITS, hasher_of


@dataclass(frozen=True, kw_only=True)
class LeadExplanation:
    """Everything that adds to one lead's score.

    Attributes:
        prediction: the lead's row as ``predictions`` publishes it.
        factors: ``group, words, contribution, reason``, strongest first; they sum to the margin.
        model_version: of the model that explains.
    """

    prediction: dict[str, Any]
    factors: pl.DataFrame
    model_version: str


def explain_lead(deployment: Deployment, lead_id: str, *, chosen: ScoringModel) -> LeadExplanation:
    """Explain the score of one lead of the lake with the champion, or the chosen model.

    Raises:
        ScoringRefusedError: the lead is not in the feature table, or the model cannot explain.
    """
    handle, model = compatible_model(deployment, chosen)
    days = deployment.lake.days("features")
    rows = deployment.scan("features", first=days[0], last=days[-1]) if days else pl.LazyFrame({"lead_id": []})
    lead_id = _stored(deployment, lead_id)
    lead = rows.filter(pl.col("lead_id") == lead_id).collect()
    if lead.height != 1:
        raise ScoringRefusedError(
            f"{deployment.name}: lead {lead_id!r} is not in the feature table ({len(days)} days are computed). Check "
            f"the id, or run 'elv build-table' with an export that holds it; 'elv batch-score' explains a file's leads."
        )
    document = model.metadata.get("explanation")
    if document is None:
        raise ScoringRefusedError(
            f"model version {handle.version} was trained before models kept what is usual, so it cannot explain. "
            f"Run 'elv train'."
        )
    run = scoring_run(deployment, run_id="explain", handle=handle)
    assert run.reasons is not None  # scoring runs of a deployment always give reasons
    return LeadExplanation(
        prediction=predictions(lead, model, run=run).row(0, named=True),
        factors=explanation(model, lead, reference=ExplanationReference.from_dict(document), spec=run.reasons),
        model_version=handle.version,
    )


def _stored(deployment: Deployment, lead_id: str) -> str:
    """The id as it is stored: hashed where the configuration says so, unless it is a stored one already."""
    hasher = hasher_of(deployment.config)
    if hasher is None or "lead_id" not in hasher.columns or re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS}}}", lead_id):
        return lead_id
    return hasher.text(lead_id)
