"""Outreach with a known truth, made by hand.

Belongs here: what several tests of recommendations share. Does not belong here: assertions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from scipy.special import expit

from elv_pipeline.decisions.recommend.comparisons import Comparison
from elv_pipeline.decisions.recommend.doubly_robust import Estimate
from elv_pipeline.decisions.recommend.effects import ElementEffect, Label
from elv_pipeline.decisions.recommend.overlap_check import Overlap

BOOKED = "booked_call_within_7d"
TEMPLATES = Comparison(
    kind="template",
    column="template_id",
    place=("campaign_id", "position"),
    outcome="booked_call",
    window_days=7,
    label_column=BOOKED,
    numeric=("engagement",),
    categorical=("source",),
)


def outreach(
    seed: int,
    *,
    contacts: int = 1200,
    effect: float = 0.0,
    rows_each: int = 1,
    pull: float = 1.5,
    habit: float = 0.0,
) -> pl.DataFrame:
    """One row a moment. Engaged webinar contacts get template ``weak`` more often, and book more often.

    Args:
        seed: of everything drawn.
        contacts: how many.
        effect: of ``weak`` on the rate, for everybody.
        rows_each: moments of each contact, who shares covariates, template and, by ``habit``, the outcome.
        pull: how strongly engagement decides the template; 0 for a draw by lot.
        habit: half the width of what a contact's own rate adds.
    """
    rng = np.random.default_rng(seed)
    engagement = rng.uniform(-1, 1, contacts)
    webinar = rng.random(contacts) < 0.4
    weak = rng.random(contacts) < expit(pull * engagement + (0.8 * webinar - 0.3) * (pull > 0))
    own = rng.uniform(-habit, habit, contacts)
    rate = 0.27 + 0.14 * engagement + 0.1 * webinar + effect * weak + own
    who = np.repeat(np.arange(contacts), rows_each)
    booked = rng.random(len(who)) < rate[who]
    return pl.DataFrame(
        {
            "moment_id": [f"e{contact}@{row}" for row, contact in enumerate(who)],
            "contact_id": [f"c{contact}" for contact in who],
            "campaign_id": ["spring" if contact % 2 else "autumn" for contact in who],
            "position": pl.Series([1] * len(who), dtype=pl.Int64),
            "template_id": ["weak" if weak[contact] else "usual" for contact in who],
            "engagement": engagement[who],
            "source": ["webinar" if webinar[contact] else "purchased_list" for contact in who],
            BOOKED: booked.astype(np.int8),
        }
    )


def templates(seed: int, *, contacts: int = 4000) -> pl.DataFrame:
    """Six templates at one step: ``weak`` costs 12 points, ``unlucky`` nothing, but goes to those who rarely book."""
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", "d", "unlucky", "weak"])
    engagement = rng.uniform(-1, 1, contacts)
    liking = np.stack([np.zeros(contacts)] * 4 + [-1.5 * engagement, 0.5 * engagement], axis=1)
    chosen = (liking + rng.gumbel(size=liking.shape)).argmax(axis=1)
    rate = 0.3 + 0.2 * engagement - 0.12 * (names[chosen] == "weak")
    return pl.DataFrame(
        {
            "moment_id": [f"e{contact}@1" for contact in range(contacts)],
            "contact_id": [f"c{contact}" for contact in range(contacts)],
            "campaign_id": ["spring"] * contacts,
            "position": pl.Series([1] * contacts, dtype=pl.Int64),
            "template_id": names[chosen],
            "engagement": engagement,
            "source": ["webinar"] * contacts,
            BOOKED: (rng.random(contacts) < rate).astype(np.int8),
        }
    )


def estimate_of(difference: float, *, error: float, usual: float = 0.2, rows: int = 500) -> Estimate:
    """An estimate with hardly any uncertainty of its own error."""
    width = 1.959964 * error
    ratio = (usual + difference) / usual
    relative = np.exp(width / usual)
    return Estimate(
        with_element=usual + difference,
        with_alternatives=usual,
        difference=difference,
        standard_error=error,
        freedom=1e6,
        low=difference - width,
        high=difference + width,
        ratio=ratio,
        ratio_low=float(ratio / relative),
        ratio_high=float(ratio * relative),
        confidence=0.95,
        rows=(rows, rows),
        contacts=(rows, rows),
        effective=(float(rows), float(rows)),
    )


def effect_of(element: str, estimate: Estimate | None, *, label: Label = "observational") -> ElementEffect:
    """An effect as the estimation would give it."""
    overlap = Overlap(
        verdict="by design" if label == "randomised" else ("enough" if estimate is not None else "missing"),
        sentence="The groups have nothing in common." if estimate is None else "Every kind of row got both.",
        rows=1000,
        share_outside=0.0,
        element_share_inside=1.0,
        cutoff=0.0,
        propensity_range=((0.4, 0.6), (0.4, 0.6)),
        effective=(500.0, 500.0),
        balance=(),
    )
    return ElementEffect(
        comparison=replace(TEMPLATES),
        element=element,
        label=label,
        element_rows=500,
        alternatives=(("usual", 500),),
        rows_without_alternative=0,
        naive=-0.01,
        overlap=overlap,
        estimate=estimate,
        refusal="" if estimate is not None else overlap.sentence,
    )
