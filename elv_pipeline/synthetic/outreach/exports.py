"""The six source exports: what of the paths is recorded, and when.

Belongs here: the frames. Does not belong here: what happened (`mechanism.py`), or the dirt (`dirt.py`).

Nothing that is recorded at or after the end of the period is there, as no export knows the future.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from elv_pipeline.synthetic.files import with_invented_people
from elv_pipeline.synthetic.outreach.hazards import CALLED, OPEN, REPLY
from elv_pipeline.synthetic.outreach.mechanism import LETTER_DAYS, Paths
from elv_pipeline.synthetic.outreach.plan import (
    CALL,
    CHANNELS,
    DECISIONS,
    LETTER,
    TEMPLATE_IDS,
    Booleans,
    Floats,
    Integers,
    Plan,
    campaign_id,
    campaign_name,
    step_id,
)
from elv_pipeline.synthetic.outreach.population import ATTRIBUTES, Contacts, Population
from elv_pipeline.synthetic.outreach.replies import is_german, reply_texts
from elv_pipeline.synthetic.outreach.spec import OutreachSpec
from elv_pipeline.synthetic.outreach.templates import TEMPLATES

DAY_US: Final = 86_400_000_000
MISSING_SHARE: Final = {"region": 0.04, "industry": 0.06, "seniority": 0.1}
MEAN_LAG_DAYS: Final = {"sent": 0.01, "delivered": 0.02, "bounced": 0.05, "opened": 0.15, "replied": 0.2, "called": 0.3}
OUTCOME_LAG_DAYS: Final = 0.5
LONGEST_LAG_DAYS: Final = 2.0
NO_RECORDED_TIME_SHARE: Final = 0.01
MEDIAN_VALUE: Final = {"unqualified": 900.0, "marketing": 1_400.0, "sales": 2_200.0, "customer": 4_000.0}
VALUE_SIGMA: Final = 0.9


def contacts_frame(
    spec: OutreachSpec, *, contacts: Contacts, population: Population, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per contact; known since some days before its first enrollment."""
    columns: dict[str, pl.Series] = {"contact_id": _ids("con", spec.contacts)}
    for name, values in ATTRIBUTES.items():
        value = pl.Series([row[0] for row in values]).gather(contacts.attributes[name])
        missing = rng.random(spec.contacts) < MISSING_SHARE.get(name, 0.0)
        columns[name] = value.zip_with(pl.Series(~missing), pl.Series([None], dtype=pl.String))
    first = np.full(spec.contacts, np.inf)
    np.minimum.at(first, population.contact, population.enrolled)
    known = _times(first - 0.1 - 30 * rng.random(spec.contacts), spec=spec)
    always = pl.Series(rng.random(spec.contacts) < NO_RECORDED_TIME_SHARE)
    columns["recorded_time"] = known.zip_with(~always, pl.Series([None], dtype=known.dtype))
    table = pl.DataFrame(columns)
    return with_invented_people(table) if spec.personal_columns else table


def campaigns_frame(spec: OutreachSpec) -> pl.DataFrame:
    """One row per campaign; all started before the period."""
    return pl.DataFrame(
        {
            "campaign_id": [campaign_id(index) for index in range(spec.campaigns)],
            "campaign_name": [campaign_name(index) for index in range(spec.campaigns)],
            "started_time": [spec.start - timedelta(days=7 + index) for index in range(spec.campaigns)],
        },
        schema_overrides={"started_time": pl.Datetime("us", "UTC")},
    )


def steps_frame(plan: Plan, *, spec: OutreachSpec) -> pl.DataFrame:
    """One row per step, in the order of campaign and position."""
    rows = [
        {
            "step_id": step_id(campaign, position),
            "campaign_id": campaign_id(campaign),
            "position": position + 1,
            "channel": CHANNELS[plan.channel[campaign, position]],
            "template_id": TEMPLATE_IDS[plan.template[campaign, position]],
            "template_text": TEMPLATES[TEMPLATE_IDS[plan.template[campaign, position]]].text,
            "wait_days": float(plan.wait[campaign, position]),
            "decision_point": DECISIONS[plan.decision[campaign, position]],
            "valid_from": spec.start - timedelta(days=7 + campaign),
            "recorded_time": spec.start - timedelta(days=7 + campaign),
        }
        for campaign in range(plan.campaigns)
        for position in range(plan.positions)
    ]
    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(rows, schema_overrides={"valid_from": moment, "recorded_time": moment, "position": pl.Int64})


def enrollments_frame(spec: OutreachSpec, *, population: Population) -> pl.DataFrame:
    """One row per enrollment, by time."""
    count = len(population.campaign)
    names = pl.Series([campaign_id(index) for index in range(spec.campaigns)])
    return pl.DataFrame(
        {
            "org_id": pl.repeat(spec.org_id, count, eager=True),
            "enrollment_id": enrollment_ids(count),
            "contact_id": _ids("con", spec.contacts).gather(population.contact),
            "campaign_id": names.gather(population.campaign),
            "enrolled_time": _times(population.enrolled, spec=spec),
        }
    )


def enrollment_ids(count: int) -> pl.Series:
    """Ids in the order of enrollment."""
    return _ids("enr", count)


