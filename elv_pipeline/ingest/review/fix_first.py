"""What to repair first: at most five actions, the most consequential first.

Belongs here: ordering what the checks found. Does not belong here: finding it (``findings``, ``readiness``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from elv_pipeline.ingest.review.finding import Finding
from elv_pipeline.ingest.review.readiness import Readiness, Rule

MOST_ACTIONS = 5
_GRAVE = ("personal_data", "left_truncation", "right_censoring", "currency")
"""What makes results wrong or unlawful comes before what merely makes them weaker."""
_MINIMUM_DATA = ("minimum_data_train", "minimum_data_score")


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing to do.

    Attributes:
        code: the contract, rule or finding behind it.
        blocking: whether something is impossible before it is done.
        what: what to do.
        why: what was seen.
        purpose: ``train``, ``score`` or both: what it holds up.
        leads: how many leads it concerns; None where it concerns no countable number.
    """

    code: str
    table: str
    blocking: bool
    what: str
    why: str
    purpose: str
    leads: int | None


def broken_contracts(errors: Mapping[str, str]) -> list[Action]:
    """One action a broken export, in the order of the tables."""
    return [
        Action(
            code="contract",
            table=table,
            blocking=True,
            what=f"Repair the {table} export.",
            why=message,
            purpose="train and score",
            leads=None,
        )
        for table, message in list(errors.items())[:MOST_ACTIONS]
    ]


def fix_first(found: Iterable[Finding], verdicts: Readiness) -> list[Action]:
    """Failed requirements first, then what makes results wrong, then the rest; each by the leads that it concerns."""
    blocking = [*_failed_rules(verdicts)]
    warnings = [finding for finding in found if finding.severity == "warning" and finding.check not in _MINIMUM_DATA]
    ordered = sorted(warnings, key=_consequence)
    actions = [
        Action(
            code=finding.code,
            table=finding.table,
            blocking=False,
            what=finding.remedy or "Look into it before trusting the results.",
            why=finding.message,
            purpose="train and score",
            leads=finding.leads,
        )
        for finding in ordered
    ]
    return [*blocking, *actions][:MOST_ACTIONS]


def _consequence(finding: Finding) -> tuple[bool, int, str, str]:
    return (finding.check not in _GRAVE, -(finding.leads or 0), finding.code, finding.message)


def _failed_rules(verdicts: Readiness) -> list[Action]:
    """One action for each remedy: too few leads and too few days are cured by the same longer export."""
    found: list[Action] = []
    for purpose, verdict in (("train", verdicts.train), ("score", verdicts.score)):
        failed = [rule for rule in verdict.rules if rule.blocking and not rule.passed]
        if any(rule.name == "outcomes_export" for rule in failed):
            failed = [rule for rule in failed if rule.name not in ("labelled", "positives")]
        for remedy in dict.fromkeys(rule.remedy for rule in failed):
            same = [rule for rule in failed if rule.remedy == remedy]
            found.append(
                Action(
                    code=same[0].name,
                    table="outcomes" if same[0].name == "outcomes_export" else "leads",
                    blocking=True,
                    what=remedy,
                    why="; ".join(_shortfall(rule) for rule in same) + ".",
                    purpose=purpose,
                    leads=verdict.counts["leads"],
                )
            )
    return found


def _shortfall(rule: Rule) -> str:
    if rule.name == "outcomes_export":
        return "There is no outcomes export, so nothing is known to learn from"
    key = f" ({rule.setting})" if rule.setting else ""
    return f"{rule.label}: {rule.found:,.0f} found, at least {rule.required:,.0f} needed{key}"
