"""The effect of an element of outreach on an outcome, against the alternatives at the same place.

Belongs here: cross-fitted doubly robust estimation and the label of what it rests on. Does not belong here: what is
compared (``comparisons.py``), the two nuisances (``nuisances.py``), the arithmetic (``doubly_robust.py``), the verdict
on overlap (``overlap_check.py``), or which effects deserve attention (``findings.py``).

An effect is *randomised* where the element was drawn by lot at its place: propensities are then the shares at the
place, and covariates serve precision alone. It is *observational* everywhere else, whatever was adjusted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from elv_pipeline.decisions.recommend.comparisons import (
    PLACE,
    TREATED,
    Comparison,
    compared,
    elements_of,
    known_rows,
)
from elv_pipeline.decisions.recommend.doubly_robust import Estimate, Groups
from elv_pipeline.decisions.recommend.nuisances import Covariates, contact_folds, covariates_of, cross_fitted
from elv_pipeline.decisions.recommend.overlap_check import Overlap, check_overlap, draw_contradicted_by

IntArray = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Label = Literal["observational", "randomised"]
MANY_ROWS = 10_000


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """How effects are estimated.

    Attributes:
        folds: of whole contacts.
        folds_of_many: the same from ``MANY_ROWS`` on, where a smaller part is enough to learn from and each fit costs.
        seed: of folds and trees.
        confidence: of the intervals.
        least_contacts: that each group must have.
        least_outcomes: that would be expected in each group at the rate of both together.
        clip: no propensity is taken to be nearer to 0 or 1.
    """

    folds: int = 5
    folds_of_many: int = 3
    seed: int = 0
    confidence: float = 0.95
    least_contacts: int = 20
    least_outcomes: float = 5.0
    clip: float = 0.001


@dataclass(frozen=True, kw_only=True)
class ElementEffect:
    """What is known of one element.

    Attributes:
        comparison: what it was compared with.
        element: its id.
        label: what the estimate rests on.
        element_rows: rows of the element with a known outcome, wherever it was sent.
        alternatives: each alternative at the same places and its rows, the most frequent first.
        rows_without_alternative: rows of the element that were left out: at places where nothing else was sent, and, of
            an element drawn by lot, those for which it was not drawn.
        naive: difference of the plain rates; None where a group is empty.
        overlap: whether the groups can be compared; None where there were too few rows to ask.
        estimate: None where none is given.
        refusal: why there is none, in a sentence; empty where there is one.
        notes: what else a reader must know.
    """

    comparison: Comparison
    element: str
    label: Label
    element_rows: int
    alternatives: tuple[tuple[str, int], ...]
    rows_without_alternative: int
    naive: float | None
    overlap: Overlap | None
    estimate: Estimate | None
    refusal: str
    notes: tuple[str, ...] = ()

    @property
    def comparable_share(self) -> float:
        """Share of the element's rows that the estimate speaks for, 0..1."""
        if self.overlap is None or self.estimate is None:
            return 0.0
        return (1 - self.rows_without_alternative / self.element_rows) * self.overlap.element_share_inside

    def __post_init__(self) -> None:
        """Refuse contradictions: a draw that was none, an effect without overlap, neither effect nor reason."""
        by_design = self.overlap is not None and self.overlap.verdict == "by design"
        if (self.label == "randomised") != by_design:
            raise ValueError(f"{self.element}: randomised means overlap by design, and nothing else does")
        if (self.estimate is None) != bool(self.refusal):
            raise ValueError(f"{self.element}: give either an estimate or the reason why there is none")
        if self.estimate is not None and (self.overlap is None or self.overlap.verdict == "missing"):
            raise ValueError(f"{self.element}: no effect can be given without overlap")


def estimate_effects(
    rows: pl.DataFrame, comparison: Comparison, *, settings: Estimation | None = None
) -> tuple[ElementEffect, ...]:
    """Estimate the effect of every element in the rows.

    Args:
        rows: one a unit, with the columns that the comparison names; their order does not matter.
        comparison: what is compared with what.
        settings: how.

    Returns:
        One effect an element, in the order of their ids.

    Raises:
        ContractError: the rows break a rule of ``comparisons.known_rows``.
    """
    known = known_rows(rows, comparison)
    used = settings or Estimation()
    return tuple(_effect(known, comparison, element, used) for element in elements_of(known, comparison))


def estimate_effect(
    rows: pl.DataFrame, comparison: Comparison, *, element: str, settings: Estimation | None = None
) -> ElementEffect:
    """Estimate the effect of one element; the others are its alternatives. As ``estimate_effects`` otherwise."""
    return _effect(known_rows(rows, comparison), comparison, element, settings or Estimation())


