"""Recommendations as tables with fixed columns and types, also where they are empty.

Belongs here: columns, and which value of the document goes where. Does not belong here: any figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from elv_pipeline.decisions.recommend.findings_table import SCHEMA as FINDINGS

_TEXT, _WHOLE, _NUMBER, _YES = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
CHANGES: dict[str, pl.DataType] = {
    **dict.fromkeys(("kind", "element", "campaign_id", "step_id"), _TEXT),
    "position": _WHOLE,
    **dict.fromkeys(("change", "direction", "outcome"), _TEXT),
    "window_days": _WHOLE,
    **dict.fromkeys(("status_quo", "effect", "low", "high"), _NUMBER),
    **dict.fromkeys(("shrunk", "shrunk_low", "shrunk_high", "probability"), _NUMBER),
    **dict.fromkeys(("peers", "n", "n_now"), _WHOLE),
    **dict.fromkeys(("label", "assumption", "sentence"), _TEXT),
}
EDITS: dict[str, pl.DataType] = {
    **dict.fromkeys(("template_id", "channel", "before", "after", "diff"), _TEXT),
    "stronger": pl.List(pl.String()),
    "n": _WHOLE,
    "label": _TEXT,
    "sentences": pl.List(pl.String()),
}
_OF_PROPOSAL: dict[str, pl.DataType] = {
    **dict.fromkeys(("kind", "element", "change", "direction", "outcome"), _TEXT),
    "window_days": _WHOLE,
    **dict.fromkeys(("gain", "gain_low", "gain_high"), _NUMBER),
    "n": _WHOLE,
    **dict.fromkeys(("label", "assumption", "content", "hypothesis"), _TEXT),
    "weekly_units": _NUMBER,
    "remark": _TEXT,
}
PROPOSALS: dict[str, pl.DataType] = {
    "rank": _WHOLE,
    "proposal_id": _TEXT,
    "state": _TEXT,
    **dict.fromkeys(("value", "value_low", "value_high", "confidence", "effort_days", "score"), _NUMBER),
    "in_money": _YES,
    **_OF_PROPOSAL,
    "has_experiment": _YES,
}
EXPERIMENTS: dict[str, pl.DataType] = {
    **dict.fromkeys(("proposal_id", "plan_key", "name", "unit", "primary_metric"), _TEXT),
    **dict.fromkeys(("treatment_share", "alpha", "power", "baseline", "detectable", "units"), _NUMBER),
    **dict.fromkeys(("window_days", "enrolment_weeks", "total_weeks", "looks"), _WHOLE),
    "guardrails": pl.List(pl.String()),
    "stages": pl.List(pl.Float64()),
}


def frames_of(document: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """The tables of a document of recommendations, rows in its order."""
    proposals = document["proposals"]
    planned = [entry["proposal"] for entry in proposals if entry["proposal"]["plan"] is not None]
    return {
        "findings": _frame(document["findings"], FINDINGS),
        "changes": _frame(document["changes"], CHANGES),
        "edits": _frame(document["edits"], EDITS),
        "proposals": _frame(map(_proposal, proposals), PROPOSALS),
        "experiments": _frame(map(_experiment, planned), EXPERIMENTS),
    }


def _frame(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=dict(schema), orient="row")


def _proposal(entry: Mapping[str, Any]) -> dict[str, Any]:
    proposal = entry["proposal"]
    named = {"gain_low": proposal["low"], "gain_high": proposal["high"]}
    return {
        **{name: entry.get(name) for name in PROPOSALS},
        **{name: proposal.get(name) for name in _OF_PROPOSAL},
        **named,
        "proposal_id": proposal["id"],
        "value_low": entry["low"],
        "value_high": entry["high"],
        "has_experiment": proposal["plan"] is not None,
    }


def _experiment(proposal: Mapping[str, Any]) -> dict[str, Any]:
    plan = proposal["plan"]
    design, derived = plan["design"], plan["derived"]
    return {
        "proposal_id": proposal["id"],
        "plan_key": plan["plan_key"],
        "name": design["name"],
        "unit": design["unit"],
        "primary_metric": design["primary"]["name"],
        "treatment_share": design["allocation"]["treatment_share"],
        "alpha": design["alpha"],
        "power": design["power"],
        "baseline": design["primary"]["baseline"]["value"],
        "detectable": derived["detectable"],
        "units": derived["units"],
        "window_days": design["window_days"],
        "enrolment_weeks": derived["enrolment_weeks"],
        "total_weeks": derived["total_weeks"],
        "looks": len(derived["looks"]),
        "guardrails": [guardrail["metric"]["name"] for guardrail in design["guardrails"]],
        "stages": design["stages"],
    }
