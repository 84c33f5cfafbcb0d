"""Labels for every lead as of an origin: hard where the window is closed or the outcome known, else a probability.

Belongs here: what was known at the origin, and the expectation-maximisation that shares each open lead between
the two classes. Does not belong here: the distribution of the delay (``delay_distribution.py``), the model trained on
these labels (``censored_training.py``) or any estimator.

A lead of age a without a known outcome converts later with probability p (1 - F(a)) / (1 - p F(a)), where p is its
probability to convert within the window and F the share of conversions known by an age: Chapelle, "Modeling delayed
feedback in display advertising" (KDD 2014); as expectation-maximisation of a cure model, Sy and Taylor (Biometrics
2000). p of a young lead comes from a fit that has not seen its label (Chernozhukov et al., "Double/debiased machine
learning", 2018, for the cross-fitting): a flexible model would otherwise learn its own expectations by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from math import fsum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit

from elv_pipeline.learning.delay_distribution import MIN_CONVERSIONS, DelayDistribution
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words
from elv_pipeline.tables.labels import Observation, with_status

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int8]
ITERATIONS = 4
FOLDS = 4
ALMOST_CERTAIN = 1 - 1e-6
SETTLED = 1e-3  # mean change of the open leads' probability below which another round is a waste of fits
MICROSECONDS_OF_DAY = 86_400_000_000
LABEL_COLUMNS = (
    "outcome_time",
    "outcome_recorded_time",
    "outcome_withdrawn_time",
    "outcome_observed",
    "labels_observed_until",
)


class Margins(Protocol):
    """A fitted model, as far as soft labels need one."""

    def margin(self, table: pl.DataFrame) -> FloatArray:
        """Return one logit per row."""


FitWeighted = Callable[[pl.DataFrame, Labels, FloatArray], Margins]
"""Fits rows sorted by time, each with a label and a weight; an open lead comes twice, once with each label."""


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """One round of the expectation-maximisation.

    Attributes:
        expected_positives: conversions known, and expected of open leads.
        log_likelihood: mean over the young leads of what was observed of them, under probabilities out of fold.
        change: mean absolute change of the open leads' probability since the round before.
    """

    expected_positives: float
    log_likelihood: float
    change: float


@dataclass(frozen=True, kw_only=True)
class SoftLabelled:
    """Weighted training rows as of an origin.

    Attributes:
        leads: the usable leads, as ``known_at_origin`` returns them; with hard labels only the mature ones train.
        rows: position in ``leads`` of each training row, ascending; an open lead has two.
        y: label of each training row.
        weight: weight of each training row; the two of an open lead add up to 1.
        delay: the distribution behind the weights; None where labels are hard.
        trace: one entry a round.
        reason: why labels are hard, in a sentence; None where they are soft.
    """

    leads: pl.DataFrame
    rows: npt.NDArray[np.int64]
    y: Labels
    weight: FloatArray
    delay: DelayDistribution | None
    trace: tuple[Iteration, ...]
    reason: str | None

    @property
    def table(self) -> pl.DataFrame:
        """The training rows with their features."""
        return self.leads[self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Return counts, distribution and trace as a JSON document."""
        mature, converted = self.leads["mature"], self.leads["outcome_delay_days"].is_not_null()
        return {
            "mature_leads": int(mature.sum()),
            "mature_positives": int((mature & converted).sum()),
            "young_leads": int((~mature).sum()),
            "young_positives": int((~mature & converted).sum()),
            "expected_positives": fsum(self.weight[self.y == 1].tolist()),
            "soft": self.reason is None,
            "reason": self.reason,
            "delay": self.delay.to_dict() if self.delay else None,
            "iterations": [asdict(iteration) for iteration in self.trace],
        }


