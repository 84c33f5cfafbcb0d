"""Which databases scores may be written to: approvals, and the wall between environments.

Belongs here: the append-only record ``<home>/targets.jsonl`` and the refusal of a target that nobody approved. Does
not belong here: writing scores, or connections (``databases``).

The file of scores inside the home is nobody else's and needs no approval. Every other target does, once for each
environment: in ``prod`` from a person, in ``dev`` and ``test`` it is noted by itself.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.home import Home
from elv_pipeline.publishing.approvals import AUTOMATIC, append, entries, require_person
from elv_pipeline.settings_operation import Environment

_PASSWORD = re.compile(r"://[^/@]*:[^@]*@|(?:password|pwd|token|secret)\s*=", re.IGNORECASE)
_LOGIN = " as "


class TargetRefusedError(ElvError):
    """Scores must not be written to a database: nobody approved it, or it belongs to another environment."""

    exit_code = 7


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One line of the record.

    Attributes:
        target: the place, as ``databases.connections.describe`` words it, without the login.
        environment: for which environment it holds.
        who: the person, or ``(automatic)``.
        reason: why.
        at: when, ISO 8601, UTC.
    """

    target: str
    environment: Environment
    who: str
    reason: str
    at: str


def place_of(target: str) -> str:
    """What an approval is tied to: the place alone, so that a login may be replaced.

    Raises:
        ConfigError: the description holds a password; it is not repeated.
    """
    if _PASSWORD.search(target):
        raise ConfigError(
            "the description of a score database holds a password or token; it must name host and database only. "
            "Use the description that 'elv doctor' prints."
        )
    return target.partition(_LOGIN)[0].strip().rstrip("/")


def is_embedded(target: str, home: Home) -> bool:
    """Whether a target is the score file of this home."""
    return place_of(target) == home.scores_url


def approvals(home: Home) -> list[Approval]:
    """Every approval, oldest first."""
    keys = set(Approval.__dataclass_fields__)
    return [Approval(**entry) for entry in entries(home.targets) if set(entry) == keys]


def approve_target(
    home: Home, target: str, *, environment: Environment, who: str, reason: str, now: datetime
) -> Approval:
    """Record that a person allows scores to be written to a target. Append-only.

    Raises:
        ConfigError: no name, no reason, or a description with a password.
    """
    person, why = require_person(who=who, reason=reason, why="why scores may go there")
    return _append(home, target, environment=environment, who=person, reason=why, now=now)


def require_approved(home: Home, target: str, *, environment: Environment, now: datetime) -> Approval | None:
    """Refuse a target in ``prod`` that nobody approved; elsewhere note its first use.

    Args:
        home: the state folder.
        target: description of the database (``databases.connections.describe``).
        environment: of the configuration.
        now: moment of the write, UTC.

    Returns:
        The approval in force; None for the file of the home, which needs none.

    Raises:
        TargetRefusedError: nobody approved it.
    """
    if is_embedded(target, home):
        return None
    place = place_of(target)
    known = [given for given in approvals(home) if (given.target, given.environment) == (place, environment)]
    if known:
        return known[-1]
    if environment == "prod":
        raise TargetRefusedError(
            f"{place}: no score was ever written there from this home, and environment is prod; the first write needs "
            f"a person's approval. Nothing was written. Check that this is the right database, then: "
            f"elv approve-target --config <file> --who <name> --reason <why>"
        )
    reason = f"first write in {environment}"
    return _append(home, target, environment=environment, who=AUTOMATIC, reason=reason, now=now)


def refuse_foreign_target(target: str, *, environment: Environment, written: str | None) -> None:
    """Keep test scores out of the database that people act on.

    Args:
        target: description of the database.
        environment: of the configuration.
        written: what the database says of itself (``dbo.score_targets.environment``), None where it says nothing.

    Raises:
        TargetRefusedError: the database is of another environment.
    """
    if written is not None and written != environment:
        raise TargetRefusedError(
            f"{place_of(target)}: dbo.score_targets says that this database is {written}, but the configuration says "
            f"environment: {environment}. Nothing was written. Point databases.scores at a {environment} database; if "
            f"this one changes its role, its owner says so: UPDATE dbo.score_targets SET environment = '{environment}'"
        )


def _append(home: Home, target: str, *, environment: Environment, who: str, reason: str, now: datetime) -> Approval:
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    given = Approval(target=place_of(target), environment=environment, who=who, reason=reason, at=at)
    append(home.targets, asdict(given))
    return given
