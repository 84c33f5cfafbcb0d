"""Rules about the machinery: runs that failed, alerts that did not arrive, candidates that never get in.

Belongs here: rules from runs, deliveries and the registry to alerts. Does not belong here: watching runs
(``orchestration/``), delivery (``publishing/``) or promotion (``decisions/``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, Literal

from elv_pipeline.monitoring.alert import Alert
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

FAILING_WEEKS = 3
"""One bad week happens; three candidates in a row mean that the champion is not going to be replaced."""


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """A run that did not end well. Its error stays in the event log: it may quote the input.

    Attributes:
        run_id: the run.
        job: what it was to do.
        status: ``failed``, or ``abandoned`` where its process disappeared.
        step: the asset or step that failed, where known.
        error: name of the class of its error, where known.
        ended_at: when (UTC).
    """

    run_id: str
    job: str
    status: Literal["failed", "abandoned"]
    step: str = ""
    error: str = ""
    ended_at: datetime | None = None


_CAUSES = {
    "abandoned": "A machine or process that stopped, or a run that took too long.",
    "ConfigError": "The configuration, or a variable of the environment that it names, is not right.",
    "ContractError": "An export or a query breaks its contract.",
    "HeldBackError": "The inputs of a day are incomplete.",
    "MissingExtraError": "An optional part is not installed.",
    "PromotionRefusedError": "A gate failed, or a person has to approve.",
    "ScoringRefusedError": "A model cannot be used on these rows or with this configuration.",
    "SourceError": "A database cannot be reached, or refused.",
    "TargetRefusedError": "Nobody approved that scores go to this database.",
    "TrainingRefusedError": "There is not enough honest evidence to train.",
}
"""By the class of the error: its text may quote the input, and alerts are read by others."""


def _why(end: RunEnd) -> str:
    cause = _CAUSES.get(end.error, "") if end.status == "failed" else ""
    return f": {cause[0].lower()}{cause[1:-1]}" if cause else ""


def run_alerts(ends: Sequence[RunEnd]) -> list[Alert]:
    """Jobs whose newest run failed; older failures of a job that has run well since are the caller's to leave out."""
    found = []
    for job in sorted({end.job for end in ends}):
        of_job = [end for end in ends if end.job == job]
        newest = max(of_job, key=lambda end: (end.ended_at.timestamp() if end.ended_at else 0.0, end.run_id))
        where = f" in {newest.step}" if newest.step else ""
        how = "was killed" if newest.status == "abandoned" else f"failed{where}"
        times = f" ({len(of_job)} runs in a row)" if len(of_job) > 1 else ""
        found.append(
            Alert(
                severity="critical",
                code="run_failed" if newest.status == "failed" else "run_abandoned",
                subject=job,
                message=f"Run {newest.run_id} of {job} {how}{times}{_why(newest)}. Nothing half-written was left "
                "behind.",
                action="Read the run's error in the UI or the log, settle it and run the job again: it repeats only "
                "what is missing.",
                cause=_CAUSES.get("abandoned" if newest.status == "abandoned" else newest.error, ""),
                figure=float(len(of_job)),
                threshold=0.0,
            )
        )
    return found


def undelivered_alerts(waiting: Mapping[str, int], *, expired: int = 0) -> list[Alert]:
    """Alerts that a channel did not take.

    Args:
        waiting: by channel, messages that wait for the next run.
        expired: messages given up since the last run.
    """
    stuck = {channel: count for channel, count in sorted(waiting.items()) if count}
    if not stuck and not expired:
        return []
    total = sum(stuck.values())
    said = f"{total} alert message(s) wait for {', '.join(stuck)}." if stuck else ""
    lost = f"{expired} message(s) were given up after a month." if expired else ""
    return [
        Alert(
            severity="warning",
            code="alerts_undelivered",
            message=" ".join(filter(None, (said, lost))),
            action="Check the address in the environment variable of the channel and that this machine may reach it; "
            "waiting messages are sent with the next run.",
            figure=float(total + expired),
            threshold=0.0,
        )
    ]


def registry_alerts(
    *,
    overlap: Mapping[str, Any] | None = None,
    validations: Sequence[Mapping[str, Any]] = (),
    words: Words = QUALIFIED_LEADS,
) -> list[Alert]:
    """What the registry asks a person to decide.

    Args:
        overlap: champion and challenger on the same leads (``decisions.overlap.overlap``).
        validations: the judged candidates (``gates.validation_document``), the newest origin last.
        words: what the problem calls its rows.
    """
    return [*_challenger(overlap, words), *_never_in(validations)]


def _challenger(overlap: Mapping[str, Any] | None, words: Words) -> list[Alert]:
    proof = (overlap or {}).get("proof")
    if not proof:
        return []
    gap = proof["difference"]["log_loss"]
    if gap["high"] is None or gap["high"] >= 0:
        return []
    return [
        Alert(
            severity="info",
            code="challenger_better",
            message=f"The challenger is better than the champion on {proof['rows']:,} mature {words.rows} that both "
            f"scored: log loss differs by {gap['value']:+.4f} (95 % interval {gap['low']:+.4f} to {gap['high']:+.4f}).",
            action="Look at challenger_report and promote it.",
            figure=gap["value"],
            threshold=0.0,
        )
    ]


def _never_in(validations: Sequence[Mapping[str, Any]]) -> list[Alert]:
    failing = list(takewhile(lambda validation: not validation["passed"], reversed(validations)))
    if len(failing) < FAILING_WEEKS:
        return []
    always = sorted(set.intersection(*(set(validation["failed"]) for validation in failing)))
    which = f"every time by {', '.join(always)}" if always else f"last by {', '.join(failing[0]['failed'])}"
    return [
        Alert(
            severity="warning",
            code="candidates_keep_failing",
            message=f"The last {len(failing)} candidates failed their gates, {which}; the champion grows old.",
            action="Look at the gates of the newest candidate; if the champion has worsened as well, decide by hand.",
            cause="The data have changed since the champion was trained, or too few outcomes matured to prove a model.",
            figure=float(len(failing)),
            threshold=float(FAILING_WEEKS),
        )
    ]
