"""The plan of the organisation: which step of which campaign sends what, when and on which condition.

Belongs here: the campaigns' steps, the interventions on them, and which elements are planted. Does not belong here:
what a step brings about (`mechanism.py`), or who is enrolled (`population.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.synthetic.outreach.spec import OutreachSpec
from elv_pipeline.synthetic.outreach.templates import TEMPLATES

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

CHANNELS: Final = ("email", "call", "message", "letter")
EMAIL, CALL, MESSAGE, LETTER = range(4)
DECISIONS: Final = ("none", "stop_on_reply", "branch_on_open")
"""What is looked at before a step goes out: nothing; it stays out after a reply; it needs an opening before it."""
NONE, STOP_ON_REPLY, BRANCH_ON_OPEN = range(3)
TEMPLATE_IDS: Final = tuple(TEMPLATES)

USUAL: Final = (
    (EMAIL, "tpl_intro", 1.0),
    (EMAIL, "tpl_follow_up", 3.0),
    (CALL, "tpl_call", 4.0),
    (MESSAGE, "tpl_message", 3.0),
    (EMAIL, "tpl_closing", 5.0),
    (MESSAGE, "tpl_message_link", 4.0),
    (EMAIL, "tpl_resource", 5.0),
    (CALL, "tpl_call", 4.0),
)
"""Channel, template and days since the step before, by position; planted campaigns differ in one step or two."""

INTRODUCTION_A, INTRODUCTION_B, REFERRAL, REACTIVATION, TEST_A, TEST_B, WEBINAR, CALL_FIRST = range(8)
NAMES: Final = (
    "Introduction A",
    "Introduction B",
    "Referral Welcome",
    "Reactivation",
    "Follow-up Test A",
    "Follow-up Test B",
    "Webinar Follow-up",
    "Call First",
)
RANDOMISED: Final = (TEST_A, TEST_B)
CONFOUNDED_TEMPLATE: Final = "tpl_intro_plain"
CONFOUNDED_CHANNEL: Final = "letter"
WEAK_TEMPLATE: Final = "tpl_brochure"
SHORT_WAIT_DAYS: Final = 0.2
BEST_WAIT_DAYS: Final = 3.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps as arrays of shape (campaigns, positions).

    Attributes:
        channel: index into `CHANNELS`.
        template: index into `TEMPLATE_IDS`.
        effect: of the template, on the logit.
        irritation: of the template.
        wait: days since the step before.
        decision: index into `DECISIONS`.
        active: False where a step was taken out; the steps after it keep their days.
    """

    channel: Integers
    template: Integers
    effect: Floats
    irritation: Floats
    wait: Floats
    decision: Integers
    active: Booleans

    @property
    def campaigns(self) -> int:
        """Number of campaigns."""
        return len(self.channel)

    @property
    def positions(self) -> int:
        """Number of steps of each campaign."""
        return int(self.channel.shape[1])

    def without(self, where: Booleans) -> Plan:
        """The plan with steps taken out, given as a mask of its shape."""
        return replace(self, active=self.active & ~where)

    def with_channel(self, where: Booleans, channel: int) -> Plan:
        """The plan with the same texts sent through another channel."""
        return replace(self, channel=np.where(where, channel, self.channel))

    def with_wait(self, where: Booleans, days: float) -> Plan:
        """The plan with another wait before some steps."""
        return replace(self, wait=np.where(where, days, self.wait))

    def with_average_template(self, where: Booleans) -> Plan:
        """The plan with what the other templates of the same channel do on average, each counted once.

        A template without another one in its channel is compared with a short, personal one with a question.
        """
        effect, irritation = self.effect.copy(), self.irritation.copy()
        for campaign, position in np.argwhere(where).tolist():
            others = {
                TEMPLATE_IDS[index]
                for index in self.template[self.channel == self.channel[campaign, position]].tolist()
                if index != self.template[campaign, position]
            }
            known = [TEMPLATES[name] for name in sorted(others)]
            effect[campaign, position] = np.mean([template.effect for template in known]) if known else 0.0
            irritation[campaign, position] = np.mean([template.irritation for template in known]) if known else 0.0
        return replace(self, effect=effect, irritation=irritation)


