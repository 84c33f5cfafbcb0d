"""When were outcomes recorded at all? Statistics on an outcome log that starts late or is read in the wrong zone.

Belongs here: pure estimates from leads and outcomes. Does not belong here: wording and severity (``findings``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

# A single outcome before the log's start (a test, a manual entry) must not hide the start, so the start is a change
# point of the rate and not the first outcome. These limits make the verdict a matter of orders of magnitude.
_LARGEST_RATE_RATIO = 0.1
_LARGEST_P_VALUE = 1e-6
_FEWEST_LATER_OUTCOMES = 10
_LARGEST_GAP_P_VALUE = 1e-3

_FEWEST_ROUND_TIMES = 5
_SMALLEST_ROUND_SHARE = 0.02
_SMALLEST_CONCENTRATION = 0.8


@dataclass(frozen=True)
class LateStart:
    """An outcome log that seems to start at ``day``: the outcomes before it, and how many its later rate predicts."""

    day: date
    outcomes_before: int
    expected_before: float
    leads_before: int
    p_value: float


def late_start(leads: pl.DataFrame, outcomes: pl.DataFrame, *, window_days: int, timezone: str) -> LateStart | None:
    """Find the day at which outcomes begin to be recorded, if that is clearly after leads begin.

    The number of outcomes a day is taken as Poisson with a rate per lead that is still inside its outcome window. The
    most likely single change of that rate is accepted if the earlier rate is below a tenth of the later one, so few
    outcomes have a probability below one in a million under the later rate, and leads had a whole window before it.

    Args:
        leads: ``lead_id, created_time, day``.
        outcomes: ``lead_id, qualified_time``.
        window_days: the outcome window.
        timezone: zone of the local days.
    """
    days = _daily(leads, outcomes, window_days=window_days, timezone=timezone)
    if days is None:
        return None
    event_days = days.filter(pl.col("outcomes") > 0)
    k1, e1 = event_days["outcomes_before"], event_days["exposure_before"]
    k2, e2 = days["outcomes"].sum() - k1, days["exposure"].sum() - e1
    likelihood = [_log_rate(a, b) + _log_rate(c, d) for a, b, c, d in zip(k1, e1, k2, e2, strict=True)]
    best = max(range(len(likelihood)), key=likelihood.__getitem__)
    before, later, exposure, exposure_later = int(k1[best]), int(k2[best]), float(e1[best]), float(e2[best])
    change: date = event_days["day"][best]
    first_lead: date = days["day"][0]
    if later < _FEWEST_LATER_OUTCOMES or exposure_later <= 0 or change - first_lead < timedelta(days=window_days):
        return None
    rate = later / exposure_later
    p_value = poisson_at_most(before, mean=exposure * rate)
    if before > _LARGEST_RATE_RATIO * exposure * rate or p_value > _LARGEST_P_VALUE:
        return None
    start = _walk_back(days, change, rate=rate)
    earlier = days.filter(pl.col("day") < start)
    return LateStart(
        day=start,
        outcomes_before=int(outcomes.filter(_local_day(timezone) < start).height),
        expected_before=float(earlier["exposure"].sum()) * rate,
        leads_before=int(leads.filter(pl.col("day") < start).height),
        p_value=p_value,
    )


def _local_day(timezone: str) -> pl.Expr:
    return pl.col("qualified_time").dt.convert_time_zone(timezone).dt.date()


def _daily(leads: pl.DataFrame, outcomes: pl.DataFrame, *, window_days: int, timezone: str) -> pl.DataFrame | None:
    """Per local day: outcomes within their window, and leads at risk (created within the last window)."""
    created = leads.select("lead_id", pl.col("day").alias("lead_day"))
    timed = outcomes.select("lead_id", _local_day(timezone).alias("day")).join(
        created, on="lead_id", how="inner", validate="1:1"
    )
    inside = timed.filter((pl.col("day") - pl.col("lead_day")).dt.total_days() <= window_days)
    if inside.is_empty():
        return None
    first, last = leads["day"].min(), max(leads["day"].max(), inside["day"].max())  # type: ignore[type-var]
    calendar = pl.DataFrame({"day": pl.date_range(first, last, "1d", eager=True)})  # type: ignore[arg-type]
    counted = (
        calendar.join(leads.group_by("day").len("leads"), on="day", how="left")
        .join(inside.group_by("day").len("outcomes"), on="day", how="left")
        .sort("day")
        .with_columns(pl.col("leads", "outcomes").fill_null(0).cast(pl.Int64))
    )
    at_risk = pl.col("leads").rolling_sum(window_days + 1, min_samples=1).cast(pl.Int64)
    return counted.with_columns(exposure=at_risk).with_columns(
        outcomes_before=pl.col("outcomes").cum_sum() - pl.col("outcomes"),
        exposure_before=pl.col("exposure").cum_sum() - pl.col("exposure"),
    )


def _log_rate(count: int, exposure: int) -> float:
    return count * math.log(count / exposure) if count and exposure else 0.0


def _walk_back(days: pl.DataFrame, change: date, *, rate: float) -> date:
    """The log may begin slowly: take earlier outcome days in while the silence between them is unremarkable."""
    earlier = days.filter((pl.col("outcomes") > 0) & (pl.col("day") < change)).sort("day", descending=True)
    start = change
    for day in earlier["day"]:
        silence = days.filter((pl.col("day") > day) & (pl.col("day") < start))["exposure"].sum()
        if math.exp(-rate * float(silence)) < _LARGEST_GAP_P_VALUE:
            break
        start = day
    return start


def poisson_at_most(count: int, *, mean: float) -> float:
    """Probability of at most ``count`` events where ``mean`` are expected."""
    if mean <= 0:
        return 1.0
    logs = (-mean + events * math.log(mean) - math.lgamma(events + 1) for events in range(count + 1))
    return min(1.0, math.fsum(math.exp(value) for value in logs))


@dataclass(frozen=True)
class RoundTimes:
    """Times exactly on one or two neighbouring full hours: midnights, of this zone or of another one."""

    hours: tuple[int, ...]
    rows: int
    share: float
    midnight_if_utc: bool


def round_times(moments: pl.Series, *, timezone: str, read_in: str) -> RoundTimes | None:
    """Find times that are dates in disguise: far more full hours than chance allows, and all of the same hour or two.

    Args:
        moments: UTC moments.
        timezone: zone of the local days.
        read_in: zone in which the file's naive times were read.
    """
    wall = moments.dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    on_the_hour = wall.filter(wall == wall.dt.truncate("1h"))
    if len(on_the_hour) < max(_FEWEST_ROUND_TIMES, _SMALLEST_ROUND_SHARE * len(wall)):
        return None
    counts: dict[int, int] = dict(on_the_hour.dt.hour().value_counts().iter_rows())
    pairs = {hour: counts.get(hour, 0) + counts.get((hour + 1) % 24, 0) for hour in range(24)}
    best = max(pairs, key=lambda hour: (pairs[hour], counts.get(hour, 0), -hour))
    if pairs[best] < _SMALLEST_CONCENTRATION * len(on_the_hour):
        return None
    hours = tuple(hour for hour in (best, (best + 1) % 24) if counts.get(hour, 0))
    as_written = moments.dt.convert_time_zone(read_in).dt.replace_time_zone(None)
    round_written = as_written.filter(wall == wall.dt.truncate("1h"))
    as_utc = round_written.dt.replace_time_zone("UTC").dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    midnights = int((as_utc == as_utc.dt.truncate("1d")).sum())
    return RoundTimes(hours, pairs[best], pairs[best] / len(wall), midnights >= _SMALLEST_CONCENTRATION * len(as_utc))
