"""What a synthetic advertiser is asked to be.

Belongs here: the frozen specification and its rules. Does not belong here: drawing anything at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from elv_pipeline.errors import ConfigError
from elv_pipeline.synthetic.delay import delay_cdf

MIN_LEADS = 100
MAX_LEADS = 50_000_000  # beyond it the number of clicks leaves the range of numpy's hypergeometric draw


@dataclass(frozen=True, kw_only=True)
class LateCampaign:
    """A campaign that opens late and is unlike the others, as the account's last one.

    Attributes:
        opens_on_day: Index of its first local day; it runs to the end.
        share: About what part of the leads it brings from then on.
        quality: How much better (or worse, below 0) it is than the mean of the others, before the logit is scaled.
    """

    opens_on_day: int
    share: float = 0.3
    quality: float = 1.0


@dataclass(frozen=True, kw_only=True)
class AdvertiserSpec:
    """Size, calendar and behaviour of one synthetic advertiser; equal specs give equal bytes.

    Attributes:
        leads: Number of leads, exactly.
        start_date: First local day of the exports.
        days: Number of local days; the data end at the midnight after the last one.
        campaigns: Number of campaigns.
        adsets_per_campaign: Ad sets in each campaign.
        ads_per_adset: Ads in each ad set.
        base_rate: Mean true probability of qualifying within the window (of the leads before the drift, if any).
        outcome_window_days: Days after its creation in which an outcome counts for a lead.
        seed: Seed of every random draw.
        drift: Whether the qualification rate falls and the spend moves between campaigns late in the period.
        drift_starts_at: Share of the period after which the drift sets in.
        timezone: IANA name of the zone of the advertiser's days and hours; the timestamps are written in UTC.
        left_truncation_days: Outcomes earlier than this many days after the start were never recorded (a log that
            starts late).
        personal_columns: Whether the leads carry invented names, addresses and telephone numbers, as real exports do.
        late_campaign: Makes the last campaign one that opens late; None for none.
        values: Whether outcomes carry what they were worth, and the truth what each lead's outcome is worth on average.

    Raises:
        ConfigError: A value is outside its range; the message names value, rule and remedy.
    """

    leads: int = 8_000
    start_date: date = date(2025, 1, 6)
    days: int = 240
    campaigns: int = 12
    adsets_per_campaign: int = 3
    ads_per_adset: int = 3
    base_rate: float = 0.08
    outcome_window_days: int = 14
    seed: int = 7
    drift: bool = False
    drift_starts_at: float = 0.85
    timezone: str = "UTC"
    left_truncation_days: int = 0
    personal_columns: bool = True
    late_campaign: LateCampaign | None = None
    values: bool = False

    def __post_init__(self) -> None:
        _require(MIN_LEADS <= self.leads <= MAX_LEADS, "leads", self.leads, f"between {MIN_LEADS} and {MAX_LEADS}")
        for name in ("campaigns", "adsets_per_campaign", "ads_per_adset", "outcome_window_days"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.days >= 2, "days", self.days, "at least 2")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        _require(0 < self.drift_starts_at < 1, "drift_starts_at", self.drift_starts_at, "between 0 and 1, exclusive")
        truncation = self.left_truncation_days
        _require(0 <= truncation < self.days, "left_truncation_days", truncation, f"at least 0 and below {self.days}")
        late = self.late_campaign
        if late is not None:
            _require(self.campaigns >= 2, "campaigns", self.campaigns, "at least 2 where one of them opens late")
            rule = f"at least 0 and below {self.days}"
            _require(0 <= late.opens_on_day < self.days, "late_campaign.opens_on_day", late.opens_on_day, rule)
            _require(0 < late.share < 1, "late_campaign.share", late.share, "between 0 and 1, exclusive")
        ceiling = 0.9 * delay_cdf(self.outcome_window_days)
        rule = (
            f"above 0 and below {ceiling:.3f}, the share of all qualifications that fall within the window, less 10 %"
        )
        _require(0 < self.base_rate < ceiling, "base_rate", self.base_rate, rule)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigError(
                f"synthetic advertiser: timezone is {self.timezone!r}; timezone must be an IANA name. "
                "Use for example Europe/Berlin or UTC."
            ) from error

    @property
    def ad_count(self) -> int:
        """Number of ads of the whole account."""
        return self.campaigns * self.adsets_per_campaign * self.ads_per_adset

    @property
    def drift_day(self) -> int:
        """Index of the first drifted day; equal to `days` (never reached) without drift."""
        return min(self.days - 1, max(1, round(self.days * self.drift_starts_at))) if self.drift else self.days

    def midnights(self) -> list[int]:
        """Start of every local day, and of the day after the last, in whole seconds since 1970 UTC (days + 1)."""
        zone = ZoneInfo(self.timezone)
        days = (self.start_date + timedelta(days=index) for index in range(self.days + 1))
        return [int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) for day in days]


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ConfigError(f"synthetic advertiser: {name} is {value}; {name} must be {rule}. Change {name}.")