def build_plan(spec: OutreachSpec) -> Plan:
    """The plan of a spec; nothing in it is drawn."""
    rows = [[*_usual(spec.steps_per_campaign)] for _ in range(spec.campaigns)]
    rows[INTRODUCTION_B][0] = (EMAIL, CONFOUNDED_TEMPLATE, 1.0)
    rows[REFERRAL][1] = (LETTER, "tpl_letter", 3.0)
    rows[REACTIVATION][1] = (EMAIL, WEAK_TEMPLATE, 3.0)
    rows[REACTIVATION][2] = (EMAIL, "tpl_resource", SHORT_WAIT_DAYS)
    rows[TEST_B][1] = (EMAIL, WEAK_TEMPLATE, 3.0)
    rows[WEBINAR][2] = (EMAIL, "tpl_pressure", 3.0)
    rows[CALL_FIRST][0] = (CALL, "tpl_call_cold", 1.0)
    for extra in range(len(NAMES), spec.campaigns):
        rows[extra][0] = (EMAIL, ("tpl_intro", "tpl_intro_german")[extra % 2], 1.0)
    decision = np.full((spec.campaigns, spec.steps_per_campaign), STOP_ON_REPLY)
    decision[:, 0] = NONE
    decision[REACTIVATION, 3] = BRANCH_ON_OPEN
    decision[INTRODUCTION_A, 4] = decision[INTRODUCTION_B, 4] = NONE
    return Plan(
        channel=np.array([[step[0] for step in row] for row in rows], dtype=np.int64),
        template=np.array([[TEMPLATE_IDS.index(step[1]) for step in row] for row in rows], dtype=np.int64),
        effect=np.array([[TEMPLATES[step[1]].effect for step in row] for row in rows]),
        irritation=np.array([[TEMPLATES[step[1]].irritation for step in row] for row in rows]),
        wait=np.array([[step[2] for step in row] for row in rows]),
        decision=decision.astype(np.int64),
        active=np.ones(decision.shape, dtype=np.bool_),
    )


def _usual(steps: int) -> tuple[tuple[int, str, float], ...]:
    return USUAL[:steps]


def campaign_id(campaign: int) -> str:
    """Id of a campaign by its index."""
    return f"cmp{campaign + 1:03d}"


def step_id(campaign: int, position: int) -> str:
    """Id of a step by the index of its campaign and of its place, both from 0."""
    return f"{campaign_id(campaign)}_s{position + 1}"


def campaign_name(campaign: int) -> str:
    """Name of a campaign by its index."""
    return NAMES[campaign] if campaign < len(NAMES) else f"Outreach {campaign + 1:02d}"


def planted(spec: OutreachSpec) -> pl.DataFrame:
    """What was put into the mechanism on purpose, one row per element.

    Columns: level (template, step, channel, trend), element (its id; the first day for a trend), finding, alternative
    (what would be better; null where nothing is wrong with it), note.

    Findings: `weak`, `wait_too_short`, `removal_helps`, `channel_switch_helps`; `looks_bad` and `looks_good` for
    what only its contacts make appear so; `trend_break`.
    """
    rows: list[tuple[str, str, str, str | None, str]] = [
        ("template", WEAK_TEMPLATE, "weak", "tpl_follow_up", "long, no question, no personal placeholder"),
        ("template", "tpl_pressure", "weak", "tpl_follow_up", "presses; the step that sends it is better left out"),
        ("step", step_id(REACTIVATION, 1), "weak", "tpl_follow_up", "sends the weak template"),
        ("step", step_id(TEST_B, 1), "weak", "tpl_follow_up", "sends the weak template; randomised against Test A"),
        ("step", step_id(REACTIVATION, 2), "wait_too_short", str(BEST_WAIT_DAYS), "a few hours after the step before"),
        ("step", step_id(WEBINAR, 2), "removal_helps", "removed", "tires contacts and drives them to opt out"),
        ("step", step_id(CALL_FIRST, 0), "channel_switch_helps", "email", "a call before the contact knows us"),
        ("template", CONFOUNDED_TEMPLATE, "looks_bad", None, "goes to contacts of low quality; as good as tpl_intro"),
        ("channel", CONFOUNDED_CHANNEL, "looks_good", None, "goes to referrals and customers; no better than e-mail"),
    ]
    if spec.trend_break_at is not None:
        day = spec.start_date.toordinal() + int(spec.break_day)
        rows.append(
            ("trend", type(spec.start_date).fromordinal(day).isoformat(), "trend_break", None, "fewer bookings")
        )
    names = ("level", "element", "finding", "alternative", "note")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
