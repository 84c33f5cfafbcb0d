"""What a synthetic outreach organisation is asked to be.

Belongs here: the frozen specification and its rules. Does not belong here: drawing anything at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from elv_pipeline.errors import ConfigError

MIN_CAMPAIGNS = 8
"""The planted elements live in the first eight; further campaigns are ordinary."""
MIN_STEPS, MAX_STEPS = 5, 8
MIN_CONTACTS = 200


@dataclass(frozen=True, kw_only=True)
class OutreachSpec:
    """Size, calendar and behaviour of one synthetic organisation; equal specs give equal bytes. All times are UTC.

    Attributes:
        contacts: Number of contacts; each is enrolled at least once.
        days: Length of the period; nothing recorded at or after its end is exported.
        start_date: First day.
        campaigns: Number of campaigns, of which the two tests are randomised.
        steps_per_campaign: Steps of each campaign.
        seed: Seed of every random draw.
        org_id: Organisation that all enrollments belong to.
        second_enrollment_share: Share of the contacts that are enrolled again, two to four months later.
        randomised_share: Share of the enrollments that a coin sends to the randomised campaigns.
        confounding: How strongly the other campaigns choose their contacts by source and status; 0 is not at all.
        booked_call_rate: Share of the enrollments that ever book a call, with nothing cut off by the end of the data.
        qualified_rate: Share that ever qualifies.
        converted_rate: Share that ever converts.
        trend_break_at: Share of the period after which bookings become rarer; None for no break.
        withdrawn_share: Share of the recorded outcomes that is taken back later.
        response_text: Whether replies and calls carry free text.
        personal_columns: Whether contacts carry invented names, addresses and telephone numbers, as real exports do.
        dirt: Share of the rows that get each declared kind of dirt; 0 for a clean export.

    Raises:
        ConfigError: A value is outside its range; the message names value, rule and remedy.
    """

    contacts: int = 6_000
    days: int = 240
    start_date: date = date(2025, 1, 6)
    campaigns: int = 8
    steps_per_campaign: int = 5
    seed: int = 7
    org_id: str = "org001"
    second_enrollment_share: float = 0.2
    randomised_share: float = 0.3
    confounding: float = 1.0
    booked_call_rate: float = 0.12
    qualified_rate: float = 0.10
    converted_rate: float = 0.05
    trend_break_at: float | None = 0.7
    withdrawn_share: float = 0.01
    response_text: bool = True
    personal_columns: bool = True
    dirt: float = 0.0

    def __post_init__(self) -> None:
        _at_least("contacts", self.contacts, MIN_CONTACTS)
        _at_least("days", self.days, 60)
        _at_least("campaigns", self.campaigns, MIN_CAMPAIGNS)
        _at_least("seed", self.seed, 0)
        steps = self.steps_per_campaign
        _require(MIN_STEPS <= steps <= MAX_STEPS, "steps_per_campaign", steps, f"from {MIN_STEPS} to {MAX_STEPS}")
        _require(bool(self.org_id.strip()), "org_id", repr(self.org_id), "a text that is not blank")
        _require(0 <= self.second_enrollment_share <= 1, "second_enrollment_share", self.second_enrollment_share, SHARE)
        _require(0 < self.randomised_share < 1, "randomised_share", self.randomised_share, "between 0 and 1, exclusive")
        _require(0 <= self.confounding <= 2, "confounding", self.confounding, "from 0 to 2")
        # More than that cannot come of the replies and calls that the mechanism brings about.
        _require(0 < self.booked_call_rate <= 0.2, "booked_call_rate", self.booked_call_rate, "above 0 and at most 0.2")
        _require(0 < self.qualified_rate <= 0.2, "qualified_rate", self.qualified_rate, "above 0 and at most 0.2")
        most = 0.6 * max(self.booked_call_rate, self.qualified_rate)
        rule = f"above 0 and at most {most:.3f}, six tenths of the larger of the two rates before it"
        _require(0 < self.converted_rate <= most, "converted_rate", self.converted_rate, rule)
        if self.trend_break_at is not None:
            _require(0 < self.trend_break_at < 1, "trend_break_at", self.trend_break_at, "between 0 and 1, exclusive")
        _require(0 <= self.withdrawn_share <= 0.5, "withdrawn_share", self.withdrawn_share, "from 0 to 0.5")
        _require(0 <= self.dirt <= 0.2, "dirt", self.dirt, "from 0 to 0.2")

    @property
    def start(self) -> datetime:
        """First instant of the period; the mechanism counts days from here."""
        return datetime(self.start_date.year, self.start_date.month, self.start_date.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """First instant after the period."""
        return self.start + timedelta(days=self.days)

    @property
    def break_day(self) -> float:
        """Day of the trend break, counted from the start; infinite without one."""
        return float("inf") if self.trend_break_at is None else float(round(self.days * self.trend_break_at))


SHARE = "from 0 to 1"


def _at_least(name: str, value: int, least: int) -> None:
    _require(value >= least, name, value, f"at least {least}")


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ConfigError(f"synthetic organisation: {name} is {value}; {name} must be {rule}. Change {name}.")
