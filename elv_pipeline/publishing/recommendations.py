"""Recommendations as files: a document, tables and a page in the bundle of their run, and their proposals on record.

Belongs here: which files there are, and the state of each proposal in them. Does not belong here: the recommendations
(``decisions/recommend``), what the page shows (``pages/recommend``), or moving a proposal (``proposals_log.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from elv_pipeline.decisions.recommend.lifecycle import DECIDED
from elv_pipeline.decisions.recommend.recommendation_tables import frames_of
from elv_pipeline.home import Home
from elv_pipeline.publishing.kept_proposals import KeptProposal, keep_proposals, kept_proposals
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.pages.recommend.page import render_recommendations
from elv_pipeline.publishing.run_bundle import write_plain_bundle
from elv_pipeline.settings import PipelineConfig

NAME = "recommendations"
"""Of the document and of the page in a bundle."""
CAMPAIGNS: dict[str, pl.DataType] = {
    **dict.fromkeys(("campaign_id", "name"), pl.String()),
    **dict.fromkeys(("enrollments", "contacts"), pl.Int64()),
    "randomised": pl.Boolean(),
    **dict.fromkeys(("mature", "positives"), pl.Int64()),
    **dict.fromkeys(("outcome_rate", "outcome_low", "outcome_high"), pl.Float64()),
}
STEPS: dict[str, pl.DataType] = {
    "campaign_id": pl.String(),
    "position": pl.Int64(),
    **dict.fromkeys(("step_id", "channel", "template_id"), pl.String()),
    **dict.fromkeys(("reached", "replied"), pl.Int64()),
    "replied_share": pl.Float64(),
    **dict.fromkeys(("mature", "positives"), pl.Int64()),
    **dict.fromkeys(("outcome_rate", "outcome_low", "outcome_high"), pl.Float64()),
}


def write_recommendations(
    home: Home,
    facts: RunFacts,
    *,
    config: PipelineConfig,
    document: Mapping[str, Any],
    profile: Mapping[str, Any] | None = None,
) -> Path:
    """Put the proposals on record and write the bundle of the run. Atomic; same input and same log, same bytes.

    Args:
        home: the state folder.
        facts: what the run knows; ``kind`` is ``recommend``.
        config: whose recommendations these are.
        document: ``Recommendations.document()``, JSON values.
        profile: of the exports, where they were profiled.

    Returns:
        The bundle, with ``recommendations.json``, ``recommendations.html`` and a CSV a table.
    """
    as_of = str(document["as_of"])
    folder = home.proposals(config.name)
    keep_proposals(
        folder,
        document["proposals"],
        as_of=as_of,
        why=f"recommended as of {as_of[:10]} by run {facts.run_id}",
        now=facts.started_at,
    )
    told = with_states(document, kept_proposals(folder))
    return write_plain_bundle(
        home,
        facts,
        config=config,
        profile=profile or {},
        documents={NAME: told},
        tables=recommendation_tables(told),
        pages={NAME: render_recommendations(told, config=config)},
    )


def with_states(document: Mapping[str, Any], kept: Iterable[KeptProposal]) -> dict[str, Any]:
    """The document with the state of each proposal; what was approved is shown as it was approved.

    Proposals that are approved or running and not proposed any more follow under ``earlier``: an experiment does not
    end because the estimate that suggested it has moved.
    """
    known = {entry.id: entry for entry in kept}
    proposed = [entry["proposal"]["id"] for entry in document["proposals"]]
    open_still = [
        entry for key, entry in sorted(known.items()) if key not in proposed and _is_under_way(entry.last.state)
    ]
    told = [_with_state(entry, known[key]) for key, entry in zip(proposed, document["proposals"], strict=True)]
    states = dict(sorted(Counter(entry["state"] for entry in told).items()))
    return {
        **document,
        "summary": {**document["summary"], "states": states},
        "proposals": told,
        "earlier": [_with_state(entry.entry, entry) for entry in open_still],
    }


def recommendation_tables(document: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """The parts of the document as tables by name, lists as text; types are fixed, also where a part is empty."""
    everything = {**document, "proposals": [*document["proposals"], *document.get("earlier", ())]}
    tables = {
        "campaigns": pl.DataFrame(document["campaigns"], schema=CAMPAIGNS),
        "steps": pl.DataFrame(document["steps"], schema=STEPS),
        **frames_of(everything),
    }
    return {name: table.with_columns(_lists_as_text(table)) for name, table in tables.items()}


def _lists_as_text(table: pl.DataFrame) -> list[pl.Expr]:
    """A CSV holds no lists."""
    lists = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]
    return [pl.col(name).cast(pl.List(pl.String)).list.join(" | ") for name in lists]


def _is_under_way(state: str) -> bool:
    return state != "draft" and state not in DECIDED


def _with_state(entry: Mapping[str, Any], kept: KeptProposal) -> dict[str, Any]:
    """Today's figures of a draft; what a person saw when it was approved, from then on, at today's place."""
    last = kept.last
    moved = {"who": last.who, "why": last.why, "at": last.at.isoformat(timespec="seconds")}
    shown = entry if last.state == "draft" else {**kept.entry, "rank": entry["rank"]}
    return {**shown, "state": last.state, "moved": moved, "as_of": kept.as_of}
