"""The verdict on a candidate as it is judged, the gate that asks for it, and the document that keeps both.

Belongs here: what joins gates and verdict. Does not belong here: either of them (``gates.py``, ``verdict.py``): the
verdict reads the other gates, so this one is judged after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from elv_pipeline.decisions.champion_comparison import ChampionComparison
from elv_pipeline.decisions.gates import Gate, failed
from elv_pipeline.decisions.verdict import READY_GATE, PlainVerdict, plain_verdict
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words


def verdict_of(
    gates: Sequence[Gate],
    metrics: Mapping[str, Any],
    *,
    findings: Sequence[Mapping[str, Any]],
    words: Words = QUALIFIED_LEADS,
) -> PlainVerdict:
    """The plain verdict on a candidate whose gates are judged; ``findings``: about its exports."""
    judged = {"failed": [gate.name for gate in failed(gates)], "gates": [asdict(gate) for gate in gates]}
    return plain_verdict(metrics, validation=judged, alerts=findings, words=words)


def ready_gate(verdict: PlainVerdict) -> Gate:
    """The gate of ``promotion.require_ready``; the verdict was found with all others, so this one comes after them."""
    ready = verdict.level in ("ready", "usable with care")
    said = f"the verdict is {verdict.level}"
    return Gate(
        name=READY_GATE,
        asks="the plain verdict is ready, or usable with care",
        rule="at least",
        threshold=None,
        value=None,
        verdict="pass" if ready else "fail",
        reason=said
        if ready
        else f"{said}: {verdict.reasons[0]} Collect more outcomes, or bring features that say more",
    )


def validation_document(
    gates: Sequence[Gate],
    *,
    candidate: str,
    sha256: str,
    champion: str | None,
    comparison: ChampionComparison | None,
    verdict: PlainVerdict,
) -> dict[str, Any]:
    """Content of ``validation_metrics.json``.

    Args:
        gates: the judged gates.
        candidate: registry version of the candidate.
        sha256: of its file: version numbers of other homes mean other models.
        champion: version that scores now; None where none does.
        comparison: with the champion.
        verdict: on the candidate, as known when it was judged.
    """
    return {
        "candidate_version": candidate,
        "candidate_sha256": sha256,
        "champion_version": champion,
        "passed": not failed(gates),
        "failed": [gate.name for gate in failed(gates)],
        "gates": [asdict(gate) for gate in gates],
        "comparison": None if comparison is None else asdict(comparison),
        "verdict": verdict.as_dict(),
    }
