"""What every model of the configuration shares: strictness, values of a kind that pydantic does not know, tables.

Belongs here: types used by several of the settings modules, and the tables of each problem. Does not belong here: any
key of a configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


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


class Strict(BaseModel):
    """A part of the configuration: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


EXPORTS: Mapping[str, tuple[str, ...]] = {
    "lead_ads": (
        "leads",
        "ads",
        "outcomes",
        "lead_to_ad_map",
        "ads_placement",
        "ads_geo",
        "adset_targeting",
        "ad_creatives",
    ),
    "outreach": ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes"),
}
"""Tables that a problem reads, by ``paths.<table>_path``, ``extracts.<table>`` and ``contracts.<table>``."""
