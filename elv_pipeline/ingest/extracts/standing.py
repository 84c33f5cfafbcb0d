"""Which rows of older files still stand where later snapshots cover the same days.

Belongs here: that decision. Does not belong here: which of several rows of one key stands (``combined``), or versions
of daily delivery (``tables.version_store``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from elv_pipeline.ingest.coverage import Span

if TYPE_CHECKING:
    from elv_pipeline.ingest.intake import Arrival


def standing_of(arrivals: Sequence[Arrival], *, span: Span | None = None) -> list[tuple[Arrival, tuple[Span, ...]]]:
    """The files that still have a say, oldest first, each with the days of which a later snapshot says everything.

    A snapshot holds all rows of its window. A row of an older one, of the same query, that it lacks is gone from the
    database: an outcome was withdrawn, a lead erased. Files that are no snapshots promise nothing of the kind, and
    daily delivery is kept in versions, so all of those stand. It also keeps a daily run cheap: of ninety snapshots that
    hold its day only the newest is opened.

    Args:
        arrivals: files of one export, oldest first.
        span: the days that are asked for; None: all.
    """
    found: list[tuple[Arrival, tuple[Span, ...]]] = []
    later: list[Arrival] = []
    for arrival in reversed(arrivals):
        # A table without days, such as a map, has nothing that a window could replace: its rows are known by their key.
        kept = arrival.loads or arrival.span is None
        replacing = () if kept else tuple(each.covered for each in later if each.query == arrival.query)
        without = joined([days for days in replacing if days])
        if not _is_within(_asked(arrival.span, span), without):
            found.append((arrival, without))
        if arrival.covered:
            later.append(arrival)
    return found[::-1] or [(arrival, ()) for arrival in arrivals[-1:]]


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same days in as few spans as possible: a year of daily extracts is one filter, not one of a year of terms."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + timedelta(days=1):
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _asked(own: Span | None, span: Span | None) -> Span | None:
    return (max(own[0], span[0]), min(own[1], span[1])) if own and span else own


def _is_within(asked: Span | None, spans: Sequence[Span]) -> bool:
    return asked is not None and any(first <= asked[0] and asked[1] <= last for first, last in spans)
