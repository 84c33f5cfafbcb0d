"""Which rows of older files still stand where later snapshots cover the same days.

Belongs here: that decision. Does not belong here: which of several rows of one key stands (``combined``), or versions
of daily delivery (``tables.version_store``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, TypeVar

from elv_pipeline.ingest.coverage import Span


class Speaking(Protocol):
    """A file of an export, and which days it speaks for.

    Attributes:
        span: first and last day of its rows; None where they have none.
        covered: of a snapshot, first and last of the days that lie wholly in its window.
        query: of a snapshot, digest of its query.
        loads: of delivery, when its figures were recorded.
    """

    @property
    def span(self) -> Span | None: ...  # noqa: D102
    @property
    def covered(self) -> Span | None: ...  # noqa: D102
    @property
    def query(self) -> str | None: ...  # noqa: D102
    @property
    def loads(self) -> Sequence[object]: ...  # noqa: D102


File = TypeVar("File", bound=Speaking)


def standing_of(arrivals: Sequence[File], *, span: Span | None = None) -> list[tuple[File, tuple[Span, ...]]]:
    """The files that still have a say, oldest first, each with the days of which a later snapshot says everything.

    A snapshot holds all rows of its window. A row of an older one that it lacks is gone: an outcome was withdrawn, a
    lead erased, or the query was edited and asks for something else. Would only a snapshot of the same query replace
    it, what an edited query no longer delivers would stand for ever, and what it places on another day stand twice; an
    edited query is read from the calendar's start (``orchestration.queries_read``), so that no row falls between the
    two. Files that are no snapshots promise nothing of the kind, and daily delivery is kept in versions, so all of
    those stand. It also keeps a daily run cheap: of ninety snapshots that hold its day only the newest is opened.

    Args:
        arrivals: files of one export, oldest first.
        span: the days that are asked for; None: all.
    """
    found: list[tuple[File, tuple[Span, ...]]] = []
    later: list[File] = []
    for arrival in reversed(arrivals):
        replaced = joined([each.covered for each in later if each.covered])
        without = () if arrival.loads or arrival.span is None else replaced
        if not _is_within(_asked(arrival.span, span), without) and not _is_of_an_older_query(arrival, later):
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


def _is_of_an_older_query(arrival: Speaking, later: Sequence[Speaking]) -> bool:
    """Whether a table without days, such as a map, has been read by another query since, wherever this one had read.

    A window replaces none of its rows, which are known by their key, so those of an edited query would stand for ever.
    """
    if arrival.loads or arrival.span is not None or arrival.covered is None:
        return False
    others = joined([each.covered for each in later if each.covered and each.query != arrival.query])
    return _is_within(arrival.covered, others)


def _asked(own: Span | None, span: Span | None) -> Span | None:
    return (max(own[0], span[0]), min(own[1], span[1])) if own and span else own


def _is_within(asked: Span | None, spans: Sequence[Span]) -> bool:
    return asked is not None and any(first <= asked[0] and asked[1] <= last for first, last in spans)
