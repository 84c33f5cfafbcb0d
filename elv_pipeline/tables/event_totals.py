"""What is made of the events that a moment knows: totals over pairs of a moment and an event, then columns.

Belongs here: one compiled form for each declaration. Does not belong here: which events a moment knows
(``event_features.py``).

Totals are integers (counts, microseconds, seconds, units of 2^-32 or 2^-40), so they do not depend on the order of rows
or on threads. Divisors are columns: the engine divides many rows by a constant with its reciprocal, but a single row
truly, and a day alone would differ from the day in a range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from elv_pipeline.problems.event_specs import (
    EngagementClock,
    EngagementScore,
    EventCounts,
    EventIntervals,
    EventRecency,
    EventSpec,
    ReplyContent,
    ReplyLatency,
    StepPosition,
)

_SENTIMENT = "reply_sentiment"
_REPLY = ("reply_characters", "reply_words", "reply_questions", _SENTIMENT)
_TOKENS = "reply_tokens"
_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_SCORE_UNITS = 2.0**32
_SENTIMENT_UNITS = 2.0**40

Totals = Callable[[pl.DataFrame], pl.DataFrame]
"""From pairs to ``row`` and totals that one pass over them cannot give; rows without any are left out."""


@dataclass(frozen=True)
class Kinds:
    """A number for each kind of event that some declaration names; it is only compared."""

    names: tuple[str, ...]

    def number(self) -> pl.Expr:
        """Number of each row's ``event``."""
        return pl.col("event").cast(pl.Enum(self.names)).to_physical().cast(pl.UInt8)

    def among(self, kinds: Iterable[str]) -> pl.Expr:
        """Whether a pair's event is of one of the kinds."""
        return pl.any_horizontal(pl.col("kind") == self.names.index(kind) for kind in kinds)


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """One declaration: totals of one pass over the pairs, totals of further passes, columns of totals and moment."""

    totals: Sequence[pl.Expr] = ()
    further: Sequence[Totals] = ()
    columns: Sequence[pl.Expr] = ()


