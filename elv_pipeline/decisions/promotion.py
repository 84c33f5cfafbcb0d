"""Whether a candidate becomes the champion, and what a person may decide instead.

Belongs here: the decision from gates, origins and approval, and the choice of the version to roll back to. Does not
belong here: the gates' figures (``gates.py``) or the registry (``publishing/registry/model_registry.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from elv_pipeline.decisions.gates import Gate, failed
from elv_pipeline.decisions.verdict import PlainVerdict
from elv_pipeline.errors import PromotionRefusedError
from elv_pipeline.learning.local_days import local_day

Outcome = Literal["promoted", "kept", "awaiting approval", "rolled back", "challenges"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One entry of the audit log.

    Attributes:
        decision: what happened.
        reason: one sentence; with failing gates their names, figures and thresholds.
        failed: names of the failing gates.
    """

    decision: Outcome
    reason: str
    failed: tuple[str, ...] = ()

    @property
    def changes_champion(self) -> bool:
        """Whether another version scores from now on."""
        return self.decision in ("promoted", "rolled back")

    def as_dict(self) -> dict[str, Any]:
        """For logs and manifests."""
        return {**asdict(self), "failed": list(self.failed)}


def decide(
    gates: Sequence[Gate],
    *,
    candidate_origin: str,
    champion_origin: str | None,
    same_version: bool,
    rolled_back: bool,
    require_approval: bool,
    timezone: str,
    verdict: PlainVerdict | None = None,
) -> Decision:
    """Decide about a newly trained candidate.

    Args:
        gates: the judged gates.
        candidate_origin: moment it was trained as of, ISO 8601.
        champion_origin: the champion's; None without a champion.
        same_version: whether the candidate is the champion.
        rolled_back: whether a person took this version out of use before.
        require_approval: whether a person must agree (``promotion.require_approval``).
        timezone: in which origins are named as days.
        verdict: on the candidate; None where it was judged before verdicts were kept with the gates.
    """
    if same_version:
        return Decision(decision="kept", reason="the candidate already is the champion")
    if champion_origin is not None:
        candidate, champion = (datetime.fromisoformat(origin) for origin in (candidate_origin, champion_origin))
        if candidate < champion:
            return Decision(
                decision="kept",
                reason=f"the candidate's origin {local_day(candidate, timezone=timezone)} is older than the "
                f"champion's {local_day(champion, timezone=timezone)}: a backfill does not replace a newer model",
            )
    if rolled_back:
        return Decision(
            decision="kept", reason="this version was rolled back before; only a person promotes it again (elv promote)"
        )
    blocking = failed(gates)
    if blocking:
        return Decision(
            decision="kept", reason=_blocked(blocking, champion_origin), failed=tuple(gate.name for gate in blocking)
        )
    passed = f"all {sum(gate.verdict == 'pass' for gate in gates)} gates passed{although(verdict)}"
    if require_approval:
        return Decision(
            decision="awaiting approval",
            reason=f"{passed}; promotion.require_approval asks for a person: elv approve, or the action approve of "
            f"the asset champion",
        )
    first = "" if champion_origin else "; it is the first model of this configuration"
    return Decision(decision="promoted", reason=passed + first)


def although(verdict: PlainVerdict | None) -> str:
    """What to add to a promotion of a model that is not ready: who reads the log must not find both side by side."""
    if verdict is None or verdict.level != "not ready":
        return ""
    return f", although its verdict is not ready: {verdict.reasons[0].rstrip('.')}"


def require_person(action: str, *, environment: str, who: str, reason: str) -> None:
    """Refuse in ``prod`` what a person decides without saying who and why; the account is no answer there.

    Raises:
        PromotionRefusedError: one of both is missing.
    """
    missing = [option for option, given in (("--who", who), ("--reason", reason)) if not given.strip()]
    if environment == "prod" and missing:
        raise PromotionRefusedError(
            f"{action} refused: environment is prod, and the audit log needs to know who decided and why. Give "
            f"{' and '.join(missing)}."
        )


def by_hand(
    action: Literal["approve", "promote"],
    *,
    gates_failed: Sequence[str],
    despite_gates: bool,
    reason: str,
    verdict: PlainVerdict | None = None,
) -> Decision:
    """Decide what a person asked for.

    Args:
        action: ``approve`` a candidate that waits, or ``promote`` any version.
        gates_failed: names of the version's failing gates.
        despite_gates: whether the person overrules them.
        reason: the person's, for the audit log.
        verdict: on the version; None where it is not known.

    Raises:
        PromotionRefusedError: a gate failed and is not overruled, or it is overruled without a reason.
    """
    if gates_failed and not despite_gates:
        raise PromotionRefusedError(
            f"{action} refused: gates that failed for this version: {', '.join(gates_failed)} (elv validate-model "
            f"shows the figures). To overrule them on your own responsibility: elv promote --despite-gates --reason "
            f"'...'"
        )
    if gates_failed and not reason.strip():
        raise PromotionRefusedError("overruling a gate needs a reason for the audit log: --reason '...'")
    overruled = f"; overruled: {', '.join(gates_failed)}" if gates_failed else ""
    word = "approved" if action == "approve" else "promoted by hand"
    return Decision(
        decision="promoted",
        reason=f"{word}: {reason.strip() or 'no reason given'}{overruled}{although(verdict)}",
        failed=tuple(gates_failed),
    )


def previous_champion(log: Sequence[tuple[str, str]], *, current: str, left: Sequence[str] = ()) -> str:
    """Return the version that scored before the current one.

    Args:
        log: (from version, to version) of each change of the champion, oldest first.
        current: version that scores now.
        left: versions that a person took out of use: a second rollback goes further back, and not forth again.

    Raises:
        PromotionRefusedError: no other version ever scored.
    """
    for before, after in reversed(log):
        if after == current and before not in ("none", current, *left):
            return before
    raise PromotionRefusedError(
        f"rollback refused: version {current} is the only champion this configuration has had. Name a version: "
        f"elv rollback --to VERSION"
    )


def _blocked(blocking: Sequence[Gate], champion_origin: str | None) -> str:
    stays = "the champion keeps scoring" if champion_origin else "no model scores yet"
    lines = "; ".join(f"{gate.name}: {gate.reason}" for gate in blocking)
    return f"{len(blocking)} gate(s) failed, {stays}. {lines}"
