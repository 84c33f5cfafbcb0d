"""Typed model of ``configs/*.yaml``: what a user may write, what it means when they do not, and what is refused.

Belongs here: the configuration as a whole, and its identity. Does not belong here: its parts (the other
``settings_*.py``), loading (``config_file.py``), where state lives (``home.py``), what is scored (``problems/``), or
any reading of data.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from elv_pipeline.settings_base import Moment, Strict, TimeZone
from elv_pipeline.settings_exports import AdsRules, Connector, Contracts, Paths, TableRules
from elv_pipeline.settings_model import ModelSettings, Promotion, Proof
from elv_pipeline.settings_operation import (
    Alerts,
    Databases,
    Environment,
    Extracts,
    Monitoring,
    Privacy,
    Retention,
    Rollout,
)
from elv_pipeline.settings_recommend import Recommend
from elv_pipeline.settings_targets import GATES, REQUIRED_PATHS, TARGETS

Weekday = Literal["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
WEEKDAYS: tuple[str, ...] = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


class Reporting(Strict):
    """How results are summarised for people.

    ``unspoken`` are words; a feature column or value that contains one is never part of a reason or an insight, in
    addition to the sensitive attributes that never are.
    """

    min_segment_leads: int = Field(default=30, ge=1)
    leaderboard_days: int = Field(default=28, ge=1)
    drift_days: int = Field(default=7, ge=1)
    unspoken: tuple[str, ...] = ()


class MinimumData(Strict):
    """What the exports must hold before a verdict of ``elv validate`` is better than "not ready" or "with warnings".

    Below ``leads`` or ``days`` of leads the data are not ready to train, as below ``model.min_labelled_rows`` and
    ``model.min_positives``. A match rate below ``match_rate`` is a warning.
    """

    leads: int = Field(default=500, ge=1)
    days: int = Field(default=28, ge=1)
    match_rate: float = Field(default=0.9, ge=0, le=1)


class MomentRules(Strict):
    """When an enrollment of outreach is looked at: at enrollment, after steps, and at the ends of days after these.

    ``positions`` null means after every step; ``rescore_days`` is for how many days after the newest of them an open
    enrollment is scored anew at each day's end.
    """

    at_enrollment: bool = True
    positions: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    rescore_days: int = Field(default=7, ge=0, le=60)

    @model_validator(mode="after")
    def _has_moments(self) -> MomentRules:
        if not self.at_enrollment and self.positions == ():
            raise ValueError("at_enrollment is false and positions is empty, so no moment is left to score")
        return self


class Spark(Strict):
    """Where the feature plan runs with ``engine: spark``: a Spark master and how many buckets of campaigns."""

    master: str = Field(default="local[2]", min_length=1)
    buckets: int = Field(default=16, ge=1, le=4096)


class Schedules(Strict):
    """When the daily and weekly work runs, as cron expressions in the configured time zone.

    In this order: watching needs labels that know yesterday, training needs these and yesterday's features. Runs queue
    one behind another.
    """

    daily_cron: str = "0 6 * * *"
    labels_cron: str = "30 6 * * *"
    watch_cron: str = "45 6 * * *"
    refresh_cron: str = "50 6 * * {weekday}"
    weekly_cron: str = "0 7 * * {weekday}"
    recommend_cron: str = "30 7 * * {weekday}"
    housekeeping_cron: str = "0 8 * * {weekday}"
    origin_weekday: Weekday = "monday"


class PipelineConfig(Strict):
    """One configuration: a problem, a target of it, its data, its calendar and its choices.

    Paths are absolute after loading. Days are local days of ``timezone``. A file that names several ``targets`` is
    several configurations (``config_file.load_targets``) of one ``family``, which share their tables before the labels.
    """

    name: str = "lead_ads"
    problem: Literal["lead_ads", "outreach"] = "lead_ads"
    target: str = ""
    family: str = ""
    org_id: str = Field(default="default", min_length=1, max_length=64)
    timezone: TimeZone = "UTC"
    start_date: date | None = None
    end_date: date | None = None
    observed_from: Moment = None
    observed_until: Moment = None
    label_window_days: int = Field(default=14, ge=1, le=365)
    feature_lag_days: int = Field(default=1, ge=0, le=30)
    value_per_qualified: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    currency: str = Field(default="EUR", min_length=1, max_length=8)
    source: Connector = "auto"
    engine: Literal["polars", "spark"] = "polars"
    paths: Paths
    contracts: Contracts = Contracts()
    model: ModelSettings = ModelSettings()
    proof: Proof = Proof()
    promotion: Promotion = Promotion()
    reporting: Reporting = Reporting()
    minimum_data: MinimumData = MinimumData()
    moments: MomentRules = MomentRules()
    recommend: Recommend = Recommend()
    spark: Spark = Spark()
    schedules: Schedules = Schedules()
    environment: Environment = "dev"
    databases: Databases = Databases()
    extracts: Extracts = Extracts()
    privacy: Privacy = Privacy()
    retention: Retention = Retention()
    alerts: Alerts = Alerts()
    monitoring: Monitoring = Monitoring()
    rollout: Rollout = Rollout()

    @field_validator("name")
    @classmethod
    def _name_is_a_key(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
            raise ValueError(
                f"{value!r} must be lower-case letters, digits and _, begin with a letter, at most 40 long"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _target_by_default(cls, values: Any) -> Any:
        """The problem's first target, its usual window and gates, where the configuration does not say."""
        if not isinstance(values, dict):
            return values
        targets = TARGETS.get(values.get("problem", "lead_ads"), {})
        if not targets:
            return values  # the field itself refuses the problem
        target = values.get("target") or next(iter(targets))
        if target not in targets:
            raise ValueError(f"target {target!r} is none of {', '.join(targets)}")
        gates = values.get("promotion", {})
        if isinstance(gates, dict) and values.get("problem") in GATES:
            values = {**values, "promotion": {**GATES[values["problem"]], **gates}}
        return {"label_window_days": targets[target].window_days, **values, "target": target}

    @model_validator(mode="after")
    def _has_required_exports(self) -> PipelineConfig:
        missing = [name for name in REQUIRED_PATHS[self.problem] if getattr(self.paths, name) is None]
        if missing:
            raise ValueError(f"problem {self.problem} needs {', '.join(f'paths.{name}' for name in missing)}")
        return self

    @model_validator(mode="after")
    def _engine_runs_the_problem(self) -> PipelineConfig:
        if self.engine == "spark" and self.problem != "lead_ads":
            raise ValueError(f"engine spark runs the features of lead_ads; {self.problem} has engine polars alone")
        return self

    @model_validator(mode="after")
    def _labels_can_be_young(self) -> PipelineConfig:
        if self.problem == "outreach" and self.model.learn_from_young:
            raise ValueError(
                "model.learn_from_young is for leads: a window that begins later than its moment hides how long an "
                "outcome took; leave it false"
            )
        return self

    @model_validator(mode="after")
    def _dates_in_order(self) -> PipelineConfig:
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError(f"end_date {self.end_date} is before start_date {self.start_date}")
        low, high = self.observed_from_moment, self.observed_until_moment
        if low and high and high <= low:
            raise ValueError(f"observed_until {self.observed_until} is not after observed_from {self.observed_from}")
        return self

    @model_validator(mode="after")
    def _extracts_have_a_source(self) -> PipelineConfig:
        if self.extracts.queries and self.databases.source is None:
            raise ValueError("extracts need databases.source, the database that they read")
        if self.extracts.queries and self.start_date is None:
            raise ValueError("extracts need start_date: the first day that is read from the database")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The configured time zone."""
        return ZoneInfo(self.timezone)

    @property
    def label_column(self) -> str:
        """Name of the target, e.g. ``qualified_within_14d``."""
        return f"{TARGETS[self.problem][self.target].label}_within_{self.label_window_days}d"

    @property
    def probability_column(self) -> str:
        """Name of the probability column, e.g. ``p_qualified_14d``."""
        return f"p_{self.target}_{self.label_window_days}d"

    @property
    def shared_name(self) -> str:
        """Name under which the tables lie that all targets of a file share."""
        return self.family or self.name

    @property
    def observed_from_moment(self) -> datetime | None:
        """First moment at which outcomes were recorded; a date means the start of that local day."""
        return _as_moment(self.observed_from, self.zone, end_of_day=False)

    @property
    def observed_until_moment(self) -> datetime | None:
        """Moment up to which outcomes are known; a date means the end of that local day."""
        return _as_moment(self.observed_until, self.zone, end_of_day=True)

    def observed_until_of(self, newest: datetime) -> datetime:
        """How far outcomes are known, given the newest moment in leads and outcomes; UTC.

        The configured moment, else the newest one; but outcomes after the calendar, or dated in the future, are in no
        partition, so nobody can know them yet.
        """
        if self.observed_until_moment is not None:
            return self.observed_until_moment.astimezone(UTC)
        end = _as_moment(self.end_date, self.zone, end_of_day=True)
        return min(newest.astimezone(UTC), datetime.now(UTC), *([end.astimezone(UTC)] if end else []))

    @property
    def asks_for_approval(self) -> bool:
        """Whether a candidate that passes waits for a person: as configured, else in ``prod`` only."""
        configured = self.promotion.require_approval
        return self.environment == "prod" if configured is None else configured

    @property
    def origin_day_offset(self) -> int:
        """Weekday of the training origin, 0 = Sunday as in cron."""
        return WEEKDAYS.index(self.schedules.origin_weekday)

    def connector_of(self, table: str) -> Connector:
        """Format of one table's export: its own ``source``, else the configuration's."""
        rules: TableRules = getattr(self.contracts, table)
        return rules.source or self.source

    def has_decimal_comma(self, table: str) -> bool:
        """Whether one table's export writes numbers as 1.234,50."""
        rules = getattr(self.contracts, table)
        return isinstance(rules, AdsRules) and rules.decimal_comma

    def data_identity(self) -> str:
        """Digest of what must not change under one name: the problem, the data's place and the calendar.

        Values, model choices and reporting may change freely; they are part of each asset's data version instead.
        """
        # Only where there are several: the identity of homes of lead ads stays what it was.
        own = {"target": self.target, "family": self.family} if len(TARGETS[self.problem]) > 1 else {}
        return _digest({**self._shared_parts(), **own})

    def shared_identity(self) -> str:
        """Digest of what must not differ between targets that share their tables (``shared_name``)."""
        return _digest(self._shared_parts())

    def _shared_parts(self) -> dict[str, Any]:
        return {
            "problem": self.problem,
            "org_id": self.org_id,
            "timezone": self.timezone,
            "start_date": str(self.start_date),
            "origin_weekday": self.schedules.origin_weekday,
            # Paths that came with outreach count only where they are set: homes of lead ads keep their identity.
            "paths": {
                name: path
                for name, path in self.paths.model_dump().items()
                if path is not None or name not in REQUIRED_PATHS["outreach"]
            },
            # Only where there are any: the identity of homes without hashed ids stays what it was.
            **({"hashed_columns": sorted(self.privacy.hashed_columns)} if self.privacy.hashed_columns else {}),
        }


def _digest(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _as_moment(value: datetime | date | None, zone: ZoneInfo, *, end_of_day: bool) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    day = value + timedelta(days=1) if end_of_day else value
    return datetime.combine(day, time(), tzinfo=zone)