@dataclass(frozen=True, kw_only=True)
class PairFeatures:
    """The compiled declarations.

    Attributes:
        specs: what was compiled.
        kinds: kinds of events that matter.
        pieces: one a declaration.
    """

    specs: Sequence[EventSpec]
    kinds: Kinds
    pieces: Sequence[_Piece]

    @property
    def properties(self) -> tuple[str, ...]:
        """Columns of the events beyond kind, step and times that the declarations read."""
        replies = [spec for spec in self.specs if isinstance(spec, ReplyContent)]
        tokens = (_TOKENS,) if any(spec.token_buckets for spec in replies) else ()
        return (*_REPLY, *tokens) if replies else ()

    @property
    def properties_of_last(self) -> tuple[str, ...]:
        """Those that are read of the last event alone: pairs need not carry them."""
        return tuple(name for name in self.properties if name != _SENTIMENT)

    def columns(self, rows: pl.DataFrame, pairs: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """Every declared column, row by row.

        Args:
            rows: ``row`` (rising), ``moment``, ``began`` (microseconds), ``position`` and the plan of the campaign.
            pairs: a row for each event that a moment knows: ``row, moment, moment_step, age`` and the event.
            events: the events by ``rank``, from which properties of the last one are taken.
        """
        totals = [total for piece in self.pieces for total in piece.totals]
        found = rows
        frames = [pairs.group_by("row").agg(totals)] if totals else []
        frames += [further(pairs) for piece in self.pieces for further in piece.further]
        for frame in frames:
            found = found.join(frame, on="row", how="left", validate="1:1", maintain_order="left")
        for spec in self.specs:
            if isinstance(spec, ReplyContent):
                of_last = pl.col(self.properties).gather(found[_last(spec)]).name.prefix(f"{_last(spec)}:")
                found = found.hstack(events.select(of_last))
        return found.select(column for piece in self.pieces for column in piece.columns)


def compile_pairs(specs: Sequence[EventSpec]) -> PairFeatures:
    """Compile every declaration that reads a moment's own events."""
    kinds = Kinds(tuple(sorted({kind for spec in specs for kind in _kinds_of(spec)})))
    return PairFeatures(specs=specs, kinds=kinds, pieces=[_piece(spec, kinds) for spec in specs])


def _kinds_of(spec: EventSpec) -> tuple[str, ...]:
    if isinstance(spec, ReplyLatency):
        return (*spec.responses, *spec.sent)
    if isinstance(spec, StepPosition):
        return spec.sent
    if isinstance(spec, EngagementScore):
        return tuple(kind for kind, _ in spec.weights)
    if isinstance(spec, ReplyContent):
        return (spec.kind,)
    return spec.kinds if isinstance(spec, EventCounts | EventRecency | EventIntervals | EngagementClock) else ()


def _piece(spec: EventSpec, kinds: Kinds) -> _Piece:
    if isinstance(spec, EventCounts):
        return _counts(spec, kinds)
    if isinstance(spec, EventRecency):
        return _recency(spec, kinds)
    if isinstance(spec, EventIntervals):
        return _intervals(spec, kinds)
    if isinstance(spec, ReplyLatency):
        return _latency(spec, kinds)
    if isinstance(spec, EngagementClock):
        return _clock(spec, kinds)
    if isinstance(spec, StepPosition):
        return _step(spec, kinds)
    if isinstance(spec, EngagementScore):
        return _score(spec, kinds)
    if isinstance(spec, ReplyContent):
        return _reply(spec, kinds)
    raise TypeError(f"{type(spec).__name__} does not read a moment's own events")


def in_hours(microseconds: pl.Expr) -> pl.Expr:
    """Whole microseconds as hours, correctly rounded whatever the number of rows."""
    return microseconds / (microseconds * 0 + _HOUR_US)


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def _or_none(total: str) -> pl.Expr:
    """A count: moments without any known event have no totals, and that is none."""
    return pl.col(total).fill_null(0)


def _counts(spec: EventCounts, kinds: Kinds) -> _Piece:
    totals = []
    for kind in spec.kinds:
        totals.append(_count(kinds.among([kind])).alias(f"counts:{kind}_count"))
        totals += [
            _count(kinds.among([kind]) & (pl.col("age") < days * _DAY_US)).alias(f"counts:{kind}_count_{days}d")
            for days in spec.window_days
        ]
    return _Piece(totals=totals, columns=[_or_none(f"counts:{c.name}").alias(c.name) for c in spec.columns()])


def _recency(spec: EventRecency, kinds: Kinds) -> _Piece:
    ages = [pl.when(kinds.among([kind])).then("age").min().alias(f"recency:{kind}") for kind in spec.kinds]
    return _Piece(
        totals=ages,
        columns=[
            in_hours(pl.col("moment") - pl.col("began")).alias("hours_since_enrollment"),
            *(in_hours(pl.col(f"recency:{kind}")).alias(f"hours_since_{kind}") for kind in spec.kinds),
        ],
    )


def _intervals(spec: EventIntervals, kinds: Kinds) -> _Piece:
    """Squares of whole seconds sum up to less than the square of the whole time, so they fit for 90 years."""
    name, count, total, squares = spec.name, *(f"{spec.name}:{part}" for part in ("gaps", "seconds", "squares"))

    def gaps(pairs: pl.DataFrame) -> pl.DataFrame:
        touches = pairs.lazy().filter(kinds.among(spec.kinds)).select("row", (pl.col("time") // 1_000_000).alias("at"))
        gap = pl.col("at") - pl.col("at").shift(1)
        return (
            touches.sort("row", "at")
            .select("row", pl.when(pl.col("row") == pl.col("row").shift(1)).then(gap).alias("gap"))
            .drop_nulls()
            .group_by("row")
            .agg(
                pl.len().cast(pl.Int64).alias(count),
                pl.col("gap").sum().alias(total),
                (pl.col("gap") * pl.col("gap")).sum().alias(squares),
            )
            .collect()
        )

    gap_count, seconds = pl.col(count), pl.col(total)
    wide = [pl.col(part).cast(pl.Int128) for part in (count, total, squares)]
    variance = (wide[0] * wide[2] - wide[1] * wide[1]).cast(pl.Float64)  # times the square of the count
    hours = gap_count * 3600
    return _Piece(
        further=[gaps],
        columns=[
            (seconds / hours).alias(f"{name}_interval_hours_mean"),
            (variance.sqrt() / hours).alias(f"{name}_interval_hours_spread"),
        ],
    )


def _latency(spec: ReplyLatency, kinds: Kinds) -> _Piece:
    def total(response: str) -> Totals:
        def waits(pairs: pl.DataFrame) -> pl.DataFrame:
            own = ["row", "step_id"]
            steps = pairs.lazy().drop_nulls("step_id")
            # A kind of event that both begins steps and answers them answers what another kind began.
            begins = [kind for kind in spec.sent if kind != response]
            sends = (
                steps.filter(kinds.among(begins) if begins else False)
                .group_by(own)
                .agg(pl.col("time").min().alias("sent"))
            )
            answers = steps.filter(kinds.among([response])).select(*own, "time").join(sends, on=own, validate="m:1")
            return (
                answers.filter(pl.col("time") >= pl.col("sent"))
                .group_by(own)
                .agg((pl.col("time") - pl.col("sent")).min().alias("wait"))
                .group_by("row")
                .agg(
                    pl.col("wait").sum().alias(f"latency:{response}"),
                    pl.len().cast(pl.Int64).alias(f"answers:{response}"),
                )
                .collect()
            )

        return waits

    return _Piece(
        further=[total(response) for response in spec.responses],
        columns=[
            (pl.col(f"latency:{response}") / (pl.col(f"answers:{response}") * _HOUR_US)).alias(column.name)
            for response, column in zip(spec.responses, spec.columns(), strict=True)
        ],
    )


def _clock(spec: EngagementClock, kinds: Kinds) -> _Piece:
    engaged, names = kinds.among(spec.kinds), [column.name for column in spec.columns()]
    conditions = [pl.col("hour") // 6 == part for part in range(len(spec.PARTS))]
    conditions.append(pl.col("weekday") >= 6)
    shares, last = names[: len(conditions)], names[len(conditions) :]
    # Events are ranked by time, so the last one has the highest; hour and weekday fit into what is left.
    newest = pl.when(engaged).then((pl.col("rank").cast(pl.Int64) * 32 + pl.col("hour")) * 8 + pl.col("weekday")).max()
    everything = pl.col("clock:all")
    return _Piece(
        totals=[
            _count(engaged).alias("clock:all"),
            *(_count(engaged & met).alias(f"clock:{n}") for n, met in zip(shares, conditions, strict=True)),
            newest.alias("clock:newest"),
        ],
        columns=[
            *(pl.when(everything > 0).then(pl.col(f"clock:{name}") / everything).alias(name) for name in shares),
            (pl.col("clock:newest") // 8 % 32).alias(last[0]),
            (pl.col("clock:newest") % 8).alias(last[1]),
        ],
    )


def _step(spec: StepPosition, kinds: Kinds) -> _Piece:
    own = pl.col("step_id") == pl.col("moment_step")

    def before(pairs: pl.DataFrame) -> pl.DataFrame:
        sends = pairs.lazy().filter(kinds.among(spec.sent)).select("row", "time", own.fill_null(False).alias("own"))
        first = sends.filter("own").group_by("row").agg(pl.col("time").min().alias("step:sent"))
        others = sends.filter(~pl.col("own")).join(first, on="row", validate="m:1")
        newest = (
            others.filter(pl.col("time") <= pl.col("step:sent"))
            .group_by("row")
            .agg(pl.col("time").max().alias("step:before"))
        )
        return first.join(newest, on="row", how="left", validate="1:1").collect()

    sent = pl.col("step:sent")
    actual = in_hours(sent - pl.coalesce("step:before", "began"))
    planned = pl.col("planned_days") * 24.0
    return _Piece(
        further=[before],
        columns=[
            pl.col("position").alias("step_position"),
            pl.col("steps_left"),
            in_hours(pl.col("moment") - sent).alias("hours_in_step"),
            planned.alias("planned_wait_hours"),
            actual.alias("actual_wait_hours"),
            (actual - planned).alias("wait_excess_hours"),
            (pl.col("next_days") * 24.0).alias("next_planned_wait_hours"),
        ],
    )


def _score(spec: EngagementScore, kinds: Kinds) -> _Piece:
    weight = pl.lit(0.0)
    for kind, value in spec.weights:
        weight = pl.when(kinds.among([kind])).then(value).otherwise(weight)
    decay = (pl.col("age") * (-math.log(2.0) / (spec.half_life_days * _DAY_US))).exp()
    total = f"{spec.name}:units"
    return _Piece(
        totals=[(weight * decay * _SCORE_UNITS).floor().cast(pl.Int64).sum().alias(total)],
        columns=[(_or_none(total) * (1.0 / _SCORE_UNITS)).alias(spec.name)],
    )


def _last(spec: ReplyContent) -> str:
    """Column that holds the rank of the last reply, and prefix of its properties."""
    return f"last:{spec.kind}"


def _reply(spec: ReplyContent, kinds: Kinds) -> _Piece:
    replied = kinds.among([spec.kind])
    felt = pl.when(replied).then(_SENTIMENT)
    tokens = pl.col(f"{_last(spec)}:{_TOKENS}")
    flags = []
    if spec.token_buckets:
        buckets = tokens.list.eval(pl.element() % spec.token_buckets)
        flags = [
            pl.when(pl.col(_last(spec)).is_not_null())
            .then(buckets.list.contains(bucket).fill_null(False))
            .cast(pl.Int8)
            .alias(f"last_reply_token_{bucket:02d}")
            for bucket in range(spec.token_buckets)
        ]
    return _Piece(
        totals=[
            pl.when(replied).then("rank").max().alias(_last(spec)),
            (felt * _SENTIMENT_UNITS).floor().cast(pl.Int64).sum().alias(f"{_last(spec)}.units"),
            felt.count().cast(pl.Int64).alias(f"{_last(spec)}.count"),
        ],
        columns=[
            *(pl.col(f"{_last(spec)}:{name}").alias(f"last_{name}") for name in _REPLY),
            pl.when(pl.col(f"{_last(spec)}.count") > 0)
            .then(pl.col(f"{_last(spec)}.units") * (1.0 / _SENTIMENT_UNITS) / pl.col(f"{_last(spec)}.count"))
            .alias("mean_reply_sentiment"),
            *flags,
        ],
    )