def _effect(known: pl.DataFrame, comparison: Comparison, element: str, settings: Estimation) -> ElementEffect:
    everything = compared(known, comparison, element=element)
    notes: list[str] = []
    drawn = _drawn(known, comparison, element, settings, notes)
    chosen = _Chosen.of(everything, comparison) if drawn is None else drawn
    treated = chosen.treated
    own = int((known[comparison.column] == element).sum())
    too_few = _too_few(chosen, settings)
    overlap: Overlap | None = None
    estimate: Estimate | None = None
    if not too_few:
        with threadpool_limits(limits=1, user_api="blas"):  # sums must not depend on the number of cores
            overlap, estimate = _estimated(chosen, drawn=drawn is not None, settings=settings)
    return ElementEffect(
        comparison=comparison,
        element=element,
        label="observational" if drawn is None else "randomised",
        element_rows=own,
        alternatives=_alternatives(chosen.rows, comparison),
        rows_without_alternative=own - int(treated.sum()),
        naive=float(chosen.y[treated].mean() - chosen.y[~treated].mean()) if 0 < treated.sum() < len(treated) else None,
        overlap=overlap,
        estimate=estimate,
        refusal=too_few if overlap is None else ("" if estimate is not None else overlap.sentence),
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The rows of a comparison as arrays."""

    rows: pl.DataFrame
    treated: Mask
    y: npt.NDArray[np.int8]
    names: list[str]
    contacts: IntArray
    covariates: Covariates

    @classmethod
    def of(cls, rows: pl.DataFrame, comparison: Comparison) -> _Chosen:
        contacts = rows[comparison.contact].cast(pl.String)
        return cls(
            rows=rows,
            names=contacts.to_list(),
            treated=rows[TREATED].to_numpy(),
            y=rows[comparison.label_column].to_numpy(),
            contacts=contacts.rank("dense").cast(pl.Int64).to_numpy() - 1,
            covariates=covariates_of(rows, numeric=comparison.numeric, categorical=(*comparison.categorical, PLACE)),
        )

    def count(self, mask: Mask) -> int:
        """Contacts among the rows of a mask."""
        return len(np.unique(self.contacts[mask]))


def _drawn(
    known: pl.DataFrame, comparison: Comparison, element: str, settings: Estimation, notes: list[str]
) -> _Chosen | None:
    """Return the rows where the element was drawn by lot, if they suffice and look like a draw."""
    if comparison.randomised is None:
        return None
    flagged = compared(known.filter(pl.col(comparison.randomised).fill_null(False)), comparison, element=element)
    chosen = _Chosen.of(flagged, comparison)
    if _too_few(chosen, settings):
        return None
    shares = flagged.select(pl.col(TREATED).mean().over(PLACE)).to_series().to_numpy()
    wrong = draw_contradicted_by(chosen.treated, shares, contacts=chosen.contacts, covariates=chosen.covariates)
    if wrong is None:
        return chosen
    notes.append(f"Rows are marked as drawn by lot, but {wrong} predicts who got it; they are not taken for a draw.")
    return None


def _too_few(chosen: _Chosen, settings: Estimation) -> str:
    """Return why nothing can be estimated, or nothing."""
    groups = (chosen.treated, ~chosen.treated)
    if not groups[0].any():
        return "Nothing else was sent at the same places, so that there is nothing to compare it with."
    contacts = [chosen.count(group) for group in groups]
    if min(contacts) < settings.least_contacts:
        return (
            f"{contacts[0]} contacts got it and {contacts[1]} an alternative at the same places; "
            f"{settings.least_contacts} of each are needed."
        )
    rate = float(chosen.y.mean())
    expected = min(int(group.sum()) for group in groups) * min(rate, 1 - rate)
    if expected < settings.least_outcomes:
        return (
            f"At the rate of both groups together {expected:.1f} outcomes would be expected in the smaller one; "
            f"{settings.least_outcomes:.0f} are needed."
        )
    return ""


def _alternatives(rows: pl.DataFrame, comparison: Comparison) -> tuple[tuple[str, int], ...]:
    counts = rows.filter(~pl.col(TREATED)).group_by(comparison.column).len("rows")
    ordered = counts.sort(["rows", comparison.column], descending=[True, False])
    return tuple((str(name), int(count)) for name, count in ordered.iter_rows())


def _estimated(chosen: _Chosen, *, drawn: bool, settings: Estimation) -> tuple[Overlap, Estimate | None]:
    treated, y = chosen.treated, chosen.y
    folds = contact_folds(
        chosen.names,
        strata=treated.astype(np.int64) * 2 + y,
        folds=settings.folds if len(y) < MANY_ROWS else settings.folds_of_many,
        seed=settings.seed,
    )
    if drawn:
        share = pl.col(TREATED).mean().over(PLACE)
        propensity = chosen.rows.select(share).to_series().to_numpy()
    else:
        own = chosen.covariates
        (propensity,) = cross_fitted(treated.astype(np.int8), own, folds=folds, seed=settings.seed, at=(own,))
        propensity = np.clip(propensity, settings.clip, 1 - settings.clip)
    overlap, kept = check_overlap(
        propensity, treated, contacts=chosen.contacts, covariates=chosen.covariates, drawn=drawn
    )
    if overlap.verdict == "missing":
        return overlap, None
    with_it, without = cross_fitted(
        y,
        chosen.covariates.beside(treated),
        folds=folds,
        seed=settings.seed,
        at=(chosen.covariates.beside(1.0), chosen.covariates.beside(0.0)),
    )
    groups = Groups(
        y=y[kept].astype(np.float64),
        masks=(treated[kept], ~treated[kept]),
        propensities=(propensity[kept], 1 - propensity[kept]),
        predicted=(with_it[kept], without[kept]),
        contacts=np.unique(chosen.contacts[kept], return_inverse=True)[1],
        effective=overlap.effective,
    )
    return overlap, groups.estimate(settings.confidence)
