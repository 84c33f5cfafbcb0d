"""Typed models of ``configs/*.yaml``: what a user may write, what it means when they do not, and what is refused.

Belongs here: the schema of a configuration, its loading and its error messages. Does not belong here: where state
lives (``home.py``), what is scored (``problems/``), or any reading of data.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from elv_pipeline.errors import ConfigError

OnViolation = Literal["error", "drop"]
Weekday = Literal["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
WEEKDAYS: tuple[str, ...] = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _existing_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not a time zone of the IANA database, such as Europe/Berlin or UTC") from error
    return value


TimeZone = Annotated[str, AfterValidator(_existing_zone)]


def _date_or_moment(value: Any) -> Any:
    """Text without a time of day is a date, quoted or not, and a bare number is neither (20240101 is in 1970)."""
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ValueError("write a date such as 2024-01-31 or a moment such as 2024-01-31T06:00:00+00:00") from error


Moment = Annotated[datetime | date | None, BeforeValidator(_date_or_moment)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Paths(_Strict):
    """Where the exports are; null means that the export does not exist and the outputs will say so."""

    leads_path: str
    ads_path: str | None = None
    outcomes_path: str | None = None
    lead_to_ad_map_path: str | None = None
    ads_placement_path: str | None = None
    ads_geo_path: str | None = None
    adset_targeting_path: str | None = None
    ad_creatives_path: str | None = None


Connector = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Format of an export: recognised by its header (``auto``) or a connector's name (``ingest/connectors``)."""


class TableRules(_Strict):
    """How one export is read. A rule set to ``drop`` removes the offending rows and counts them in the profile.

    ``source`` overrides the configuration's ``source`` for this table.
    """

    source: Connector | None = None
    naive_timezone: TimeZone | None = None
    timestamp_format: str | None = None
    null_values: tuple[str, ...] = ()
    on_duplicate: OnViolation = "error"


class AdsRules(TableRules):
    """Rules of the daily ads export and of its breakdowns by placement and region."""

    decimal_comma: bool = False
    on_negative_spend: OnViolation = "error"
    on_clicks_above_impressions: Literal["error", "drop", "keep"] = "error"


class LeadsRules(TableRules):
    """Rules of the leads export."""

    on_before_start: OnViolation = "error"


class OutcomesRules(TableRules):
    """Rules of the outcomes export."""

    on_unknown_lead: OnViolation = "error"
    on_before_lead: OnViolation = "error"


class LeadToAdMapRules(TableRules):
    """Rules of the lead-to-ad mapping."""


class AttributeRules(TableRules):
    """Rules of a table of properties of ads or ad sets."""


class Contracts(_Strict):
    """Per-table reading rules."""

    ads: AdsRules = AdsRules()
    leads: LeadsRules = LeadsRules()
    outcomes: OutcomesRules = OutcomesRules()
    lead_to_ad_map: LeadToAdMapRules = LeadToAdMapRules()
    ads_placement: AdsRules = AdsRules()
    ads_geo: AdsRules = AdsRules()
    adset_targeting: AttributeRules = AttributeRules()
    ad_creatives: AttributeRules = AttributeRules()


class ModelSettings(_Strict):
    """What is trained and when training is refused.

    ``value_model`` is the richest way in which realised values of outcomes may be used; without any, every outcome is
    worth ``value_per_qualified``.
    Where outcomes are too rare for training, the refusal says which outcome window up to ``widest_window_days`` would
    have enough. ``monotone`` maps a numeric feature, or a pattern such as ``*_ctr_*``, to 1 (the score may only rise
    with it) or -1.
    """

    model_type: Literal["auto", "lgbm", "logreg"] = "auto"
    seed: int = Field(default=7, ge=0)
    min_labelled_rows: int = Field(default=200, ge=1)
    min_positives: int = Field(default=30, ge=1)
    min_calibration_positives: int = Field(default=100, ge=1)
    test_fraction: float = Field(default=0.2, gt=0, lt=0.9)
    calibration_fraction: float = Field(default=0.2, gt=0, lt=0.9)
    training_window_days: int = Field(default=730, ge=1)
    bootstrap_samples: int = Field(default=300, ge=50, le=10_000)
    threads: int = Field(default=2, ge=1)
    search_candidates: int = Field(default=8, ge=0, le=50)
    monotone: dict[str, Literal[-1, 1]] = Field(default_factory=dict)
    learn_from_young: bool = False
    value_model: Literal["constant", "segment", "learned"] = "learned"
    widest_window_days: int = Field(default=42, ge=1, le=365)


