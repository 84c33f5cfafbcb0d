"""The explanation of one score, on demand.

Belongs here: reading the row from the lake and explaining it with a model. Does not belong here: contributions and
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
    """Explain the score of one row of the lake with the champion, or the chosen model.

    Args:
        deployment: the configuration.
        lead_id: id of a row; where several rows are of one entity, such as moments of an enrollment, the entity's id
            stands for its newest row, whose score is the one that counts.
        chosen: the model that explains.

    Raises:
        ScoringRefusedError: the row is not in the feature table, or the model cannot explain.
    """
    handle, model = compatible_model(deployment, chosen)
    days = deployment.lake.days("features")
    rows = deployment.scan("features", first=days[0], last=days[-1]) if days else pl.LazyFrame({"lead_id": []})
    lead = _found(deployment, rows, _stored(deployment, lead_id))
    if lead.height != 1:
        raise ScoringRefusedError(_not_there(deployment, lead_id, days=len(days)))
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


def _found(deployment: Deployment, rows: pl.LazyFrame, known_as: str) -> pl.DataFrame:
    """The row of an id, else the newest row of the entity of that id."""
    entity = deployment.words.entity_id
    found = rows.filter(pl.col("lead_id") == known_as).collect()
    if found.height or entity is None or entity not in rows.collect_schema().names():
        return found
    return rows.filter(pl.col(entity) == known_as).collect().sort("created_time", "lead_id").tail(1)


def _not_there(deployment: Deployment, lead_id: str, *, days: int) -> str:
    words = deployment.words
    if words.entity_id is None:
        wanted = words.row
        way_out = "or run 'elv build-table' with an export that holds it; 'elv batch-score' explains a file's leads."
    else:
        wanted = f"{words.entity} or {words.row}"
        way_out = (
            f"which is that of the exports, or of one of its {words.rows}, such as <id>@0; or run 'elv build-table' "
            f"with exports that hold it. Moments at which the target was reached already are not scored."
        )
    return (
        f"{deployment.name}: {wanted} {lead_id!r} is not in the feature table ({days} days are computed). Check the "
        f"id, {way_out}"
    )


def _stored(deployment: Deployment, lead_id: str) -> str:
    """The id as it is stored: hashed where the configuration says so, unless it is a stored one already."""
    hasher, entity = hasher_of(deployment.config), deployment.words.entity_id
    if hasher is None or (entity or "lead_id") not in hasher.columns:
        return lead_id
    whole, mark, moment = lead_id.rpartition("@") if entity is not None and "@" in lead_id else (lead_id, "", "")
    if re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS}}}", whole):
        return lead_id
    return f"{hasher.text(whole)}{mark}{moment}"
