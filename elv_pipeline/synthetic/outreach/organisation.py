"""The synthetic organisation: one call to generate it, one to write its exports.

Belongs here: putting the parts together and the files. Does not belong here: how anything is drawn (`population.py`,
`mechanism.py`, `exports.py`), or the truth that must be computed (`truth.py`, `effects.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from elv_pipeline.synthetic.files import csv_writer, write_whole
from elv_pipeline.synthetic.outreach.dirt import make_dirty
from elv_pipeline.synthetic.outreach.exports import (
    campaigns_frame,
    contacts_frame,
    engagement_frame,
    enrollment_ids,
    enrollments_frame,
    outcomes_frame,
    steps_frame,
)
from elv_pipeline.synthetic.outreach.hazards import Draws, draw
from elv_pipeline.synthetic.outreach.mechanism import Paths, Rates, calibrate, simulate
from elv_pipeline.synthetic.outreach.plan import RANDOMISED, Plan, build_plan, campaign_id, planted
from elv_pipeline.synthetic.outreach.population import Contacts, Population, draw_contacts, enroll
from elv_pipeline.synthetic.outreach.spec import OutreachSpec

__all__ = ["EXPORTS", "Organisation", "OutreachSpec", "World", "generate_outreach", "write_outreach"]

EXPORTS = ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs", "outcomes")


@dataclass(frozen=True, kw_only=True)
class World:
    """What generated the exports, from which the truth is computed; no export has any of it."""

    spec: OutreachSpec
    plan: Plan
    contacts: Contacts
    population: Population
    draws: Draws
    rates: Rates
    paths: Paths


@dataclass(frozen=True, kw_only=True)
class Organisation:
    """The exports of an organisation, and what no real export has.

    Attributes:
        contacts: contact_id, source, qualification_status, region, industry, seniority, recorded_time and, if asked
            for, full_name, email, phone_number.
        campaigns: campaign_id, campaign_name, started_time.
        campaign_steps: step_id, campaign_id, position, channel, template_id, template_text, wait_days, decision_point,
            valid_from, recorded_time.
        enrollments: org_id, enrollment_id, contact_id, campaign_id, enrolled_time; by time.
        engagement_logs: enrollment_id, step_id, event, event_time, recorded_time, response_text; by event time.
        outcomes: enrollment_id, outcome, outcome_time, recorded_time, withdrawn_time, value (currency units, null but
            for conversions); by outcome time.
        randomised: Ids of the campaigns to which contacts were sent by a coin.
        planted: What was put in on purpose; see `plan.planted`.
        dirt: Which rows were made dirty how; see `dirt.make_dirty`.
        propensities: enrollment_id, campaign_id, probability: the true chance of every campaign for every enrollment,
            given what is known of its contact.
        world: What generated it all, for `truth.moment_truth` and `effects.causal_effects`.
    """

    contacts: pl.DataFrame
    campaigns: pl.DataFrame
    campaign_steps: pl.DataFrame
    enrollments: pl.DataFrame
    engagement_logs: pl.DataFrame
    outcomes: pl.DataFrame
    randomised: tuple[str, ...]
    planted: pl.DataFrame
    dirt: pl.DataFrame
    propensities: pl.DataFrame
    world: World = field(repr=False)


def build_world(spec: OutreachSpec) -> World:
    """Draw everything that happens, recorded or not."""
    # A stream of its own for every part: a change in one part must not reshuffle all the others.
    contact_rng, enrollment_rng, calibration_rng, draw_rng = np.random.default_rng(spec.seed).spawn(4)
    plan = build_plan(spec)
    contacts = draw_contacts(spec, rng=contact_rng)
    population = enroll(spec, contacts=contacts, rng=enrollment_rng)
    rates = calibrate(plan, population, spec=spec, rng=calibration_rng)
    draws = draw(draw_rng, count=len(population.campaign), positions=plan.positions)
    paths = simulate(plan, population, draws, rates=rates)
    return World(spec=spec, plan=plan, contacts=contacts, population=population, draws=draws, rates=rates, paths=paths)


def generate_outreach(spec: OutreachSpec) -> Organisation:
    """Generate the organisation of a spec; columnar throughout."""
    world = build_world(spec)
    contacts, population, paths = world.contacts, world.population, world.paths
    contact_rng, log_rng, outcome_rng, dirt_rng = np.random.default_rng([spec.seed, 1]).spawn(4)
    clean = {
        "contacts": contacts_frame(spec, contacts=contacts, population=population, rng=contact_rng),
        "campaigns": campaigns_frame(spec),
        "campaign_steps": steps_frame(world.plan, spec=spec),
        "enrollments": enrollments_frame(spec, population=population),
        "engagement_logs": engagement_frame(world.plan, paths=paths, population=population, spec=spec, rng=log_rng),
        "outcomes": outcomes_frame(paths=paths, contacts=contacts, population=population, spec=spec, rng=outcome_rng),
    }
    tables, dirt = make_dirty(clean, share=spec.dirt, rng=dirt_rng)
    return Organisation(
        **tables,
        randomised=tuple(campaign_id(index) for index in RANDOMISED),
        planted=planted(spec),
        dirt=dirt,
        propensities=_propensities(population),
        world=world,
    )


def write_outreach(organisation: Organisation, folder: Path) -> dict[str, Path]:
    """Write a CSV file of each export; returns the path of each by its table's name.

    Idempotent, and atomic per file: each is written beside its place and then moved over it, so a killed run leaves
    the earlier file whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.csv" for name in EXPORTS}
    for name, path in paths.items():
        write_whole(path, write=csv_writer(getattr(organisation, name)))
    return paths


def _propensities(population: Population) -> pl.DataFrame:
    count, campaigns = population.propensity.shape
    ids = pl.Series([campaign_id(index) for index in range(campaigns)])
    return pl.DataFrame(
        {
            "enrollment_id": enrollment_ids(count).gather(np.repeat(np.arange(count), campaigns)),
            "campaign_id": ids.gather(np.tile(np.arange(campaigns), count)),
            "probability": population.propensity.ravel(),
        }
    )