class Proof(_Strict):
    """What a model is compared with, beyond the baselines that every model has.

    ``rule`` is a rule of your own to beat: an SQL expression over the feature columns, the higher the better.
    ``accepted_leaks`` are feature columns that look like the future to the leakage probes and are known in time.
    """

    rule: str | None = Field(default=None, min_length=1)
    accepted_leaks: tuple[str, ...] = ()


BaselineName = Literal["constant", "campaign_rate", "cost_per_lead", "logistic_regression", "rule"]


class AbsoluteGates(_Strict):
    """Gates that know neither the champion nor the baselines; off unless ``enabled``.

    The calibration error may reach ``max_calibration_mae``, and only ``max_calibration_mae_high_volume`` where the
    model is judged on ``high_volume_rows`` or more.
    """

    enabled: bool = False
    min_roc_auc: float = Field(default=0.70, ge=0.5, lt=1)
    min_lift_at_10pct: float = Field(default=2.0, ge=0)
    max_calibration_mae: float = Field(default=0.10, gt=0, le=1)
    max_calibration_mae_high_volume: float = Field(default=0.05, gt=0, le=1)
    high_volume_rows: int = Field(default=10_000, ge=1)


class Promotion(_Strict):
    """What a candidate must show before it scores. A gate set to null is off.

    With ``evidence: point`` a figure itself must meet its threshold; with ``interval`` the unfavourable end of its
    95 % interval must.
    """

    require_approval: bool = False
    evidence: Literal["point", "interval"] = "point"
    baseline: BaselineName = "campaign_rate"
    min_pr_auc_gain: float | None = Field(default=0.05, ge=-1)
    max_champion_log_loss: float | None = Field(default=0.01, ge=0)
    max_calibration_error: float | None = Field(default=0.4, gt=0)
    max_miscalibrated_share: float | None = Field(default=0.2, ge=0, le=1)
    min_test_positives: int | None = Field(default=10, ge=1)
    forbid_leaks: bool = True
    absolute: AbsoluteGates = AbsoluteGates()


class Reporting(_Strict):
    """How results are summarised for people.

    ``unspoken`` are words; a feature column or value that contains one is never part of a reason or an insight, in
    addition to the sensitive attributes that never are.
    """

    min_segment_leads: int = Field(default=30, ge=1)
    leaderboard_days: int = Field(default=28, ge=1)
    drift_days: int = Field(default=7, ge=1)
    unspoken: tuple[str, ...] = ()


class MinimumData(_Strict):
    """What the exports must hold before a verdict of ``elv validate`` is better than "not ready" or "with warnings".

    Below ``leads`` or ``days`` of leads the data are not ready to train, as below ``model.min_labelled_rows`` and
    ``model.min_positives``. A match rate below ``match_rate`` is a warning.
    """

    leads: int = Field(default=500, ge=1)
    days: int = Field(default=28, ge=1)
    match_rate: float = Field(default=0.9, ge=0, le=1)


class Spark(_Strict):
    """Where the feature plan runs with ``engine: spark``: a Spark master and how many buckets of campaigns."""

    master: str = Field(default="local[2]", min_length=1)
    buckets: int = Field(default=16, ge=1, le=4096)


class Schedules(_Strict):
    """When the daily and weekly work runs, as cron expressions in the configured time zone.

    In this order: training needs yesterday's features and labels that know yesterday. Runs queue one behind another.
    """

    daily_cron: str = "0 6 * * *"
    labels_cron: str = "30 6 * * *"
    weekly_cron: str = "0 7 * * {weekday}"
    origin_weekday: Weekday = "monday"


