"""What an element is compared with: the mix of the alternatives that could have been sent at the same place.

Belongs here: the declaration of a comparison, and the rows that answer to it. Does not belong here: the estimate
(``effects.py``), or how rows and their covariates come about (``tables/``).

A template of the third step is not compared with everything that was ever sent, but with what else was sent as a third
step. Rows at places where the element had no alternative, or was none itself, say nothing about the choice and are left
out and counted. The usual comparisons are those of ``element_comparisons.py``:

| kind | ``column`` | ``place`` |
|---|---|---|
| campaign | ``campaign_id`` | none |
| step | ``step_id`` | position |
| template | ``template_id`` | position |
| channel | ``channel`` | position |
| timing | a class of hour or weekday of the send, or of the planned wait after it | position and channel |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from elv_pipeline.errors import ContractError

Kind = Literal["campaign", "step", "template", "channel", "timing"]
TREATED, PLACE = "_treated", "_place"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A declared comparison between the elements of one kind.

    Attributes:
        kind: what the elements are.
        column: holds the element of each row, such as ``template_id``.
        place: columns that say where one of them was chosen, such as campaign and position; empty where all could have
            been chosen for everybody.
        outcome: name of the outcome, such as ``booked_call``.
        window_days: how long after the unit's moment it counts.
        label_column: holds 1, 0, or null where the outcome is not known yet; such rows are left out.
        numeric: covariates known before the element was chosen. What the element itself may have changed, such as
            replies to it, would explain its effect away.
        categorical: likewise, as text.
        alternatives: the elements that could have been sent; None for all that were, at the same place.
        unit: identifies a row.
        contact: rows of one contact belong together.
        randomised: column that is true where the element was drawn by lot at its place, by an experiment that is over
            or by the campaign itself; None where that never happens.
    """

    kind: Kind
    column: str
    place: tuple[str, ...]
    outcome: str
    window_days: int
    label_column: str
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    alternatives: tuple[str, ...] | None = None
    unit: str = "moment_id"
    contact: str = "contact_id"
    randomised: str | None = None

    def __post_init__(self) -> None:
        """Refuse a comparison that would adjust for its own outcome or element."""
        covariates = (*self.numeric, *self.categorical)
        taken = {self.column, self.label_column, self.unit, self.contact, self.randomised} & {*covariates, *self.place}
        if taken:
            raise ValueError(f"{sorted(str(name) for name in taken)} cannot be covariates or places of the comparison")
        if len(set(covariates)) != len(covariates):
            raise ValueError(f"a covariate is named twice: {covariates}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        own = (self.unit, self.contact, self.column, self.label_column)
        flag = () if self.randomised is None else (self.randomised,)
        return tuple(dict.fromkeys((*own, *self.place, *self.numeric, *self.categorical, *flag)))


def known_rows(rows: pl.DataFrame, comparison: Comparison) -> pl.DataFrame:
    """Return the columns of the rows with an element and a known outcome, in the order of the unit.

    Raises:
        ContractError: a column is missing, a unit comes twice, or an outcome is neither 0 nor 1.
    """
    missing = [name for name in comparison.columns if name not in rows.columns]
    if missing:
        raise ContractError(f"the rows have no column {', '.join(missing)}; the comparison needs it. Add it.")
    known = rows.select(comparison.columns).filter(
        pl.col(comparison.column).is_not_null(), pl.col(comparison.label_column).is_not_null()
    )
    for name in (comparison.unit, comparison.contact):
        if known[name].null_count():
            raise ContractError(f"{name} is empty in {known[name].null_count()} rows; each row needs one. Fill it.")
    if known[comparison.unit].is_duplicated().any():
        twice = known.filter(pl.col(comparison.unit).is_duplicated())[comparison.unit].sort()[0]
        raise ContractError(f"{comparison.unit} {twice} comes twice; each is one row. Leave one out.")
    values = known[comparison.label_column].cast(pl.Float64)
    if not values.is_in([0.0, 1.0]).all():
        raise ContractError(
            f"{comparison.label_column} must be 0, 1 or null. Derive it from the outcome within its window."
        )
    return known.with_columns(values.cast(pl.Int8), pl.col(comparison.column).cast(pl.String)).sort(comparison.unit)


def elements_of(known: pl.DataFrame, comparison: Comparison) -> list[str]:
    """Return the elements in alphabetical order."""
    return sorted(known[comparison.column].unique().to_list())


def compared(known: pl.DataFrame, comparison: Comparison, *, element: str) -> pl.DataFrame:
    """Return the rows at places where both the element and an alternative were sent.

    Args:
        known: result of ``known_rows``.
        comparison: what it is compared with.
        element: the element.

    Returns:
        The rows in their order with ``_treated`` and ``_place`` (text).
    """
    name = pl.col(comparison.column)
    if comparison.alternatives is not None:
        known = known.filter((name == element) | name.is_in(list(comparison.alternatives)))
    parts = [pl.col(part).cast(pl.String).fill_null("unknown") for part in comparison.place]
    placed = known.with_columns(
        (name == element).alias(TREATED),
        (pl.concat_str(parts, separator=" | ") if parts else pl.lit("everywhere")).alias(PLACE),
    )
    share = pl.col(TREATED).mean().over(PLACE)
    return placed.filter((share > 0) & (share < 1))
