"""Declarations of features: what a column means, from which columns, with which lag.

Belongs here: frozen declarations and the definition of each column that they yield. Does not belong here: any
computation (``tables/`` compiles declarations into plans) or which declarations a problem uses (its own module).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True, kw_only=True)
class FeatureColumn:
    """One column of the feature table and where it comes from.

    Attributes:
        name: column name.
        kind: how a model should treat it.
        definition: one sentence a marketer can read.
        sources: ``(table, column)`` pairs it is computed from, for lineage.
        lag_days: newest activity day used is the prediction day minus this; None where only the lead itself is used.
    """

    name: str
    kind: Kind
    definition: str
    sources: tuple[tuple[str, str], ...]
    lag_days: int | None = None


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of the advertising hierarchy: the name used in columns and the id column it is keyed by."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Quotient of two measures over the same window, times a constant (cpm is per thousand)."""

    name: str
    numerator: str
    denominator: str
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class WindowSum:
    """Trailing sums of daily measures by level, with ratios, active days and a trend.

    A window of ``w`` days ends ``feature_lag_days`` before the prediction day. Sums are exact integers. A ratio whose
    denominator is zero is null. The trend of a window compares its newer half with the half before it:
    ``(newer - older) / (newer + older)``, in [-1, 1], null without activity.
    """

    table: str
    levels: tuple[Level, ...]
    measures: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    windows: tuple[int, ...]
    active_measure: str
    trend_measure: str

    def columns(self, *, levels: Sequence[Level], lag_days: int) -> list[FeatureColumn]:
        """Every column for the levels that exist in the data at hand."""
        return [column for level in levels for window in self.windows for column in self._of(level, window, lag_days)]

    def _of(self, level: Level, window: int, lag_days: int) -> list[FeatureColumn]:
        span = f"of the {level.name} over the {window} days that end {lag_days} day(s) before the lead"

        def column(name: str, definition: str, *measures: str) -> FeatureColumn:
            return FeatureColumn(
                name=f"{level.name}_{name}_{window}d",
                kind="numeric",
                definition=f"{definition} {span}",
                sources=tuple((self.table, measure) for measure in (level.key, "day", *measures)),
                lag_days=lag_days,
            )

        return [
            *(column(public_name(measure), public_name(measure).capitalize(), measure) for measure in self.measures),
            *(
                column(
                    ratio.name,
                    f"{public_name(ratio.numerator)} per {public_name(ratio.denominator)}",
                    ratio.numerator,
                    ratio.denominator,
                )
                for ratio in self.ratios
            ),
            column("active_days", f"Days with {self.active_measure}", self.active_measure),
            column(
                f"{self.trend_measure}_trend",
                f"Newer half against older half of {self.trend_measure}",
                self.trend_measure,
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How delivery spreads over the values of one dimension (placements, regions), by level and trailing window.

    Totals of the measures; the entropy (in nats) and the largest share of ``share_measure`` over the values, null
    where it sums to zero; the number of values with some ``active_measure``. The breakdown carries only ``key``:
    other levels need ``hierarchy``, the table that places the key in its parents day by day.
    """

    table: str
    dimension: str
    key: str
    hierarchy: str
    levels: tuple[Level, ...]
    measures: tuple[str, ...]
    share_measure: str
    active_measure: str
    windows: tuple[int, ...]

    def columns(self, *, levels: Sequence[Level], lag_days: int) -> list[FeatureColumn]:
        """Every column for the levels that exist in the data at hand."""
        return [column for level in levels for window in self.windows for column in self._of(level, window, lag_days)]

    def _of(self, level: Level, window: int, lag_days: int) -> list[FeatureColumn]:
        span = f"of the {level.name} over the {window} days that end {lag_days} day(s) before the lead"
        placed = () if level.key == self.key else ((self.hierarchy, "day"), (self.hierarchy, level.key))

        def column(name: str, definition: str, *measures: str) -> FeatureColumn:
            return FeatureColumn(
                name=f"{level.name}_{self.dimension}_{name}_{window}d",
                kind="numeric",
                definition=f"{definition} {span}",
                sources=(*((self.table, source) for source in (self.key, "day", *measures)), *placed),
                lag_days=lag_days,
            )

        shared, each = public_name(self.share_measure), self.dimension
        return [
            *(
                column(public_name(measure), f"{public_name(measure).capitalize()} by {each}, all together,", measure)
                for measure in self.measures
            ),
            column(
                f"{shared}_entropy",
                f"Entropy (nats) of the shares of {shared} by {each}",
                self.dimension,
                self.share_measure,
            ),
            column(f"top_{shared}_share", f"Largest share of {shared} of one {each}", each, self.share_measure),
            column("active", f"Number of {each} values with {self.active_measure}", each, self.active_measure),
        ]


@dataclass(frozen=True, kw_only=True)
class OutcomeHistory:
    """Volume and matured qualified rate of a segment, known strictly before each lead's own moment.

    A lead counts in the rate if its outcome window ended within the lookback before that moment; its outcome counts
    only if it had been recorded by then. The rate is shrunk toward the parent level's rate with
    ``prior_leads`` pseudo-leads, so a segment with two leads does not look like a miracle.
    """

    levels: tuple[Level, ...]
    lookback_days: int
    prior_leads: int

    def columns(self, *, levels: Sequence[Level], with_outcomes: bool) -> list[FeatureColumn]:
        """Every column for the levels that exist. Without outcomes the rates are there and empty.

        So a model that was trained where outcomes exist can score where they do not.
        """
        days, found = self.lookback_days, list[FeatureColumn]()
        for level in [EVERYTHING, *levels]:
            key = () if level == EVERYTHING else (("leads", level.key),)
            found.append(
                FeatureColumn(
                    name=f"{level.name}_leads_{days}d",
                    kind="numeric",
                    definition=f"Leads of the {level.name} in the {days} days before the lead's moment",
                    sources=(("leads", "created_time"), *key),
                    lag_days=0,
                )
            )
            recorded = (("outcomes", "qualified_time"), ("outcomes", "recorded_time")) if with_outcomes else ()
            found.append(
                FeatureColumn(
                    name=f"{level.name}_qualified_rate_{days}d",
                    kind="numeric",
                    definition=f"Qualified rate of the {level.name}'s matured leads of {days} days, known before the "
                    f"lead's moment and shrunk toward the parent level; empty without an outcomes export",
                    sources=(("leads", "created_time"), *recorded, *key),
                    lag_days=0,
                )
            )
        return found


EVERYTHING = Level(name="all", key="")
"""The root of every hierarchy: all leads together."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Parts of the lead's own local time: ``weekday`` (1 = Monday), ``hour``, ``month_day``."""

    parts: tuple[Literal["weekday", "hour", "month_day"], ...]

    def columns(self) -> list[FeatureColumn]:
        """One column a part."""
        return [
            FeatureColumn(
                name=f"created_{part}",
                kind="numeric",
                definition=f"{part.replace('_', ' ').capitalize()} of the lead's local time",
                sources=(("leads", "created_time"),),
            )
            for part in self.parts
        ]


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A property of the lead itself (an id or what its export says of it), known at its moment, used as a category."""

    column: str
    definition: str

    def columns(self) -> list[FeatureColumn]:
        """The single column, prefixed so that it never collides with an id column."""
        return [
            FeatureColumn(
                name=f"category_{self.column}",
                kind="categorical",
                definition=self.definition,
                sources=(("joined_leads", self.column),),
            )
        ]


@dataclass(frozen=True, kw_only=True)
class KnownAttribute:
    """A property of an ad or ad set from a table of its own, as it was valid and known at the lead's moment.

    Used as a category of few values, compared in lower case.
    """

    table: str
    key: str
    column: str
    definition: str

    def columns(self) -> list[FeatureColumn]:
        """The single column."""
        return [
            FeatureColumn(
                name=f"category_{self.column}",
                kind="categorical",
                definition=self.definition,
                sources=tuple((self.table, name) for name in (self.key, self.column, "valid_from", "recorded_at")),
            )
        ]


@dataclass(frozen=True, kw_only=True)
class HashedTokens:
    """Which of ``buckets`` hash buckets the tokens of a text fall into, how many there are and how many distinct ones.

    The text is divided at ``|``, ``;``, ``,`` and line breaks, and its tokens are compared after normalisation. The
    hash is a published one, the same in every process and version. The text is that known at the lead's moment;
    without one all columns are null.
    """

    table: str
    key: str
    column: str
    name: str
    buckets: int

    def columns(self) -> list[FeatureColumn]:
        """Two counts, then one column a bucket."""
        counts = [
            (f"{self.name}_tokens", f"Keywords of the {self.name} of the lead's ad set"),
            (f"{self.name}_distinct_tokens", f"Distinct keywords of the {self.name} of the lead's ad set"),
        ]
        buckets = [
            (f"{self.name}_token_{bucket:02d}", f"1 where an {self.name} keyword falls into hash bucket {bucket}")
            for bucket in range(self.buckets)
        ]
        sources = tuple((self.table, name) for name in (self.key, self.column, "valid_from", "recorded_at"))
        return [
            FeatureColumn(name=name, kind="numeric", definition=definition, sources=sources)
            for name, definition in (*counts, *buckets)
        ]


def public_name(measure: str) -> str:
    """Name of a measure in feature columns: ``spend_micros`` is stored as integer millionths but shown as ``spend``."""
    return measure.removesuffix("_micros")


FeatureSpec = WindowSum | Mix | OutcomeHistory | Calendar | Attribute | KnownAttribute | HashedTokens
