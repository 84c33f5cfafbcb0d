"""Rules that refuse rows, or drop and count them where the configuration says so.

Belongs here: how a rule is applied and worded. Does not belong here: which rules a table has (``tables``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from elv_pipeline.contracts.messages import and_more, shown, shown_of_a_lead, violation
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing.key_order import key_order
from elv_pipeline.ingest.source_file import SOURCE_ROW

_LEAD = "lead_id"


@dataclass(frozen=True)
class RowRule:
    """One rule: a code for the profile, the column and wording for messages, and the way out if there is one.

    ``setting`` is the configuration key that turns the error into a drop; None for a rule that always refuses.
    ``further`` says what else the key offers, or how to fix the export where there is none.
    """

    code: str
    column: str
    rule: str
    setting: str | None = None
    action: Literal["error", "drop"] = "error"
    further: str = ""

    @property
    def remedy(self) -> str:
        """What the user can do."""
        return (
            f"Fix the export or set {self.setting}: drop.{self.further}"
            if self.setting
            else f"Fix the export.{self.further}"
        )


@dataclass(frozen=True)
class SiftedRows:
    """The rows that remain, how many each rule dropped, and the key that the rows are known to be in order of."""

    place: str
    frame: pl.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    ordered_by: tuple[str, ...] = ()

    def require(self, rule: RowRule, *, violates: pl.Expr) -> SiftedRows:
        """Apply a rule to every row; a null verdict counts as no violation.

        Raises:
            ContractError: rows violate it and the configuration does not say to drop them.
        """
        verdict = violates.fill_null(False)
        if not self.frame.select(verdict.any()).item():
            return self
        broken = self.frame.filter(verdict)
        if rule.action == "error":
            row, value = broken.sort(SOURCE_ROW).select(SOURCE_ROW, rule.column).row(0)
            text = violation(
                place=self.place,
                row=row,
                column=rule.column,
                value=value,
                count=broken.height,
                rule=rule.rule,
                remedy=rule.remedy,
                about_people=_LEAD in self.frame.columns,
            )
            raise ContractError(text)
        counts = {**self.dropped, rule.code: broken.height}
        return SiftedRows(self.place, self.frame.filter(~verdict), counts)

    def require_unique(self, rule: RowRule, *, key: tuple[str, ...], prefer: pl.Expr | None = None) -> SiftedRows:
        """Refuse repeated keys, or keep the first row of each; rows of unique keys come back in the order of the key.

        Args:
            rule: wording and action.
            key: columns that identify a row.
            prefer: rows for which this is true are kept before others with the same key.

        Raises:
            ContractError: naming the first repeated key and both rows.
        """
        by_key = key_order(self.frame, key)
        if not by_key.has_repeats:
            return SiftedRows(self.place, by_key.applied_to(self.frame), self.dropped, key)
        order = [SOURCE_ROW] if prefer is None else [~prefer.fill_null(False), pl.col(SOURCE_ROW)]
        ordered = self.frame.sort(order)
        repeated = ~ordered.select(pl.struct(key).is_first_distinct()).to_series()
        if rule.action == "error":
            raise ContractError(self._repeated(rule, key=key))
        return SiftedRows(self.place, ordered.filter(~repeated), {**self.dropped, rule.code: int(repeated.sum())})

    def _repeated(self, rule: RowRule, *, key: tuple[str, ...]) -> str:
        ordered = self.frame.sort(SOURCE_ROW)
        repeats = ordered.filter(~pl.struct(key).is_first_distinct())
        first = repeats.select(SOURCE_ROW, *key).row(0, named=True)
        same = pl.all_horizontal(*[pl.col(name).eq_missing(first[name]) for name in key])
        earlier = ordered.filter(same)[SOURCE_ROW][0]
        about_people = _LEAD in self.frame.columns
        told = {
            name: shown_of_a_lead(text, column=name) if about_people else shown(text) for name, text in first.items()
        }
        value = " and ".join(f"{name} is {told[name]}" for name in key if first[name] is not None)
        return (
            f"{self.place} row {first[SOURCE_ROW]}: {value}, as in row {earlier} already{and_more(repeats.height)}; "
            f"{rule.rule}. {rule.remedy.removesuffix('.')} (keeps the first)."
        )