def known_at_origin(table: pl.DataFrame, *, observation: Observation) -> pl.DataFrame:
    """Return the leads whose history up to the origin is known, with what was known of their outcome then.

    Leads created before outcomes were recorded are left out, converted or not: of these only the late conversions
    could be seen. So are leads whose outcome was contradictory.

    Args:
        table: one row a lead: ``lead_id``, ``created_time``, the columns of ``matured_labels`` named in
            ``LABEL_COLUMNS``, and the features.
        observation: must carry the origin.

    Returns:
        The rows sorted by (created_time, lead_id), without ``LABEL_COLUMNS``, with ``mature``, ``outcome_age_days``
        (how long the lead was observed, at most the window) and ``outcome_delay_days`` (until its conversion was
        known; null where none was).
    """
    if observation.origin is None:
        raise ValueError("soft labels need an origin")
    created = pl.col("created_time")
    usable = (created < observation.origin) & pl.col("outcome_observed")
    if observation.observed_from is not None:
        usable = usable & (created >= observation.observed_from)
    rows = table.lazy().filter(usable).drop("y", "label_status", "mature", strict=False)
    known = pl.max_horizontal("outcome_time", "outcome_recorded_time")
    seen = (
        with_status(rows, observation=observation)
        .sort("created_time", "lead_id")
        .with_columns(
            outcome_age_days=pl.min_horizontal("labels_observed_until", pl.lit(observation.horizon)) - created,
            outcome_delay_days=pl.when(pl.col("label_status") == "positive").then(known - created),
        )
        .drop(*LABEL_COLUMNS, "label_status", "y")
        .collect()
    )
    age = np.clip(_in_days(seen["outcome_age_days"]), 0, observation.window_days)
    delay = np.maximum(_in_days(seen["outcome_delay_days"]), 0)
    return seen.with_columns(outcome_age_days=pl.Series(age), outcome_delay_days=pl.Series(delay).fill_nan(None))


def soft_labels(
    leads: pl.DataFrame,
    *,
    window_days: int,
    fit: FitWeighted,
    iterations: int = ITERATIONS,
    folds: int = FOLDS,
    words: Words = QUALIFIED_LEADS,
) -> SoftLabelled:
    """Share each open lead between the two labels, by expectation-maximisation.

    Args:
        leads: rows of ``known_at_origin``.
        window_days: the outcome window.
        fit: fits ``iterations * folds + 1`` models at most.
        iterations: rounds at most.
        folds: parts of the young leads, by a hash of ``lead_id``; each is predicted by a fit on the others. Mature
            leads take part in every fit: their labels are facts and cannot feed on themselves.
        words: what rows are called in the reason.

    Returns:
        The training rows; hard ones of the mature leads alone, with the reason, where the evidence for a
        distribution of the delay is too thin.
    """
    known = _Known.of(leads, window_days=window_days)
    reason = known.too_little(words)
    if reason is not None:
        rows = np.flatnonzero(known.mature)
        y = known.converted[rows].astype(np.int8)
        return SoftLabelled(leads=leads, rows=rows, y=y, weight=np.ones(len(rows)), delay=None, trace=(), reason=reason)
    young_ids = leads.filter(~pl.col("mature"))["lead_id"].to_list()
    fold = np.array([fold_of(lead_id, folds=folds) for lead_id in young_ids])
    delay = known.delay(known.converted.astype(np.float64), among=known.mature)
    p = _probability(
        _fit(leads, known, known.converted.astype(np.float64), among=known.mature, fit=fit), leads, known.young
    )
    positive = known.expected(p, delay)
    trace = [known.iteration(p, delay, positive=positive, before=None)]
    for _ in range(iterations):
        delay, before = known.delay(positive), positive
        p = _cross_fitted(leads, known, positive, fold=fold, fit=fit)
        positive = known.expected(p, delay)
        trace.append(known.iteration(p, delay, positive=positive, before=before))
        if trace[-1].change < SETTLED:
            break
    rows, y, weight = _training_rows(known, positive)
    return SoftLabelled(leads=leads, rows=rows, y=y, weight=weight, delay=delay, trace=tuple(trace), reason=None)