def engagement_frame(
    plan: Plan, *, paths: Paths, population: Population, spec: OutreachSpec, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per recorded event of a step, by event time; response_text of replies and calls, where asked for."""
    channel = plan.channel[population.campaign]
    digital = paths.sent & ~paths.bounced & (channel != CALL)
    arrives = paths.slot + LETTER_DAYS * (channel == LETTER)
    events = {
        "sent": np.where(paths.sent, paths.slot, np.inf),
        "delivered": np.where(digital, arrives, np.inf),
        "bounced": np.where(paths.bounced, paths.slot + 120 / 86_400, np.inf),
        "opened": paths.time[OPEN],
        "replied": paths.time[REPLY],
        "called": paths.time[CALLED],
    }
    german = is_german(spec.contacts, rng=rng)[population.contact]
    tables = [
        _events(name, time, plan=plan, paths=paths, population=population, german=german, spec=spec, rng=rng)
        for name, time in events.items()
    ]
    order = ("event_time", "enrollment_id", "step_id")  # and at one instant: sent, delivered, ... as above
    return pl.concat(tables).filter(pl.col("recorded_time") < spec.end).sort(order, maintain_order=True)


def _events(
    name: str,
    time: Floats,
    *,
    plan: Plan,
    paths: Paths,
    population: Population,
    german: Booleans,
    spec: OutreachSpec,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """The rows of one kind of event."""
    row, position = np.nonzero(np.isfinite(time))
    steps = pl.Series([step_id(c, k) for c in range(plan.campaigns) for k in range(plan.positions)])
    happened = time[row, position]
    texts = pl.repeat(None, len(row), dtype=pl.String, eager=True)
    if name in ("replied", "called") and spec.response_text:
        texts = reply_texts(paths.mood[row, position], german=german[row], rng=rng)
    return pl.DataFrame(
        {
            "enrollment_id": enrollment_ids(len(population.campaign)).gather(row),
            "step_id": steps.gather(population.campaign[row] * plan.positions + position),
            "event": pl.repeat(name, len(row), dtype=pl.String, eager=True),
            "event_time": _times(happened, spec=spec),
            "recorded_time": _times(happened + _lag(len(row), mean=MEAN_LAG_DAYS[name], rng=rng), spec=spec),
            "response_text": texts,
        }
    )


def outcomes_frame(
    *, paths: Paths, contacts: Contacts, population: Population, spec: OutreachSpec, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per recorded outcome, by time; a few are withdrawn later, conversions have a value in currency units."""
    count = len(population.campaign)
    medians = np.array([MEDIAN_VALUE[name] for name, *_ in ATTRIBUTES["qualification_status"]])
    median = medians[contacts.attributes["qualification_status"][population.contact]]
    value = np.round(median * np.exp(VALUE_SIGMA * rng.standard_normal(count)), 2)
    tables = []
    for name, time in (("booked_call", paths.booked), ("qualified", paths.qualified), ("converted", paths.converted)):
        rows: Integers = np.flatnonzero(np.isfinite(time))
        recorded = time[rows] + _lag(len(rows), mean=OUTCOME_LAG_DAYS, rng=rng)
        withdrawn = _times(recorded + 1 + 19 * rng.random(len(rows)), spec=spec)
        taken_back = pl.Series(rng.random(len(rows)) < spec.withdrawn_share) & (withdrawn < spec.end)
        worth = pl.Series(value[rows]) if name == "converted" else pl.repeat(None, len(rows), eager=True)
        tables.append(
            pl.DataFrame(
                {
                    "enrollment_id": enrollment_ids(count).gather(rows),
                    "outcome": pl.repeat(name, len(rows), dtype=pl.String, eager=True),
                    "outcome_time": _times(time[rows], spec=spec),
                    "recorded_time": _times(recorded, spec=spec),
                    "withdrawn_time": withdrawn.zip_with(taken_back, pl.Series([None], dtype=withdrawn.dtype)),
                    "value": worth.cast(pl.Float64),
                }
            )
        )
    order = ("outcome_time", "enrollment_id", "outcome")
    return pl.concat(tables).filter(pl.col("recorded_time") < spec.end).sort(order, maintain_order=True)


def _lag(count: int, *, mean: float, rng: np.random.Generator) -> Floats:
    """Days until an event is recorded: mostly soon, never more than two days."""
    lag: Floats = np.minimum(mean * rng.standard_exponential(count), LONGEST_LAG_DAYS)
    return lag


def _times(days: Floats, *, spec: OutreachSpec) -> pl.Series:
    """Days since the start as UTC times of whole seconds.

    Rounded up: an event does not move before what it waited for, which has been rounded the same way.
    """
    seconds = np.ceil(days * 86_400 - 1e-6).astype(np.int64) + int(spec.start.timestamp())
    return pl.from_epoch(pl.Series(seconds), time_unit="s").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def times_of(days: Floats, *, spec: OutreachSpec) -> pl.Series:
    """Times as the exports have them, null where infinite."""
    finite = np.isfinite(days)
    return _times(np.where(finite, days, 0.0), spec=spec).zip_with(
        pl.Series(finite), pl.Series([None], dtype=pl.Datetime("us", "UTC"))
    )


def _ids(prefix: str, count: int) -> pl.Series:
    return pl.select(pl.format(prefix + "{}", pl.int_range(1, count + 1).cast(pl.String).str.zfill(7))).to_series()