class PipelineConfig(_Strict):
    """One configuration: a problem, its data, its calendar and its choices.

    Paths are absolute after loading. Days are local days of ``timezone``.
    """

    name: str = "lead_ads"
    problem: Literal["lead_ads"] = "lead_ads"
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
    spark: Spark = Spark()
    schedules: Schedules = Schedules()

    @field_validator("name")
    @classmethod
    def _name_is_a_key(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
            raise ValueError(
                f"{value!r} must be lower-case letters, digits and _, begin with a letter, at most 40 long"
            )
        return value

    @model_validator(mode="after")
    def _dates_in_order(self) -> PipelineConfig:
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError(f"end_date {self.end_date} is before start_date {self.start_date}")
        low, high = self.observed_from_moment, self.observed_until_moment
        if low and high and high <= low:
            raise ValueError(f"observed_until {self.observed_until} is not after observed_from {self.observed_from}")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The configured time zone."""
        return ZoneInfo(self.timezone)

    @property
    def label_column(self) -> str:
        """Name of the target, e.g. ``qualified_within_14d``."""
        return f"qualified_within_{self.label_window_days}d"

    @property
    def probability_column(self) -> str:
        """Name of the probability column, e.g. ``p_qualified_14d``."""
        return f"p_qualified_{self.label_window_days}d"

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
        parts = {
            "problem": self.problem,
            "org_id": self.org_id,
            "timezone": self.timezone,
            "start_date": str(self.start_date),
            "origin_weekday": self.schedules.origin_weekday,
            "paths": self.paths.model_dump(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _as_moment(value: datetime | date | None, zone: ZoneInfo, *, end_of_day: bool) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    day = value + timedelta(days=1) if end_of_day else value
    return datetime.combine(day, time(), tzinfo=zone)


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, refusing a key that is written twice: plain YAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is written twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _existing_timestamp(loader: _StrictLoader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError as error:  # 2024-02-30 looks like a date to YAML and fails without its place
        raise yaml.MarkedYAMLError(problem=f"{node.value}: {error}", problem_mark=node.start_mark) from error


_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _existing_timestamp)


def load_config(path: Path | str, *, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    """Read and check one configuration file.

    Args:
        path: the YAML file; relative paths inside resolve against its folder, ``${NAME}`` against the environment.
        overrides: top-level keys that replace those of the file (used by ``elv demo``).

    Raises:
        ConfigError: naming the file, the key, the value and the rule.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such configuration file. Copy configs/lead_ads.yaml and give it with --config.")
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {error}. Fix the syntax at that place.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: holds {type(raw).__name__}; it must hold keys such as 'paths:' and 'name:'.")
    return parse_config({**raw, **(overrides or {})}, source=file)


def parse_config(raw: dict[str, Any], *, source: Path) -> PipelineConfig:
    """Check the content of a configuration; ``source`` names it in errors and anchors its relative paths."""
    if isinstance(raw.get("paths"), dict):
        raw = {**raw, "paths": {key: _resolve(value, key, source) for key, value in raw["paths"].items()}}
    try:
        return PipelineConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item, source) for item in error.errors())) from error


def _resolve(value: Any, key: str, source: Path) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():  # it would resolve to the configuration's own folder
        raise ConfigError(f"{source}: paths.{key} is empty ({value!r}); name a file, or write null where none exists.")
    for name in _VARIABLE.findall(value):
        if not os.environ.get(name):  # empty counts as not set: "${DATA_DIR}/ads.csv" would become "/ads.csv"
            raise ConfigError(
                f"{source}: paths.{key} is {value!r}, but the environment variable {name} is not set or empty. "
                f"Set it to the folder that holds the data: export {name}=/path/to/folder"
            )
    expanded = _VARIABLE.sub(lambda match: os.environ[match.group(1)], value)
    if "://" in expanded:  # an address such as s3://bucket/ads/; as a path its slashes would collapse
        return expanded
    return str((source.resolve().parent / Path(expanded).expanduser()).resolve())


def _explain(item: Any, source: Path) -> str:
    location = ".".join(str(part) for part in item["loc"]) or "(whole file)"
    if item["type"] == "extra_forbidden":
        known = _known_keys(PipelineConfig)
        close = difflib.get_close_matches(location, known, n=1) or difflib.get_close_matches(
            location.rsplit(".", 1)[-1], [key.rsplit(".", 1)[-1] for key in known], n=1
        )
        hint = f"Did you mean {close[0]}?" if close else "See configs/lead_ads.yaml for every key."
        return f"{source}: {location}: this key does not exist (value {item['input']!r}). {hint}"
    if item["type"] == "missing":
        return f"{source}: {location}: this key is required and missing. See configs/lead_ads.yaml."
    message = item["msg"].removeprefix("Value error, ")
    value = "" if isinstance(item["input"], dict) else f" is {item['input']!r}"
    return f"{source}: {location}{value}: {message}. See configs/lead_ads.yaml for what is allowed."


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys.extend(_known_keys(field.annotation, f"{prefix}{name}."))
    return keys
