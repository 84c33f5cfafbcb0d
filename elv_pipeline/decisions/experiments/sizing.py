"""How long an experiment takes, and what it can find in that time.

Belongs here: the schedule of looks, variances, detectable differences, durations. Does not belong here: the plan as a
whole (``plan.py``) or its words.

With effective units n, share s of the treatment and standard deviations of the arms, the difference has the variance
(sd0^2 / (1 - s) + sd1^2 / s) / n; it is found with the power asked for when it is ``drift`` standard errors large
(Jennison & Turnbull 2000, chapter 3). Few clusters cost more: the drift is scaled as Student's t is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from scipy.optimize import brentq
from scipy.stats import norm, t

from elv_pipeline.decisions.experiments.design import Design, Metric
from elv_pipeline.decisions.experiments.sequential import Boundaries, boundaries, drift_for_power
from elv_pipeline.errors import ConfigError

LEAST_WEEKS = 2
"""Enrolment is never shorter than this where the duration is sought: one week may be a holiday."""
LEAST_EVENTS = 20
"""Expected positives, and negatives, of an arm at the end: below, a rate's difference is not normal enough."""
_LEAST_GAIN = 0.01
"""A look that adds less than this share of information is left out."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When an experiment of a given length is looked at.

    Attributes:
        design: of the experiment.
        enrolment_weeks: weeks in which units are enrolled.
        weeks: week of each look, counted from the start; the last is the end.
    """

    design: Design
    enrolment_weeks: int
    weeks: tuple[int, ...]

    @property
    def end(self) -> int:
        """Week of the last look."""
        return self.weeks[-1]

    def mature_weeks(self, week: int) -> float:
        """Weeks of enrolment whose outcome windows are over."""
        return max(0.0, min(float(self.enrolment_weeks), week - self.design.window_days / 7))

    @cached_property
    def information(self) -> tuple[float, ...]:
        """Share of the planned information at each look."""
        volume = self.design.volume
        whole = volume.effective_units(self.enrolment_weeks)
        return tuple(volume.effective_units(self.mature_weeks(week)) / whole for week in self.weeks)

    @cached_property
    def bounds(self) -> Boundaries:
        """The planned boundaries."""
        return boundaries(self.information, alpha=self.design.alpha)

    @cached_property
    def drift(self) -> float:
        """Expected z at the end of a difference that is found with the power asked for, with normal errors."""
        return drift_for_power(self.bounds, power=self.design.power)

    @property
    def inflation(self) -> float:
        """How many times as many units the looks cost, against one look at the end."""
        return (self.drift / _fixed_drift(self.design)) ** 2

    def detectable(self, metric: Metric, *, value: float, sd: float, drift: float | None = None) -> float | None:
        """The smallest difference of a metric that is found; None where none is possible.

        Args:
            metric: of which.
            value: its mean without the treatment.
            sd: its standard deviation without the treatment.
            drift: standard errors that it must be large; those of the power asked for by default.
        """
        wanted = (self.drift if drift is None else drift) * _few_clusters(self.design, weeks=self.enrolment_weeks)
        units = self.design.volume.effective_units(self.enrolment_weeks)

        def missing(difference: float) -> float:
            return difference - wanted * math.sqrt(
                variance(self.design, metric, value=value, sd=sd, difference=difference) / units
            )

        largest = _largest(metric, value) if metric.kind == "rate" else 1e3 * wanted * sd
        if missing(largest * (1 - 1e-9)) < 0:
            return None
        return float(brentq(missing, 0.0, largest * (1 - 1e-9), xtol=1e-12))


def variance(design: Design, metric: Metric, *, value: float, sd: float, difference: float) -> float:
    """Variance of the difference of the arms' means, times the effective units.

    Args:
        design: shares of the arms, and what history explains.
        metric: a rate's variance moves with it.
        value: mean without the treatment.
        sd: standard deviation without the treatment.
        difference: what the treatment does in the direction that is better.
    """
    share = design.allocation.treatment_share
    treated = sd**2
    if metric.kind == "rate":
        rate = value + metric.sign * difference
        treated = max(0.0, rate * (1 - rate))
    left = 1 - design.variance_reduction if metric == design.primary else 1.0
    return left * (sd**2 / (1 - share) + treated / share)