def fold_of(lead_id: str, *, folds: int) -> int:
    """Return the fold of a lead: BLAKE2b (RFC 7693), digest of 8 bytes read big-endian, modulo the folds."""
    return int.from_bytes(blake2b(lead_id.encode("utf-8"), digest_size=8).digest(), "big") % folds


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of each lead, as arrays; ``p`` and ``young`` rows are in the order of the leads."""

    window_days: int
    age: FloatArray
    delay_days: FloatArray
    mature: BoolArray

    @classmethod
    def of(cls, leads: pl.DataFrame, *, window_days: int) -> _Known:
        return cls(
            window_days=window_days,
            age=leads["outcome_age_days"].to_numpy(),
            delay_days=leads["outcome_delay_days"].fill_null(np.nan).to_numpy(),
            mature=leads["mature"].to_numpy(),
        )

    @property
    def converted(self) -> BoolArray:
        return ~np.isnan(self.delay_days)

    @property
    def young(self) -> BoolArray:
        return ~self.mature

    @property
    def open(self) -> BoolArray:
        return self.young & ~self.converted

    def too_little(self, words: Words) -> str | None:
        """Why a distribution of the delay would be no more than a guess; None where it is not."""
        conversions, mature = int((self.converted & self.mature).sum()), int(self.mature.sum())
        if conversions < MIN_CONVERSIONS:
            return (
                f"The delay of outcomes cannot be estimated from {conversions} conversions of mature {words.rows}; at "
                f"least {MIN_CONVERSIONS} are needed, so {words.rows} with an open window were left out."
            )
        if conversions == mature:
            return f"All {mature} mature {words.rows} converted; without negatives no probability can be learned."
        if not self.open.any():
            return f"No {words.row} has an open window, so every label is known already."
        return None

    def delay(self, positive: FloatArray, *, among: BoolArray | None = None) -> DelayDistribution:
        kept = np.ones(len(self.age), dtype=bool) if among is None else among
        return DelayDistribution.fit(
            self.age[kept], self.delay_days[kept], positive[kept], window_days=self.window_days
        )

    def expected(self, p: FloatArray, delay: DelayDistribution) -> FloatArray:
        """Probability of each lead to be a conversion; ``p`` has one entry a young lead."""
        positive = self.converted.astype(np.float64)
        among_young, seen = self.open[self.young], delay.at(self.age[self.open])
        prior = p[among_young]
        positive[self.open] = prior * (1 - seen) / (1 - prior * seen)
        return positive

    def iteration(
        self, p: FloatArray, delay: DelayDistribution, *, positive: FloatArray, before: FloatArray | None
    ) -> Iteration:
        converted = self.converted[self.young]
        age, days = self.age[self.young], self.delay_days[self.young]
        # A day on which no lead that was observed through all of it converted has no share; log(0) would hide the rest.
        happened = np.log(p[converted]) + np.log(delay.share_of_day(days[converted]).clip(1e-6))
        not_yet = np.log1p(-p[~converted] * delay.at(age[~converted]))
        moved = 1.0 if before is None else fsum(np.abs(positive - before)[self.open].tolist()) / int(self.open.sum())
        return Iteration(
            expected_positives=fsum(positive.tolist()),
            log_likelihood=fsum([*happened.tolist(), *not_yet.tolist()]) / len(converted),
            change=moved,
        )


def _training_rows(
    known: _Known, positive: FloatArray, *, among: BoolArray | None = None
) -> tuple[npt.NDArray[np.int64], Labels, FloatArray]:
    """Return (row, label, weight): one of each hard lead, two of each open one, in the order of the leads."""
    kept = np.ones(len(positive), dtype=bool) if among is None else among
    hard, twice = np.flatnonzero(kept & ~known.open), np.flatnonzero(kept & known.open)
    rows = np.concatenate([hard, twice, twice])
    y = np.concatenate([known.converted[hard], np.ones(len(twice)), np.zeros(len(twice))]).astype(np.int8)
    # A young lead that has converted is certain, but must not judge: early positives without the early negatives
    # would make every rate too high. A weight below 1 learns and does not judge.
    certain = np.where(known.mature[hard], 1.0, ALMOST_CERTAIN)
    weight = np.concatenate([certain, positive[twice], 1 - positive[twice]])
    order = np.lexsort((y, rows))
    return rows[order], y[order], weight[order]


def _fit(leads: pl.DataFrame, known: _Known, positive: FloatArray, *, among: BoolArray, fit: FitWeighted) -> Margins:
    rows, y, weight = _training_rows(known, positive, among=among)
    return fit(leads[rows], y, weight)


def _cross_fitted(
    leads: pl.DataFrame, known: _Known, positive: FloatArray, *, fold: npt.NDArray[np.int64], fit: FitWeighted
) -> FloatArray:
    """Probability of each young lead by a fit on the mature leads and the young ones of the other folds."""
    p, young = np.full(len(fold), np.nan), np.flatnonzero(known.young)
    for part in np.unique(fold):
        held = np.zeros(leads.height, dtype=bool)
        held[young[fold == part]] = True
        p[fold == part] = _probability(_fit(leads, known, positive, among=~held, fit=fit), leads, held)
    return p


def _probability(model: Margins, leads: pl.DataFrame, among: BoolArray) -> FloatArray:
    p: FloatArray = expit(model.margin(leads.filter(pl.Series(among)))).clip(1e-6, 1 - 1e-6)
    return p


def _in_days(duration: pl.Series) -> FloatArray:
    # Divided by numpy: polars may multiply by the reciprocal instead, depending on the number of rows.
    microseconds: FloatArray = duration.dt.total_microseconds().cast(pl.Float64).fill_null(np.nan).to_numpy()
    return microseconds / MICROSECONDS_OF_DAY
