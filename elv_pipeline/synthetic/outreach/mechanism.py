"""What happens to an enrollment: the sequence of steps, reactions and outcomes, for given draws.

Belongs here: the hazards' probabilities and the order of things. Does not belong here: random numbers (`hazards.py`),
the plan (`plan.py`) or what of it is recorded (`exports.py`).

Everything is a deterministic function of plan, population and draws, so that the same people can be sent through
another plan with the same luck. Times are days since the start of the period.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from elv_pipeline.synthetic.outreach.hazards import (
    BOOK_OPEN,
    BOOK_REPLY,
    CALLED,
    CONVERT_BOOKED,
    CONVERT_QUALIFIED,
    LATER_DELAYS,
    OPEN,
    OPT_OUT,
    QUALIFY_BOOKED,
    QUALIFY_REPLY,
    REPLY,
    STEP_DELAYS,
    Draws,
    draw,
    event_time,
)
from elv_pipeline.synthetic.outreach.plan import (
    BEST_WAIT_DAYS,
    BRANCH_ON_OPEN,
    CALL,
    EMAIL,
    LETTER,
    STOP_ON_REPLY,
    Booleans,
    Floats,
    Integers,
    Plan,
)
from elv_pipeline.synthetic.outreach.population import Population
from elv_pipeline.synthetic.outreach.spec import OutreachSpec

# Logits by channel (email, call, message, letter). A letter is answered as often as an e-mail, opened or not, is.
OPEN_LOGIT: Final = np.array([-0.45, -np.inf, 0.0, -np.inf])
REPLY_LOGIT: Final = np.array([-1.4, -np.inf, -1.3, -2.5])
CALLED_LOGIT: Final = np.array([-np.inf, -1.6, -np.inf, -np.inf])
COLD_CALL: Final = -1.8  # a call before anything else was sent
COLD_CALL_OPT_OUT: Final = 2.0
QUALITY_OPEN, QUALITY_REPLY, QUALITY_BOOK = 0.5, 0.9, 0.7
TEMPLATE_OPEN, TEMPLATE_BOOK = 0.4, 0.4  # of the template's effect on a reply
FATIGUE: Final = -0.15  # per touch
OPT_OUT_LOGIT: Final = -4.3
OPT_OUT_PER_TOUCH: Final = 0.2
OPT_OUT_PER_IRRITATION: Final = 0.55
GAP_CURVE: Final = -0.35  # times the squared log of the days since the last touch over the best wait
GAP_WORST: Final = -1.6
HOUR_WAVE: Final = 0.3  # best at ten
WEEKEND: Final = -0.4
MOOD_BOOK: Final = 0.7  # per step from annoyed (-1) over neutral (0) to pleased (1)
OPENED_ONLY: Final = -3.2
BREAK_EFFECT: Final = -0.6
LETTER_DAYS: Final = 2.0
OFFICE_HOURS: Final = (7.0, 19.0)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Intercepts on the logit scale that make the outcomes as frequent as the spec wants; and the day of the break."""

    booked: float
    qualified: float
    converted: float
    break_day: float
    first_weekday: int


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What happened, with shape (enrollments, positions) or, for the hazards, (7, enrollments, positions).

    Attributes:
        slot: when each step was due, whether it was sent or not.
        sent: whether it was.
        bounced: whether it came back.
        mood: -1, 0 or 1 of a reply or call; 0 where there was none.
        base: what each step hazard waits from.
        chance: its probability.
        time: when it happened; infinite for never.
        later_chance: shape (3, enrollments), of the later hazards.
        booked: when each enrollment booked, qualified and converted (infinite for never).
        qualified: likewise.
        converted: likewise.
    """

    slot: Floats
    sent: Booleans
    bounced: Booleans
    mood: Integers
    base: Floats
    chance: Floats
    time: Floats
    later_chance: Floats
    booked: Floats
    qualified: Floats
    converted: Floats

    @property
    def first_engagement(self) -> Floats:
        """First opening, reply or call of each enrollment."""
        first: Floats = self.time[[OPEN, REPLY, CALLED]].min(axis=(0, 2))
        return first

    def take(self, rows: Integers) -> Paths:
        """Some of the enrollments."""
        by_row = {name: getattr(self, name)[rows] for name in ("slot", "sent", "bounced", "mood")}
        outcomes = {name: getattr(self, name)[rows] for name in ("booked", "qualified", "converted")}
        hazards = {name: getattr(self, name)[:, rows] for name in ("base", "chance", "time", "later_chance")}
        return Paths(**by_row, **outcomes, **hazards)


@dataclass(kw_only=True)
class _State:
    """What one step hands to the next."""

    clock: Floats
    last_touch: Floats
    touches: Floats
    opened: Floats
    replied: Floats
    opted_out: Floats
    booked: Floats

    def advance(self, slot: Floats, *, touched: Booleans, weight: Floats) -> None:
        self.clock = slot
        self.last_touch = np.where(touched, slot, self.last_touch)
        self.touches = self.touches + touched * weight

    def reacted(self, *, opened: Floats, spoke: Floats, left: Floats, booked: Floats) -> None:
        self.opened, self.replied = np.minimum(self.opened, opened), np.minimum(self.replied, spoke)
        self.opted_out, self.booked = np.minimum(self.opted_out, left), np.minimum(self.booked, booked)


class _Happening:
    """The step hazards of one step, filled one after the other: shape (7, enrollments)."""

    def __init__(self, uniform: Floats) -> None:
        self.uniform = uniform
        self.base, self.chance = np.full(uniform.shape, np.inf), np.zeros(uniform.shape)
        self.time = np.full(uniform.shape, np.inf)

    def add(self, hazard: int, *, start: Floats, logit: Floats) -> Floats:
        self.base[hazard], self.chance[hazard] = start, _sigmoid(logit)
        self.time[hazard] = event_time(
            start, chance=self.chance[hazard], uniform=self.uniform[hazard], delay=STEP_DELAYS[hazard]
        )
        time: Floats = self.time[hazard]
        return time


@dataclass(frozen=True, kw_only=True)
class _Step:
    slot: Floats
    sent: Booleans
    bounced: Booleans
    mood: Integers
    base: Floats
    chance: Floats
    time: Floats


def simulate(plan: Plan, population: Population, draws: Draws, *, rates: Rates) -> Paths:
    """Send a population through a plan."""
    count = len(population.campaign)
    never = np.full(count, np.inf)
    state = _State(
        clock=population.enrolled,
        last_touch=np.full(count, -np.inf),
        touches=np.zeros(count),
        opened=never,
        replied=never,
        opted_out=never,
        booked=never,
    )
    steps = [_step(plan, population, draws, position=k, state=state, rates=rates) for k in range(plan.positions)]
    by_row = {name: np.stack([getattr(step, name) for step in steps], axis=1) for name in _BY_ROW}
    hazards = {name: np.stack([getattr(step, name) for step in steps], axis=2) for name in _BY_HAZARD}
    later_chance = _later_chances(population, rates=rates)

    def later(hazard: int, start: Floats) -> Floats:
        return event_time(start, chance=later_chance[hazard], uniform=draws.later[hazard], delay=LATER_DELAYS[hazard])

    qualified = np.minimum(hazards["time"][QUALIFY_REPLY].min(axis=1), later(QUALIFY_BOOKED, state.booked))
    converted = np.minimum(later(CONVERT_BOOKED, state.booked), later(CONVERT_QUALIFIED, qualified))
    outcomes = {"booked": state.booked, "qualified": qualified, "converted": converted}
    return Paths(**by_row, **hazards, **outcomes, later_chance=later_chance)


_BY_ROW: Final = ("slot", "sent", "bounced", "mood")
_BY_HAZARD: Final = ("base", "chance", "time")


def _step(plan: Plan, population: Population, draws: Draws, *, position: int, state: _State, rates: Rates) -> _Step:
    """One step of everybody; moves the state on."""
    campaign, quality = population.campaign, population.quality
    channel, effect = plan.channel[campaign, position], plan.effect[campaign, position]
    irritation = plan.irritation[campaign, position]
    slot = _slot(
        state.clock,
        wait=plan.wait[campaign, position],
        uniform=draws.hour[:, position],
        workdays=(channel == CALL) | (channel == LETTER),
        first_weekday=rates.first_weekday,
    )
    sent = _goes_out(state, slot=slot, decision=plan.decision[campaign, position]) & plan.active[campaign, position]
    bounced = sent & (channel == EMAIL) & (draws.bounce[:, position] < population.bounce)
    arrived = np.where(sent & ~bounced, slot, np.inf)
    cold = (channel == CALL) & (state.touches == 0)
    circumstances = _circumstances(state, slot=slot, first_weekday=rates.first_weekday)
    happening = _Happening(draws.step[:, :, position])
    spoke = _reactions(
        happening, arrived, channel=channel, effect=effect, quality=quality, logit=circumstances, cold=cold
    )
    mood = _mood(draws.mood[:, position], quality=quality, effect=effect) * np.isfinite(spoke)
    book = rates.booked + QUALITY_BOOK * quality + TEMPLATE_BOOK * effect + BREAK_EFFECT * (slot >= rates.break_day)
    booked = np.minimum(
        happening.add(BOOK_OPEN, start=happening.time[OPEN], logit=book + OPENED_ONLY),
        happening.add(BOOK_REPLY, start=spoke, logit=book + MOOD_BOOK * mood),
    )
    happening.add(QUALIFY_REPLY, start=spoke, logit=rates.qualified + QUALITY_BOOK * quality + MOOD_BOOK * mood)
    opt_out = OPT_OUT_LOGIT + OPT_OUT_PER_TOUCH * state.touches + OPT_OUT_PER_IRRITATION * irritation - 0.3 * quality
    left = happening.add(OPT_OUT, start=arrived, logit=opt_out + COLD_CALL_OPT_OUT * cold)
    state.advance(slot, touched=sent, weight=1 + irritation)
    state.reacted(opened=happening.time[OPEN], spoke=spoke, left=left, booked=booked)
    happened = {name: getattr(happening, name) for name in _BY_HAZARD}
    return _Step(slot=slot, sent=sent, bounced=bounced, mood=mood, **happened)


def _reactions(
    happening: _Happening,
    arrived: Floats,
    *,
    channel: Integers,
    effect: Floats,
    quality: Floats,
    logit: Floats,
    cold: Booleans,
) -> Floats:
    """Openings, replies and calls; returns when somebody first answered in words."""
    open_logit = OPEN_LOGIT[channel] + QUALITY_OPEN * quality + TEMPLATE_OPEN * effect + logit
    opened = happening.add(OPEN, start=arrived, logit=open_logit)
    read = np.where(channel == LETTER, arrived + LETTER_DAYS, opened)
    reply_logit = REPLY_LOGIT[channel] + QUALITY_REPLY * quality + effect + logit
    replied = happening.add(REPLY, start=read, logit=reply_logit)
    call_logit = CALLED_LOGIT[channel] + QUALITY_OPEN * quality + effect + logit + COLD_CALL * cold
    return np.minimum(replied, happening.add(CALLED, start=arrived, logit=call_logit))


def _slot(clock: Floats, *, wait: Floats, uniform: Floats, workdays: Booleans, first_weekday: int) -> Floats:
    """When a step is due: after its wait, from a day on at an office hour, calls and letters not at the weekend."""
    due = clock + wait
    low, high = OFFICE_HOURS
    at_office = np.floor(due) + (low + (high - low) * uniform) / 24
    slot = np.where(wait >= 1, at_office, due)
    weekday = (np.floor(slot).astype(np.int64) + first_weekday) % 7
    return slot + np.where(workdays & (weekday >= 5), 7.0 - weekday, 0.0)


def _goes_out(state: _State, *, slot: Floats, decision: Integers) -> Booleans:
    """Whether a step is sent: neither opted out nor booked before, and its decision point lets it pass."""
    stopped = (state.opted_out <= slot) | (state.booked <= slot)
    stopped |= (decision == STOP_ON_REPLY) & (state.replied <= slot)
    stopped |= (decision == BRANCH_ON_OPEN) & ((state.opened > slot) | (state.replied <= slot))
    return ~stopped


def _circumstances(state: _State, *, slot: Floats, first_weekday: int) -> Floats:
    """Effect of hour, weekday, fatigue and the time since the last touch."""
    hour = (slot % 1.0) * 24
    weekend = (np.floor(slot).astype(np.int64) + first_weekday) % 7 >= 5
    touched = np.isfinite(state.last_touch)
    gap = np.where(touched, slot - np.where(touched, state.last_touch, 0.0), BEST_WAIT_DAYS)
    waiting = np.maximum(GAP_CURVE * np.log(np.maximum(gap, 0.01) / BEST_WAIT_DAYS) ** 2, GAP_WORST)
    wave = HOUR_WAVE * np.cos((hour - 10) * 2 * np.pi / 24)
    result: Floats = wave + WEEKEND * weekend + FATIGUE * state.touches + waiting
    return result


def _mood(uniform: Floats, *, quality: Floats, effect: Floats) -> Integers:
    annoyed = _sigmoid(-1.0 - 0.9 * quality - 0.5 * effect)
    pleased = (1 - annoyed) * _sigmoid(0.2 + 0.9 * quality)
    return (uniform > 1 - pleased).astype(np.int64) - (uniform < annoyed)


def _later_chances(population: Population, *, rates: Rates) -> Floats:
    """Chances of the later hazards, shape (3, enrollments)."""
    chance = np.empty((len(LATER_DELAYS), len(population.quality)))
    chance[QUALIFY_BOOKED] = _sigmoid(rates.qualified + 1.5 + 0.6 * population.quality)
    chance[CONVERT_BOOKED] = _sigmoid(rates.converted + 0.6 * population.quality)
    chance[CONVERT_QUALIFIED] = _sigmoid(rates.converted + 0.4 + 0.6 * population.quality)
    return chance


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-x))
    return result


CALIBRATION_ROWS: Final = 6_000


def calibrate(plan: Plan, population: Population, *, spec: OutreachSpec, rng: np.random.Generator) -> Rates:
    """The intercepts under which the outcomes are as frequent as the spec says, on a sample spread over the period."""
    step = max(1, len(population.campaign) // CALIBRATION_ROWS)
    sample = population.take(np.arange(0, len(population.campaign), step))
    draws = draw(rng, count=len(sample.campaign), positions=plan.positions)
    rates = Rates(
        booked=0.0, qualified=0.0, converted=0.0, break_day=spec.break_day, first_weekday=spec.start_date.weekday()
    )
    targets = {"booked": spec.booked_call_rate, "qualified": spec.qualified_rate, "converted": spec.converted_rate}
    for name, target in targets.items():  # each depends on those before it only
        low, high = -8.0, 6.0
        for _ in range(11):
            middle = (low + high) / 2
            rates = _with_intercept(rates, name=name, value=middle)
            share = np.isfinite(getattr(simulate(plan, sample, draws, rates=rates), name)).mean()
            low, high = (middle, high) if share < target else (low, middle)
    return rates


def _with_intercept(rates: Rates, *, name: str, value: float) -> Rates:
    changed: dict[str, Any] = {name: value}
    return replace(rates, **changed)
