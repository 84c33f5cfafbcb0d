"""The truth of every moment: what happened, and how probable it was just then.

Belongs here: true probabilities and uncensored labels per moment, and the comparison with predictions. Does not belong
here: what an element of the plan causes (`effects.py`).

The probability is that of the generating process given everything up to the moment, the hidden part of the contact's
quality included: no model can be better, and one that knows only the exports cannot quite reach it. It is computed by
drawing futures again from the moment on (the past stays as it was) and averaging the exact probability of the outcome
given each future's engagement (Rao-Blackwell), which needs few futures. Withdrawals of outcomes are not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from elv_pipeline.synthetic.outreach.exports import enrollment_ids, times_of
from elv_pipeline.synthetic.outreach.hazards import (
    BOOK_OPEN,
    BOOK_REPLY,
    CALLED,
    CONVERT_BOOKED,
    CONVERT_QUALIFIED,
    LATER_DELAYS,
    QUALIFY_BOOKED,
    QUALIFY_REPLY,
    REPLY,
    STEP_DELAYS,
    Draws,
    draw,
    log_not_by,
    redrawn,
)
from elv_pipeline.synthetic.outreach.mechanism import Paths, simulate
from elv_pipeline.synthetic.outreach.organisation import Organisation, World
from elv_pipeline.synthetic.outreach.plan import Booleans, Floats, Integers

BOOKED, QUALIFIED, CONVERTED = "booked_call_within_7d", "qualified_within_14d", "conversion_within_30d"
WINDOW_DAYS: Final[Mapping[str, float]] = {BOOKED: 7.0, QUALIFIED: 14.0, CONVERTED: 30.0}
TARGETS: Final = tuple(WINDOW_DAYS)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Per target: whether it happened in its window, and whether the moment has such a label at all."""

    happened: dict[str, Booleans]
    open: dict[str, Booleans]


def labels_at(paths: Paths, moment: Floats) -> Labels:
    """Uncensored labels of enrollments at one moment each (days).

    A moment at or after an outcome has no label for it (open is False), nor has one of an enrollment that never
    engages a label for booked_call_within_7d, which counts from the first engagement.
    """
    engaged = paths.first_engagement
    return Labels(
        happened={
            BOOKED: np.isfinite(paths.booked) & (paths.booked <= engaged + WINDOW_DAYS[BOOKED]),
            QUALIFIED: paths.qualified <= moment + WINDOW_DAYS[QUALIFIED],
            CONVERTED: paths.converted <= moment + WINDOW_DAYS[CONVERTED],
        },
        open={
            BOOKED: (paths.booked > moment) & np.isfinite(engaged),
            QUALIFIED: paths.qualified > moment,
            CONVERTED: paths.converted > moment,
        },
    )


