"""Contacts and enrollments: who they are, how good, and which campaign chooses them with which probability.

Belongs here: everything that is fixed when a contact is enrolled. Does not belong here: what happens afterwards
(`mechanism.py`), or the exported frames (`exports.py`).

Campaigns choose by what is known of a contact (source, status, demographics), never by the hidden part of its quality:
adjusting for the known columns, or weighting with the true propensity, removes the confounding entirely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from elv_pipeline.synthetic.outreach.plan import (
    CALL_FIRST,
    INTRODUCTION_A,
    INTRODUCTION_B,
    RANDOMISED,
    REACTIVATION,
    REFERRAL,
    WEBINAR,
    Floats,
    Integers,
)
from elv_pipeline.synthetic.outreach.spec import OutreachSpec

# (value, share, quality on the logit scale)
SOURCES: Final = (
    ("referral", 0.14, 0.9),
    ("webinar", 0.20, 0.4),
    ("website", 0.22, 0.2),
    ("event", 0.12, 0.0),
    ("partner", 0.10, 0.1),
    ("purchased_list", 0.22, -0.9),
)
STATUSES: Final = (
    ("unqualified", 0.40, -0.35),
    ("marketing", 0.32, 0.05),
    ("sales", 0.18, 0.40),
    ("customer", 0.10, 0.50),
)
REGIONS: Final = (
    ("München", 0.2, 0.05),
    ("Hamburg", 0.2, 0.0),
    ("Zürich", 0.15, 0.1),
    ("London", 0.25, -0.05),
    ("Dublin", 0.2, 0.0),
)
INDUSTRIES: Final = (
    ("software", 0.3, 0.15),
    ("manufacturing", 0.25, 0.0),
    ("retail", 0.25, -0.15),
    ("healthcare", 0.2, 0.0),
)
SENIORITIES: Final = (("junior", 0.3, -0.2), ("manager", 0.45, 0.05), ("director", 0.25, 0.2))
ATTRIBUTES: Final = {
    "source": SOURCES,
    "qualification_status": STATUSES,
    "region": REGIONS,
    "industry": INDUSTRIES,
    "seniority": SENIORITIES,
}
HIDDEN_SIGMA: Final = 0.35  # small beside the known part: the truth is then nearly what could be known
BOUNCE_RATE: Final = {"purchased_list": 0.09}
USUAL_BOUNCE_RATE: Final = 0.015
SECOND_AFTER_DAYS: Final = (60, 120)


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """One entry per contact: index of each attribute's value, the known part of the quality, and the whole of it."""

    attributes: dict[str, Integers]
    known_quality: Floats
    quality: Floats


@dataclass(frozen=True, kw_only=True)
class Population:
    """One entry per enrollment, by time.

    Attributes:
        contact: index of the contact.
        campaign: index of the campaign.
        enrolled: days since the start of the period.
        quality: of the contact, with the hidden part.
        bounce: probability that an e-mail to the contact comes back.
        propensity: shape (enrollments, campaigns); probability of each campaign given what is known of the contact.
    """

    contact: Integers
    campaign: Integers
    enrolled: Floats
    quality: Floats
    bounce: Floats
    propensity: Floats

    def take(self, rows: Integers) -> Population:
        """Some of the enrollments."""
        return Population(
            contact=self.contact[rows],
            campaign=self.campaign[rows],
            enrolled=self.enrolled[rows],
            quality=self.quality[rows],
            bounce=self.bounce[rows],
            propensity=self.propensity[rows],
        )


def draw_contacts(spec: OutreachSpec, *, rng: np.random.Generator) -> Contacts:
    """Draw the contacts of a spec; the better sources bring more advanced statuses."""
    attributes: dict[str, Integers] = {}
    known = np.zeros(spec.contacts)
    for name, values in ATTRIBUTES.items():
        share = np.cumsum([value[1] for value in values])
        luck = rng.random(spec.contacts)
        if name == "qualification_status":  # pushed up for good sources, down for bad ones
            luck = np.clip(luck + 0.12 * known, 0, 1)
        index = np.minimum(np.searchsorted(share, luck, side="right"), len(values) - 1).astype(np.int64)
        attributes[name] = index
        known = known + np.array([value[2] for value in values])[index]
    known = known - known.mean()
    quality = known + HIDDEN_SIGMA * rng.standard_normal(spec.contacts)
    return Contacts(attributes=attributes, known_quality=known, quality=quality)


def enroll(spec: OutreachSpec, *, contacts: Contacts, rng: np.random.Generator) -> Population:
    """Draw the enrollments: when, and to which campaign.

    Every contact is enrolled once at a random time of the period, some again two to four months later where that is
    still within it.
    """
    first = np.floor(rng.random(spec.contacts) * spec.days * 86_400) / 86_400
    low, high = SECOND_AFTER_DAYS
    later = first + np.floor((low + (high - low) * rng.random(spec.contacts)) * 86_400) / 86_400
    again = (rng.random(spec.contacts) < spec.second_enrollment_share) & (later < spec.days)
    contact = np.concatenate([np.arange(spec.contacts), np.flatnonzero(again)])
    enrolled = np.concatenate([first, later[again]])
    order = np.lexsort((contact, enrolled))
    contact, enrolled = contact[order], enrolled[order]
    propensity = _propensity(spec, contacts=contacts)[contact]
    luck = rng.random(len(contact))[:, None]
    campaign = np.minimum((np.cumsum(propensity, axis=1) <= luck).sum(axis=1), spec.campaigns - 1)
    purchased = np.array([BOUNCE_RATE.get(name, USUAL_BOUNCE_RATE) for name, *_ in SOURCES])
    return Population(
        contact=contact,
        campaign=campaign.astype(np.int64),
        enrolled=enrolled,
        quality=contacts.quality[contact],
        bounce=purchased[contacts.attributes["source"][contact]],
        propensity=propensity,
    )


def _propensity(spec: OutreachSpec, *, contacts: Contacts) -> Floats:
    """Probability of every campaign for every contact: a fair coin for the tests, a choice for the others."""
    known, source = contacts.known_quality, contacts.attributes["source"]
    names = [name for name, *_ in SOURCES]
    customer = contacts.attributes["qualification_status"] == [name for name, *_ in STATUSES].index("customer")
    liking = np.zeros((spec.contacts, spec.campaigns))
    liking[:, INTRODUCTION_A] = 1.0 * known
    liking[:, INTRODUCTION_B] = -1.0 * known
    liking[:, REFERRAL] = 2.0 * (source == names.index("referral")) + 1.0 * customer - 0.6
    liking[:, REACTIVATION] = -0.7 * known
    liking[:, WEBINAR] = 0.9 * (source == names.index("webinar"))
    liking[:, CALL_FIRST] = 0.6 * (source == names.index("event"))
    weight = np.exp(spec.confounding * liking)
    weight[:, RANDOMISED] = 0
    propensity: Floats = (1 - spec.randomised_share) * weight / weight.sum(axis=1, keepdims=True)
    propensity[:, RANDOMISED] = spec.randomised_share / len(RANDOMISED)
    return propensity
