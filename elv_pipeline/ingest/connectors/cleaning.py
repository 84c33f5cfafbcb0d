"""Cleaning steps that connectors share.

Belongs here: what more than one export needs. Does not belong here: the oddities of one platform (its own module).
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from elv_pipeline.contracts.messages import ABOUT_PEOPLE, and_more, shown, violation
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.connectors.base import Draft, Step
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline.privacy import hasher_of, shown_id

# 1.234,50 and 1234,50; blanks and apostrophes also separate thousands, depending on the country.
_DECIMAL_COMMA = r"^-?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?$"
_GROUPING = r"[\s'\u2019]"
_SCIENTIFIC = r"^\d(?:[.,]\d+)?[eE]\+?\d+$"


def with_decimal_point(draft: Draft, columns: tuple[str, ...]) -> Draft:
    """Numbers as the readers want them; a decimal comma only where the configuration says so.

    ``12,34`` is twelve in one country and twelve hundred in another: nothing in the file tells which.

    Raises:
        ContractError: a number with a comma without the setting, or without the right form with it.
    """
    setting = f"contracts.{draft.table}.decimal_comma"
    present = [column for column in columns if column in draft.frame.columns]
    if not present:
        return draft
    if not draft.config.has_decimal_comma(draft.table):
        offered = hasattr(getattr(draft.config.contracts, draft.table), "decimal_comma")
        way_out = f"; if the comma is the decimal mark, set {setting}: true." if offered else "."
        for column in present:
            rule = "it must be plain digits with a decimal point, without thousands separators"
            remedy = f"Export {column} as a raw number such as 1234.50{way_out}"
            _refuse(draft, column, pl.col(column).str.contains(",", literal=True), rule=rule, remedy=remedy)
        return draft
    tight = draft.frame.with_columns(pl.col(present).str.replace_all(_GROUPING, ""))
    checked = draft.with_frame(tight)
    for column in present:
        rule = f"{setting} is true, so numbers are written like 1.234,50"
        remedy = f"Set {setting}: false if this file has decimal points, or export all files in one language."
        _refuse(checked, column, ~pl.col(column).str.contains(_DECIMAL_COMMA), rule=rule, remedy=remedy)
    points = pl.col(present).str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return draft.with_frame(tight.with_columns(points))


def zero_where_empty(*columns: str) -> Step:
    """A step: platforms leave a metric empty where nothing happened."""

    def step(draft: Draft) -> Draft:
        gaps = [column for column in columns if draft.frame[column].null_count()]
        return draft.with_frame(draft.frame.with_columns(pl.col(gaps).fill_null("0"))) if gaps else draft

    return step


def exact_ids(*columns: str) -> Step:
    """A step that refuses ids which Excel has turned into rounded numbers (``1.2E+17``)."""

    def step(draft: Draft) -> Draft:
        for column in (column for column in columns if column in draft.frame.columns):
            rule = f"a spreadsheet has rounded {draft.header(column)!r}, and the last digits of the ids are lost"
            remedy = "Export again and do not open the file in Excel before it is read (or import ids as text there)."
            _refuse(draft, column, pl.col(column).str.contains(_SCIENTIFIC), rule=rule, remedy=remedy)
        return draft

    return step


def one_currency(column: str) -> Step:
    """A step: one currency in the whole file, from the header or a column, and it is the configured one.

    Spend in another currency would be summed and compared without a word; so a difference is an error.

    Args:
        column: column that names the currency of each row, if the export has one.
    """

    def step(draft: Draft) -> Draft:
        named = {draft.currency} if draft.currency else set()
        if column in draft.frame.columns:
            named |= set(draft.frame[column].drop_nulls().str.to_uppercase().unique().to_list())
        if len(named) > 1:
            raise ContractError(
                f"{draft.file}: amounts are in {' and '.join(sorted(named))}; one currency is needed, since amounts "
                f"are summed. Export each account by itself, or in one currency."
            )
        if not named:
            return draft
        currency = named.pop()
        if currency != draft.config.currency.upper():
            raise ContractError(
                f"{draft.file}: amounts are in {currency}, but the configuration says currency: "
                f"{draft.config.currency}. Set currency: {currency} (value_per_qualified is then in {currency} too), "
                f"or export in {draft.config.currency}."
            )
        return replace(draft, currency=currency)

    return step


def unlike(draft: Draft, column: str, other: str, *, rule: str, remedy: str) -> None:
    """Refuse rows in which two columns differ.

    Raises:
        ContractError: naming the first row with both values.
    """
    bad = draft.frame.filter(pl.col(column) != pl.col(other)).select(SOURCE_ROW, column, other)
    if bad.is_empty():
        return
    row, first, second = bad.row(0)
    raise ContractError(
        f"{draft.file} row {row}: {draft.header(column)} is {shown(first)}, but {draft.header(other)} is "
        f"{shown(second)}{and_more(bad.height)}; {rule}. {remedy}"
    )


def _refuse(draft: Draft, column: str, broken: pl.Expr, *, rule: str, remedy: str) -> None:
    bad = draft.frame.filter(broken.fill_null(False)).select(SOURCE_ROW, column)
    if bad.is_empty():
        return
    row, value = bad.row(0)
    text = violation(
        place=draft.file,
        row=row,
        column=column,
        value=shown_id(value, column=column, hasher=hasher_of(draft.config)),
        count=bad.height,
        rule=rule,
        remedy=remedy,
        about_people=draft.table in ABOUT_PEOPLE,
    )
    raise ContractError(text)
