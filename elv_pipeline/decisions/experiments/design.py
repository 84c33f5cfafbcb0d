"""What a person decides about an experiment before it is sized: question, units, metric, what must not get worse.

Belongs here: the frozen inputs of a plan and what each of them may be. Does not belong here: what follows from them
(``sizing.py``, ``plan.py``) or how it is told (``plan_words.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scipy.stats import chi2, norm

from elv_pipeline.decisions.experiments.allocation import Allocation

Kind = Literal["rate", "mean"]
Better = Literal["higher", "lower"]
OWN_COLUMNS = frozenset({"unit_id", "arm", "cluster_id", "assigned_at", "observed_at", "outcome_at", "history_until"})
"""Columns of a result that are not a metric or a covariate."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the metric was without the treatment, and how well that is known (95 % intervals).

    Attributes:
        value: the rate or the mean.
        low: lower end of its interval.
        high: upper end.
        sd: standard deviation of one unit.
        sd_low: lower end of its interval.
        sd_high: upper end.
    """

    value: float
    low: float
    high: float
    sd: float
    sd_low: float
    sd_high: float

    def __post_init__(self) -> None:
        """Refuse intervals without their value."""
        if not self.low <= self.value <= self.high:
            raise ValueError(f"baseline {self.value} lies outside of its interval {self.low} to {self.high}")
        if not 0 < self.sd_low <= self.sd <= self.sd_high:
            raise ValueError(
                f"sd {self.sd} must be positive and inside of its interval {self.sd_low} to {self.sd_high}"
            )


def rate_baseline(positives: int, *, units: int) -> Baseline:
    """A rate from counts, with the interval of Wilson (JASA 1927).

    Raises:
        ValueError: no unit or no positive, so that nothing can be planned.
    """
    if not 0 < positives < units:
        raise ValueError(f"{positives} positives among {units} units; a rate to plan with needs some of both kinds")
    rate, z = positives / units, float(norm.isf(0.025))
    middle = (rate + z**2 / (2 * units)) / (1 + z**2 / units)
    half = z / (1 + z**2 / units) * math.sqrt(rate * (1 - rate) / units + z**2 / (4 * units**2))
    low, high = middle - half, middle + half
    spreads = [math.sqrt(share * (1 - share)) for share in (low, rate, high)]
    widest = 0.5 if low < 0.5 < high else max(spreads)
    return Baseline(value=rate, low=low, high=high, sd=spreads[1], sd_low=min(spreads), sd_high=widest)


def mean_baseline(mean: float, *, sd: float, units: int) -> Baseline:
    """A mean from past units, with the normal interval of the mean and the chi-square interval of the deviation.

    Raises:
        ValueError: fewer than two units.
    """
    if units < 2:
        raise ValueError(f"{units} units; a mean to plan with needs at least two")
    half = float(norm.isf(0.025)) * sd / math.sqrt(units)
    ends = [sd * math.sqrt((units - 1) / float(chi2.ppf(share, units - 1))) for share in (0.975, 0.025)]
    return Baseline(value=mean, low=mean - half, high=mean + half, sd=sd, sd_low=ends[0], sd_high=ends[1])


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of each unit.

    Attributes:
        name: its column in the result.
        words: what it says of a unit, such as ``booked a call within 7 days``.
        kind: ``rate`` for yes or no, ``mean`` for an amount.
        better: which direction is good.
        baseline: what it is without the treatment.
    """

    name: str
    words: str
    kind: Kind
    baseline: Baseline
    better: Better = "higher"

    def __post_init__(self) -> None:
        """Refuse names that a result could not hold."""
        if not self.name.isidentifier() or self.name in OWN_COLUMNS:
            raise ValueError(f"metric {self.name!r}: use letters, digits and _, and none of {sorted(OWN_COLUMNS)}")
        if self.kind == "rate" and not 0 < self.baseline.value < 1:
            raise ValueError(f"metric {self.name}: baseline is {self.baseline.value}; a rate lies between 0 and 1")

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.better == "higher" else -1


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """A figure that must not get worse by more than a margin.

    Attributes:
        metric: the figure.
        margin: how much worse is tolerated, in its units, above 0.
    """

    metric: Metric
    margin: float

    def __post_init__(self) -> None:
        """Refuse a margin that would make every experiment fail."""
        if not self.margin > 0:
            raise ValueError(f"guardrail {self.metric.name}: margin is {self.margin}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """How many units come, and whether they come in groups that are allocated whole.

    Attributes:
        weekly_units: units that can be enrolled in a week.
        clusters: clusters that take part from the first week on, such as organisations; each grows every week.
        cluster_size: members of a cluster where new clusters come every week, such as campaigns; one of the two.
        size_variation: standard deviation of the sizes over their mean.
        intracluster_correlation: how alike the outcomes of one cluster are, 0 to 1.
    """

    weekly_units: float
    clusters: int | None = None
    cluster_size: float | None = None
    size_variation: float = 0.0
    intracluster_correlation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse volumes from which no size follows."""
        if not self.weekly_units > 0:
            raise ValueError(f"weekly_units is {self.weekly_units}; it must be above 0")
        if self.clusters is not None and self.cluster_size is not None:
            raise ValueError(
                "clusters and cluster_size are both given; give the number of clusters that are there all "
                "the time, or the size of those that come new"
            )
        if not 0 <= self.intracluster_correlation <= 1 or self.size_variation < 0:
            raise ValueError("intracluster_correlation must lie between 0 and 1, size_variation must not be negative")
        if not self.clustered and self.intracluster_correlation > 0:
            raise ValueError("intracluster_correlation is given without clusters; give clusters or cluster_size")

    @property
    def clustered(self) -> bool:
        """Whether groups are allocated whole."""
        return self.clusters is not None or self.cluster_size is not None

    def units(self, weeks: float) -> float:
        """Units enrolled in so many weeks."""
        return self.weekly_units * weeks

    def clusters_after(self, weeks: float) -> float:
        """Allocated units after so many weeks: clusters, or units where there are none."""
        if self.clusters is not None:
            return float(self.clusters)
        return self.units(weeks) / (self.cluster_size or 1.0)

    def effective_units(self, weeks: float) -> float:
        """Independent units that would tell as much (Eldridge, Ashby & Kerry, Int. J. Epidemiology 2006)."""
        units = self.units(weeks)
        if not self.clustered or units <= 0:
            return units
        size = units / self.clusters_after(weeks) * (1 + self.size_variation**2)
        return units / (1 + max(0.0, size - 1) * self.intracluster_correlation)


@dataclass(frozen=True, kw_only=True)
class Design:
    """An experiment as a person wants it.

    Attributes:
        name: of the experiment; names its files.
        hypothesis: what is believed, in one sentence.
        control: what the control gets, in words.
        treatment: what the treatment gets, in words.
        unit: what is counted, such as ``enrollment``.
        cluster: what is allocated whole, such as ``organisation``; None where each unit is allocated alone.
        allocation: salt and share.
        window_days: how long after its allocation a unit's outcome counts.
        primary: the metric that decides.
        volume: how many units come.
        guardrails: what must not get worse.
        smallest_effect: the smallest difference worth having, in units of the metric, above 0.
        enrolment_weeks: how long units are enrolled; None to find the shortest time for ``smallest_effect``.
        looks: how many weekly looks, the last at the end; None for one every week.
        alpha: chance of a false alarm, both sides together.
        power: chance to find the smallest effect.
        longest_weeks: how long it may take altogether.
        least_clusters: of an arm; with fewer no standard error can be trusted.
        sample_ratio_alpha: chance of a false alarm of the sample-ratio check in the whole experiment.
        history: columns of the result with figures from before the allocation.
        variance_reduction: share of the variance that history is expected to explain, 0 where that was not measured.
        starts_at: first moment of enrolment; None until it is fixed.
        stages: shares of everybody, rising to 1, in which a better treatment is rolled out.
    """

    name: str
    hypothesis: str
    control: str
    treatment: str
    unit: str
    allocation: Allocation
    window_days: int
    primary: Metric
    volume: Volume
    cluster: str | None = None
    guardrails: tuple[Guardrail, ...] = ()
    smallest_effect: float | None = None
    enrolment_weeks: int | None = None
    looks: int | None = None
    alpha: float = 0.05
    power: float = 0.8
    longest_weeks: int = 12
    least_clusters: int = 10
    sample_ratio_alpha: float = 0.001
    history: tuple[str, ...] = ()
    variance_reduction: float = 0.0
    starts_at: datetime | None = None
    stages: tuple[float, ...] = (0.25, 0.5, 1.0)

    def __post_init__(self) -> None:
        """Refuse designs that contradict themselves."""
        for rule, message in self._rules():
            if not rule:
                raise ValueError(message)

    def _rules(self) -> tuple[tuple[bool, str], ...]:
        names = [self.primary.name, *(guardrail.metric.name for guardrail in self.guardrails), *self.history]
        wanted = self.smallest_effect is not None or self.enrolment_weeks is not None
        return (
            (bool(self.name.strip() and self.hypothesis.strip()), "name and hypothesis must not be empty"),
            (wanted, "give smallest_effect, enrolment_weeks, or both"),
            (self.smallest_effect is None or self.smallest_effect > 0, "smallest_effect must be above 0"),
            (self.enrolment_weeks is None or self.enrolment_weeks >= 1, "enrolment_weeks must be at least 1"),
            (self.looks is None or self.looks >= 1, "looks must be at least 1"),
            (self.window_days >= 0, "window_days must not be negative"),
            (0 < self.alpha <= 0.2, "alpha must lie between 0 and 0.2"),
            (0.5 <= self.power < 1, "power must be at least 0.5 and below 1"),
            (0 < self.sample_ratio_alpha <= 0.05, "sample_ratio_alpha must lie between 0 and 0.05"),
            (0 <= self.variance_reduction < 1, "variance_reduction must be at least 0 and below 1"),
            (not self.variance_reduction or bool(self.history), "variance_reduction is given without history"),
            (self.least_clusters >= 5, "least_clusters must be at least 5: below, no standard error can be trusted"),
            (len(set(names)) == len(names), f"metrics and history must have different names: {names}"),
            (not OWN_COLUMNS & set(names), f"no metric or covariate may be called one of {sorted(OWN_COLUMNS)}"),
            (
                (self.cluster is not None) == self.volume.clustered,
                "cluster names what is allocated whole: give it exactly where volume has clusters or cluster_size",
            ),
            (self.starts_at is None or self.starts_at.tzinfo is not None, "starts_at needs an offset, such as +00:00"),
            (
                bool(self.stages)
                and self.stages[-1] == 1
                and list(self.stages) == sorted(set(self.stages))
                and self.stages[0] > 0,
                "stages must be rising shares that end with 1",
            ),
        )