def schedule(design: Design, *, enrolment_weeks: int) -> Schedule:
    """Weekly looks from the first week in which a week's units are mature, or fewer, evenly spread, as asked for."""
    window = design.window_days / 7
    end = enrolment_weeks + math.ceil(window)
    weeks = [week for week in range(1, end + 1) if week - window >= 1 or week == end]
    if design.looks is not None and design.looks < len(weeks):
        # The last looks of evenly many weeks: the first of ten looks in twenty weeks is in week two.
        weeks = sorted(
            {weeks[math.ceil((number + 1) * len(weeks) / design.looks) - 1] for number in range(design.looks)}
        )
    every = Schedule(design=design, enrolment_weeks=enrolment_weeks, weeks=tuple(weeks))
    kept: list[int] = []
    before = 0.0
    for week, share in zip(every.weeks, every.information, strict=True):
        if week == end and kept and share - before < _LEAST_GAIN:
            kept.pop()  # the end is always looked at; the look before it told the same
        if week == end or share - before >= _LEAST_GAIN:
            kept.append(week)
            before = share
    return Schedule(design=design, enrolment_weeks=enrolment_weeks, weeks=tuple(kept))


def shortest(design: Design, *, smallest_effect: float) -> Schedule:
    """The shortest schedule that finds an effect.

    Raises:
        ConfigError: none within ``longest_weeks`` does.
    """
    most = design.longest_weeks - math.ceil(design.window_days / 7)
    last: Schedule | None = None
    for weeks in range(LEAST_WEEKS, most + 1):
        last = schedule(design, enrolment_weeks=weeks)
        # One look at the end finds the most: what it misses need not be computed with looks.
        if weeks < most and not _finds(last, smallest_effect, drift=_fixed_drift(design)):
            continue
        if _finds(last, smallest_effect, drift=None):
            return last
    raise ConfigError(_too_long(design, last, smallest_effect=smallest_effect))


def refuse_weak(found: Schedule) -> None:
    """Refuse schedules from which nothing could be concluded.

    Raises:
        ConfigError: it takes too long, has too few clusters, or expects too few events.
    """
    design = found.design
    if found.end > design.longest_weeks:
        raise ConfigError(
            f"{design.name}: {found.enrolment_weeks} weeks of enrolment and {design.window_days} days for the last "
            f"outcome take {found.end} weeks; longest_weeks is {design.longest_weeks}. Enrol for a shorter time, or "
            f"raise longest_weeks."
        )
    smaller = min(design.allocation.treatment_share, 1 - design.allocation.treatment_share)
    clusters = design.volume.clusters_after(found.enrolment_weeks) * smaller
    if design.cluster is not None and clusters < design.least_clusters:
        raise ConfigError(
            f"{design.name}: {clusters:.1f} {design.cluster}s are expected in the smaller arm; at least "
            f"{design.least_clusters} are needed, for with fewer the luck of the draw decides. Allocate single "
            f"{design.unit}s, allocate something smaller than a {design.cluster}, or share out evenly."
        )
    value = design.primary.baseline.value
    rare = min(value, 1 - value) * design.volume.units(found.enrolment_weeks) * smaller
    if design.primary.kind == "rate" and rare < LEAST_EVENTS:
        raise ConfigError(
            f"{design.name}: {rare:.1f} {design.unit}s of the smaller arm are expected to decide the rate "
            f"{design.primary.name}; at least {LEAST_EVENTS} are needed. Enrol for longer, share out evenly, or take a "
            f"metric that is less rare."
        )


def _finds(found: Schedule, effect: float, *, drift: float | None) -> bool:
    baseline = found.design.primary.baseline
    least = found.detectable(found.design.primary, value=baseline.value, sd=baseline.sd, drift=drift)
    return least is not None and least <= effect


def _too_long(design: Design, longest: Schedule | None, *, smallest_effect: float) -> str:
    start = f"{design.name}: a difference of {smallest_effect:.4g} in {design.primary.name} cannot be found within "
    remedy = "Look for a larger difference, raise longest_weeks, enrol more units a week, or share out evenly."
    if longest is None:
        return (
            f"{start}{design.longest_weeks} weeks, of which {design.window_days} days belong to the last outcome; at "
            f"least {LEAST_WEEKS} weeks of enrolment are needed. Raise longest_weeks."
        )
    baseline = design.primary.baseline
    least = longest.detectable(design.primary, value=baseline.value, sd=baseline.sd)
    possible = "no difference can be found" if least is None else f"differences from {least:.4g} can be found"
    units = design.volume.units(longest.enrolment_weeks)
    return f"{start}{design.longest_weeks} weeks: with {units:,.0f} units {possible}. {remedy}"


def _largest(metric: Metric, value: float) -> float:
    return 1 - value if metric.sign > 0 else value


def _fixed_drift(design: Design) -> float:
    return float(norm.isf(design.alpha / 2) + norm.ppf(design.power))


def _few_clusters(design: Design, *, weeks: int) -> float:
    freedom = design.volume.clusters_after(weeks) - 2
    if freedom < 1:
        return math.inf
    return float(t.isf(design.alpha / 2, freedom) + t.ppf(design.power, freedom)) / _fixed_drift(design)