def moment_truth(
    organisation: Organisation, *, futures: int = 16, enrollments: int | None = None, seed: int = 0
) -> pl.DataFrame:
    """True probability and uncensored label of every moment of the period, by moment_id.

    Args:
        organisation: as generated.
        futures: how many futures are drawn from each moment; an error needs two, and falls with their square root.
        enrollments: about how many enrollments, spread evenly over the period; default: all.
        seed: of the futures.

    Returns:
        moment_id ("<enrollment_id>@<position>"), enrollment_id, position, prediction_time and, for each target,
        `true_<target>` (Boolean, null where the moment has no label) and `true_p_<outcome>_<days>d` with
        `error_p_<outcome>_<days>d` (its standard error from the number of futures; both null where the outcome had
        happened already). The probability of a booking is that given that the contact engages at all.
    """
    world = organisation.world
    everybody = len(world.population.campaign)
    kept = np.arange(0, everybody, 1 if enrollments is None else max(1, everybody // enrollments))
    tables = [
        _at_position(world, position=position, kept=kept, futures=futures, rng=rng)
        for position, rng in enumerate(
            np.random.default_rng([world.spec.seed, 2, seed]).spawn(world.plan.positions + 1)
        )
    ]
    return pl.concat(tables).sort("enrollment_id", "position")


def probability_column(target: str) -> str:
    """Name of the column with the true probability of a target: `true_p_booked_call_7d` for bookings."""
    outcome, days = target.split("_within_")
    return f"true_p_{outcome}_{days}"


def _at_position(
    world: World, *, position: int, kept: Integers, futures: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Moments of one position: 0 at enrollment, k when step k was sent."""
    everybody, paths = world.population, world.paths
    moments = everybody.enrolled if position == 0 else paths.slot[:, position - 1]
    reached = np.ones(len(moments), dtype=np.bool_) if position == 0 else paths.sent[:, position - 1]
    rows: Integers = kept[(reached & (moments < world.spec.days))[kept]]
    moment, own = moments[rows], paths.take(rows)
    labels = labels_at(own, moment)
    ids = enrollment_ids(len(moments)).gather(rows)
    table = pl.DataFrame(
        {
            "moment_id": pl.select(pl.concat_str(pl.lit(ids), pl.lit(f"@{position}"))).to_series(),
            "enrollment_id": ids,
            "position": pl.repeat(position, len(rows), dtype=pl.Int64, eager=True),
            "prediction_time": times_of(moment, spec=world.spec),
        }
    )
    chances = _chances(world, rows=rows, moment=moment, futures=futures, rng=rng)
    open_for = {BOOKED: own.booked > moment, QUALIFIED: own.qualified > moment, CONVERTED: own.converted > moment}
    for target in TARGETS:
        mean, error = (np.where(open_for[target], values, np.nan) for values in chances[target])
        happened = pl.Series(labels.happened[target]).zip_with(
            pl.Series(labels.open[target]), pl.Series([None], dtype=pl.Boolean)
        )
        name = probability_column(target)
        table = table.with_columns(
            happened.alias(f"true_{target}"),
            pl.Series(name, mean).fill_nan(None),
            pl.Series(name.replace("true_", "error_"), error).fill_nan(None),
        )
    return table


def _chances(
    world: World, *, rows: Integers, moment: Floats, futures: int, rng: np.random.Generator
) -> dict[str, tuple[Floats, Floats]]:
    """Mean over the futures and its standard error, per target."""
    past, own = world.draws.take(rows), world.paths.take(rows)
    population = world.population.take(rows)
    sums = {target: np.zeros((3, len(rows))) for target in TARGETS}  # weight, value, squared value
    for _ in range(futures):
        fresh = draw(rng, count=len(rows), positions=world.plan.positions)
        future = future_draws(past, fresh=fresh, paths=own, moment=moment)
        paths = simulate(world.plan, population, future, rates=world.rates)
        # Up to its first booking a path is the same as if nobody could book: given that path its chance is exact.
        barred = future.step.copy()
        barred[[BOOK_OPEN, BOOK_REPLY]] = 1.0
        unbooked = simulate(world.plan, population, replace(future, step=barred), rates=world.rates)
        engaged = np.isfinite(unbooked.first_engagement)
        for target, weight, value in (
            (BOOKED, engaged.astype(np.float64), _booking(unbooked, moment=moment)),
            (QUALIFIED, np.ones(len(rows)), _qualifying(paths, moment=moment)),
            (CONVERTED, np.ones(len(rows)), _converting(paths, moment=moment)),
        ):
            sums[target] += np.stack([weight, weight * value, weight * value**2])
    result = {}
    for target, (weight, value, square) in sums.items():
        mean = np.divide(value, weight, out=np.full(len(rows), np.nan), where=weight > 0)
        spread = np.divide(square, weight, out=np.full(len(rows), np.nan), where=weight > 0) - mean**2
        error = np.sqrt(np.maximum(spread, 0) / np.maximum(weight - 1, 1))
        result[target] = (mean, np.where(weight > 1, error, np.nan))
    return result


def future_draws(past: Draws, *, fresh: Draws, paths: Paths, moment: Floats) -> Draws:
    """Draws under which everything up to the moment is as it was and everything after it is drawn again."""
    each = moment[:, None]
    step = np.stack(
        [
            redrawn(
                past.step[hazard],
                fresh=fresh.step[hazard],
                base=paths.base[hazard],
                chance=paths.chance[hazard],
                until=each,
                delay=delay,
            )
            for hazard, delay in enumerate(STEP_DELAYS)
        ]
    )
    later_base = {QUALIFY_BOOKED: paths.booked, CONVERT_BOOKED: paths.booked, CONVERT_QUALIFIED: paths.qualified}
    later = np.stack(
        [
            redrawn(
                past.later[hazard],
                fresh=fresh.later[hazard],
                base=later_base[hazard],
                chance=paths.later_chance[hazard],
                until=moment,
                delay=delay,
            )
            for hazard, delay in enumerate(LATER_DELAYS)
        ]
    )
    spoke = paths.time[[REPLY, CALLED]].min(axis=0)
    return Draws(
        step=step,
        later=later,
        hour=np.where(paths.slot <= each, past.hour, fresh.hour),
        bounce=np.where(paths.slot < each, past.bounce, fresh.bounce),
        mood=np.where(spoke <= each, past.mood, fresh.mood),
    )


def _booking(paths: Paths, *, moment: Floats) -> Floats:
    """Chance of a booking within the window of the first engagement, given a path without bookings."""
    engaged = paths.first_engagement
    until = np.where(np.isfinite(engaged), np.maximum(engaged + WINDOW_DAYS[BOOKED], moment), moment)
    survived = sum(
        _window(until[:, None], after=moment[:, None], paths=paths, hazard=hazard) for hazard in (BOOK_OPEN, BOOK_REPLY)
    )
    chance: Floats = -np.expm1(survived)
    return chance


def _qualifying(paths: Paths, *, moment: Floats) -> Floats:
    """Chance of qualifying within the window of the moment, given engagement and booking."""
    until = moment + WINDOW_DAYS[QUALIFIED]
    survived = _window(until[:, None], after=moment[:, None], paths=paths, hazard=QUALIFY_REPLY)
    survived = survived + _later_window(until, after=moment, paths=paths, hazard=QUALIFY_BOOKED, base=paths.booked)
    chance: Floats = -np.expm1(survived)
    return chance


def _converting(paths: Paths, *, moment: Floats) -> Floats:
    """Chance of converting within the window of the moment, given booking and qualification."""
    until = moment + WINDOW_DAYS[CONVERTED]
    survived = _later_window(until, after=moment, paths=paths, hazard=CONVERT_BOOKED, base=paths.booked)
    survived = survived + _later_window(
        until, after=moment, paths=paths, hazard=CONVERT_QUALIFIED, base=paths.qualified
    )
    chance: Floats = -np.expm1(survived)
    return chance


def _window(until: Floats, *, after: Floats, paths: Paths, hazard: int) -> Floats:
    """Log probability that no step's hazard strikes between two moments, given that none had before; per enrollment."""
    base, chance, delay = paths.base[hazard], paths.chance[hazard], STEP_DELAYS[hazard]
    log = log_not_by(until, base=base, chance=chance, delay=delay) - log_not_by(
        after, base=base, chance=chance, delay=delay
    )
    total: Floats = log.sum(axis=1)
    return total


def _later_window(until: Floats, *, after: Floats, paths: Paths, hazard: int, base: Floats) -> Floats:
    """The same for a hazard that an enrollment has once."""
    chance, delay = paths.later_chance[hazard], LATER_DELAYS[hazard]
    result: Floats = log_not_by(until, base=base, chance=chance, delay=delay) - log_not_by(
        after, base=base, chance=chance, delay=delay
    )
    return result
