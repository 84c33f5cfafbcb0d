"""Recognising an export by its header, or saying what each known export would need.

Belongs here: comparing header cells with the names of connectors, and the words for what is missing. Does not belong
here: the names themselves (one module a connector) or reading values.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.connectors.base import ColumnNames, ConnectorSpec
from elv_pipeline.ingest.parsing.text_table import Layout, is_value_like, safe_header_name

_CURRENCY = re.compile(r"(?P<name>.+?)\s*\((?P<code>[a-z]{3})\)")
_APOSTROPHES = re.compile("[\u2019\u2018\u00b4`]")
_CLOSE = 0.7


class UnrecognisedHeaderError(ContractError):
    """The header belongs to no known export (or not to the one that the configuration names)."""


@dataclass(frozen=True, kw_only=True)
class HeaderMatch:
    """A header as one connector reads it.

    Attributes:
        spec: the connector.
        names: its column names for the table.
        position: place of each matched column.
        headers: header of each matched column as the file spells it.
        currencies: currency in the header of each money column that names one.
        missing: required columns that were not found, in the words of the export (``Placement`` or ``Platform``).
        dropped: the other header cells as they may be shown.
    """

    spec: ConnectorSpec
    names: ColumnNames
    position: dict[str, int]
    headers: dict[str, str]
    currencies: dict[str, str]
    missing: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def layout(self) -> Layout:
        """What a reader has to load."""
        return Layout(position=self.position, dropped=self.dropped)

    @property
    def share_found(self) -> float:
        """Share of the required columns that were found."""
        return 1 - len(self.missing) / max(len(self.names.required), 1)


def recognise(header: Sequence[str], *, file: str, table: str, candidates: Sequence[ConnectorSpec]) -> HeaderMatch:
    """The connector that a header belongs to.

    Where several have all they need, the one with the most columns wins, then the earlier one.

    Args:
        header: trimmed cells of the header row.
        file: name of the file, for messages.
        table: canonical table that the file should hold.
        candidates: connectors that know the table.

    Raises:
        UnrecognisedHeaderError: none has its required columns.
        ContractError: a known export of a kind that cannot be this table, or a name that appears twice.
    """
    matches = [_match(header, spec=spec, table=table) for spec in candidates]
    complete = [match for match in matches if not match.missing]
    if not complete:
        raise UnrecognisedHeaderError(_unrecognised(header, matches, file=file))
    best = max(complete, key=lambda match: len(match.position))
    _require_unique(header, best, file=file)
    _require_fit(header, best, file=file, table=table)
    return best


def plain(name: str) -> str:
    """A header cell for comparison: one case, single plain blanks, straight apostrophes."""
    straight = unicodedata.normalize("NFKC", _APOSTROPHES.sub("'", name))
    return " ".join(straight.casefold().split())


def _match(header: Sequence[str], *, spec: ConnectorSpec, table: str) -> HeaderMatch:
    names = spec.tables[table]
    cells = [plain(cell) for cell in header]
    position: dict[str, int] = {}
    currencies: dict[str, str] = {}
    for column, spellings in names.spellings.items():
        place, currency = _find(cells, spellings, money=column in names.money)
        if place is not None:
            position[column] = place
        if currency:
            currencies[column] = currency
    missing = tuple(
        " or ".join(repr(names.spellings[column][0]) for column in group)
        for group in (_group(entry) for entry in names.required)
        if not set(group) & set(position)
    )
    taken = set(position.values())
    return HeaderMatch(
        spec=spec,
        names=names,
        position=position,
        headers={column: header[place] for column, place in position.items()},
        currencies=currencies,
        missing=missing,
        dropped=tuple(safe_header_name(cell) for place, cell in enumerate(header) if place not in taken),
    )


def _group(required: str | tuple[str, ...]) -> tuple[str, ...]:
    return (required,) if isinstance(required, str) else required


def _find(cells: Sequence[str], spellings: tuple[str, ...], *, money: bool) -> tuple[int | None, str | None]:
    """Place of the first spelling that is there, and the currency behind it."""
    for spelling in spellings:
        sought = plain(spelling)
        for place, cell in enumerate(cells):
            if cell == sought:
                return place, None
            suffixed = _CURRENCY.fullmatch(cell) if money else None
            if suffixed and suffixed["name"] == sought:
                return place, suffixed["code"].upper()
    return None, None


def _require_unique(header: Sequence[str], match: HeaderMatch, *, file: str) -> None:
    cells = [plain(cell) for cell in header]
    for column, place in match.position.items():
        places = [str(other + 1) for other, cell in enumerate(cells) if _same(cell, cells[place], column, match)]
        if len(places) > 1:
            raise ContractError(
                f"{file} row 1: column {header[place].casefold()!r} appears {len(places)} times (columns "
                f"{' and '.join(places)}); header names must be unique. Remove or rename all but one."
            )


def _same(cell: str, other: str, column: str, match: HeaderMatch) -> bool:
    """Whether two header cells name the same column; spend in two currencies is the same column twice."""
    if column not in match.names.money:
        return cell == other
    return _without_currency(cell) == _without_currency(other)


def _without_currency(cell: str) -> str:
    found = _CURRENCY.fullmatch(cell)
    return found["name"] if found else cell


def _require_fit(header: Sequence[str], match: HeaderMatch, *, file: str, table: str) -> None:
    for unwanted in match.names.unwanted:
        spellings = {plain(spelling) for spelling in unwanted.spellings}
        culprit = next((cell for cell in header if plain(cell) in spellings), None)
        if culprit is not None:
            raise ContractError(
                f"{file}: column {culprit!r} {unwanted.reason} (read as {table} from {match.spec.title}). "
                f"{unwanted.remedy}"
            )


def _unrecognised(header: Sequence[str], matches: Sequence[HeaderMatch], *, file: str) -> str:
    closest, *others = sorted(matches, key=lambda match: -match.share_found)
    title = "" if closest.spec.name == "canonical" else f"as {closest.spec.title}, "
    text = f"{file}: {title}required column {', '.join(closest.missing)} is missing; found: {_found(header)}."
    suggestions = _suggestions(header, closest)
    if suggestions:
        text += f" Did you mean {suggestions}?"
    text += f" {closest.names.remedy}"
    if others:
        needs = "; ".join(f"{match.spec.name} lacks {', '.join(match.missing)}" for match in others)
        text += f" No other known export either: {needs}."
    return text


def _found(header: Sequence[str]) -> str:
    if any(is_value_like(cell) for cell in header):
        return f"{len(header)} cells that look like values, so the header row seems to be missing"
    return ", ".join(repr(safe_header_name(cell)) for cell in header)


def _suggestions(header: Sequence[str], match: HeaderMatch) -> str:
    """Header cells that are nearly the name of a missing column, each with what it should be called."""
    free = {
        plain(cell): safe_header_name(cell)
        for place, cell in enumerate(header)
        if cell and place not in match.position.values() and not is_value_like(cell)
    }
    found: dict[str, str] = {}
    for column in (column for entry in match.names.required for column in _group(entry)):
        if column in match.position:
            continue
        for spelling in match.names.spellings[column]:
            close = difflib.get_close_matches(plain(spelling), free, n=1, cutoff=_CLOSE)
            if close and free[close[0]] not in found:
                found[free[close[0]]] = match.names.spellings[column][0]
                break
    return " and ".join(f"{wanted!r} by {cell!r}" for cell, wanted in found.items())
