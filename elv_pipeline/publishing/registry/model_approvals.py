"""Models that a person allowed to write scores in ``prod`` without being the champion.

Belongs here: the append-only record ``<home>/model_approvals.jsonl``. Does not belong here: who is the champion
(``model_registry.py``), or the order of what must hold before scores leave (``orchestration/publication.py``).

An approval is tied to the content of the model file: version numbers of other homes mean other models.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from elv_pipeline.home import Home
from elv_pipeline.publishing.approvals import append, entries, require_person
from elv_pipeline.publishing.registry.model_handle import ModelHandle
from elv_pipeline.settings_operation import Environment


@dataclass(frozen=True, kw_only=True)
class ModelApproval:
    """One line of the record.

    Attributes:
        name: the configuration whose scores it may write.
        version: of the model, as its bundle names it.
        sha256: of its file.
        environment: for which environment it holds.
        who: the person.
        reason: why.
        at: when, ISO 8601, UTC.
    """

    name: str
    version: str
    sha256: str
    environment: Environment
    who: str
    reason: str
    at: str


def model_approvals(home: Home) -> list[ModelApproval]:
    """Every approval, oldest first."""
    keys = set(ModelApproval.__dataclass_fields__)
    return [ModelApproval(**entry) for entry in entries(home.model_approvals) if set(entry) == keys]


def approve_model(
    home: Home, handle: ModelHandle, *, name: str, environment: Environment, who: str, reason: str, now: datetime
) -> ModelApproval:
    """Record that a person allows a model's scores to be written. Append-only.

    Raises:
        ConfigError: no name, or no reason.
    """
    person, why = require_person(who=who, reason=reason, why="why its scores may be acted on")
    given = ModelApproval(
        name=name,
        version=handle.version,
        sha256=handle.sha256,
        environment=environment,
        who=person,
        reason=why,
        at=now.astimezone(UTC).isoformat(timespec="seconds"),
    )
    append(home.model_approvals, asdict(given))
    return given


def is_approved(home: Home, sha256: str, *, name: str, environment: Environment) -> bool:
    """Whether a person allowed the model's scores to be written for a configuration in an environment."""
    wanted = (name, sha256, environment)
    return any((given.name, given.sha256, given.environment) == wanted for given in model_approvals(home))
