"""Typed models of the part of ``configs/*.yaml`` that says how the pipeline runs by itself.

Belongs here: databases, extracts, privacy, retention, watching, alerts, rollout. Does not belong here: what is scored
and learned (``settings.py``), or anything that opens a connection. Secrets are never values of a configuration: a key
that ends in ``_variable`` names the environment variable that holds one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from elv_pipeline.settings_base import EXPORTS, Strict

Environment = Literal["dev", "test", "prod"]
Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$", max_length=100)]
"""Name of an environment variable; its value stays outside the configuration."""

EXTRACTED: tuple[str, ...] = tuple(dict.fromkeys(table for tables in EXPORTS.values() for table in tables))
"""Tables that a query may deliver instead of a file."""


class Database(Strict):
    """A connection: the variable that holds its SQLAlchemy URL, and how long to wait for it."""

    url_variable: Variable
    login_timeout_seconds: int = Field(default=15, ge=1, le=600)
    statement_timeout_seconds: int = Field(default=900, ge=1, le=86_400)
    attempts: int = Field(default=4, ge=1, le=20)


class Databases(Strict):
    """Where extracts read and where scores go; without ``scores``, a SQLite file of the home."""

    source: Database | None = None
    scores: Database | None = None


class Extracts(Strict):
    """Queries (files of SQL with ``:since`` and ``:until``) that deliver tables from ``databases.source``.

    A run reads the ``days_back`` days before the day it scores, and ``train_days_back`` before a training.
    """

    leads: str | None = None
    ads: str | None = None
    outcomes: str | None = None
    lead_to_ad_map: str | None = None
    ads_placement: str | None = None
    ads_geo: str | None = None
    adset_targeting: str | None = None
    ad_creatives: str | None = None
    contacts: str | None = None
    campaigns: str | None = None
    campaign_steps: str | None = None
    enrollments: str | None = None
    engagement_logs: str | None = None
    days_back: int = Field(default=90, ge=1, le=3_650)
    train_days_back: int = Field(default=120, ge=1, le=3_650)
    batch_rows: int = Field(default=100_000, ge=100, le=10_000_000)

    @property
    def queries(self) -> dict[str, str]:
        """File of the query of each table that has one."""
        found = {table: getattr(self, table) for table in EXTRACTED}
        return {table: str(path) for table, path in found.items() if path}


HashedColumn = Literal["lead_id", "campaign_id", "adset_id", "ad_id", "contact_id", "enrollment_id"]
HASHABLE: Mapping[str, tuple[HashedColumn, ...]] = {
    "lead_ads": ("lead_id", "campaign_id", "adset_id", "ad_id"),
    "outreach": ("contact_id", "enrollment_id", "campaign_id"),
}
"""Identifiers that a problem's tables have."""


class Privacy(Strict):
    """Identifiers that are replaced by a keyed hash before anything is stored."""

    hashed_columns: tuple[HashedColumn, ...] = ()
    key_variable: Variable = "ELV_HASH_KEY"


class Retention(Strict):
    """Days after which ``elv purge`` removes what nothing needs any more."""

    snapshots_days: int = Field(default=400, ge=1)
    bundles_days: int = Field(default=400, ge=1)
    event_log_days: int = Field(default=180, ge=1)


class Channel(Strict):
    """One way out for alerts. ``url_variable`` holds the address of a webhook, or ``smtp://user:password@host:port``.

    ``to`` and ``sender`` are the addresses of an e-mail.
    """

    kind: Literal["webhook", "slack", "email"]
    url_variable: Variable
    to: tuple[str, ...] = ()
    sender: str | None = None
    min_severity: Literal["info", "warning", "critical"] = "warning"

    @field_validator("to", "sender")
    @classmethod
    def _plain_addresses(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        for address in (value,) if isinstance(value, str) else value or ():
            if not re.fullmatch(r"[^\s,;<>@]+@[^\s,;<>@]+", address):
                raise ValueError("every address must be plain, such as alerts@example.com")
        return value

    @model_validator(mode="after")
    def _an_email_has_addresses(self) -> Channel:
        if self.kind == "email" and not (self.to and self.sender):
            raise ValueError("a channel of kind email needs 'to' and 'sender'")
        return self


class Alerts(Strict):
    """Where alerts are sent, beside the run's ``alerts.json``."""

    channels: tuple[Channel, ...] = ()


class Monitoring(Strict):
    """What is watched while the pipeline runs.

    A day is incomplete where a table has surely fewer rows than usual and less than ``min_row_share`` of them, or ends
    before the day does; with ``hold_incomplete_days`` it is not scored until it is complete, at most ``hold_days``.
    """

    hold_incomplete_days: bool = True
    min_row_share: float = Field(default=0.5, gt=0, le=1)
    hold_days: int = Field(default=3, ge=1, le=30)
    retrain_on_drift: bool = True


class Rollout(Strict):
    """Share of organisations whose scores are written; the others are scored and not published."""

    share: float = Field(default=1.0, ge=0, le=1)
