"""Small recommendations, made by hand from what ``decisions.recommend`` is made of, for the tests of their page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from elv_pipeline.decisions.experiments.design import Guardrail, Volume
from elv_pipeline.decisions.recommend.change_evidence import weighed
from elv_pipeline.decisions.recommend.findings import findings_of, judge
from elv_pipeline.decisions.recommend.findings_table import row_of
from elv_pipeline.decisions.recommend.priority import PriorityRules, ranked
from elv_pipeline.decisions.recommend.proposals import of_edit, of_sequence, proposals_of
from elv_pipeline.decisions.recommend.sequencing import SequenceChange
from elv_pipeline.decisions.recommend.template_edits import TemplateEvidence, edit_of
from elv_pipeline.decisions.recommend.template_rules import RuleWriter
from elv_pipeline.decisions.recommend.traffic import Traffic
from elv_pipeline_tests.decisions.experiment_data import UNSUBSCRIBED
from elv_pipeline_tests.decisions.recommend_data import BOOKED, effect_of, estimate_of

EFFECTS = (
    effect_of("weak_opener", estimate_of(-0.09, error=0.012)),
    effect_of("long_story", estimate_of(-0.05, error=0.012), label="randomised"),
    effect_of("short_opener", estimate_of(0.02, error=0.012)),
    effect_of("question", estimate_of(0.03, error=0.015)),
    effect_of("rarely_sent", estimate_of(-0.06, error=0.08, rows=40)),
    effect_of("nobody_else", None),
)
CHANGE = SequenceChange(
    kind="wait_longer",
    element="spring/s2",
    campaign_id="spring",
    step_id="s2",
    position=2,
    change="step 2 (email) comes after 5 days instead of 1",
    direction="wait_longer 2",
    outcome="booked_call",
    horizon_days=30,
    status_quo=0.11,
    effect=0.04,
    low=0.015,
    high=0.065,
    n=900,
    n_now=2_100,
    label="observational",
    assumption="Those who waited longer were otherwise like the others of their group; later steps move with it.",
)
CHANGES = (
    CHANGE,
    replace(
        CHANGE,
        kind="drop",
        change="step 3 (call) is left out",
        direction="drop 3",
        position=3,
        effect=-0.02,
        low=-0.05,
        high=0.01,
        n=700,
    ),
    replace(
        CHANGE,
        kind="wait_shorter",
        change="step 2 (email) comes at once",
        direction="wait_shorter 2",
        effect=0.01,
        low=-0.02,
        high=0.04,
    ),
)
WEAK_TEXT = """Our company was founded in 1987. We offer a wide range of consulting services for many industries.
Our services include planning and controlling. More about us is on our page.

Kind regards, {sender}"""
STRONG_TEXTS = (
    "Hi {first_name},\n\nyour team at {company} is growing. Would ten minutes on Tuesday suit you? Reply with a time."
    "\n\nBest, {sender}",
    "Hello {first_name},\n\nI saw your talk. Shall we compare notes this week? Book a slot here.\n\nBest, {sender}",
)
TRAFFIC = Traffic(
    unit="enrollment",
    volume=Volume(weekly_units=600),
    window_days=7,
    positives=800,
    units=8_000,
    guardrails=(Guardrail(metric=UNSUBSCRIBED, margin=0.02),),
)
CAMPAIGNS = (
    {
        "campaign_id": "spring",
        "name": "Spring webinar",
        "enrollments": 5_000,
        "contacts": 4_700,
        "randomised": True,
        "mature": 4_500,
        "positives": 495,
        "outcome_rate": 0.11,
        "outcome_low": 0.10,
        "outcome_high": 0.12,
    },
    {
        "campaign_id": "autumn",
        "name": "Autumn",
        "enrollments": 900,
        "contacts": 900,
        "randomised": False,
        "mature": 0,
        "positives": 0,
        "outcome_rate": None,
        "outcome_low": None,
        "outcome_high": None,
    },
)
STEPS = tuple(
    {
        "campaign_id": campaign,
        "position": position,
        "step_id": f"{campaign}-{position}",
        "channel": channel,
        "template_id": template,
        "reached": reached,
        "replied": reached * position // 20,
        "replied_share": 0.05 * position,
        "mature": reached,
        "positives": reached // 25,
        "outcome_rate": 0.04,
        "outcome_low": 0.03,
        "outcome_high": 0.05,
    }
    for campaign, position, channel, template, reached in (
        ("spring", 1, "email", "weak_opener", 5_000),
        ("spring", 2, "email", "question", 3_800),
        ("spring", 3, "call", "call_script", 1_500),
        ("autumn", 1, "message", "short_opener", 900),
    )
)


def templates() -> list[TemplateEvidence]:
    """Two stronger ones."""
    return [
        TemplateEvidence(
            template_id=name, text=text, channel="email", rate=rate, low=rate - 0.02, high=rate + 0.02, n=n
        )
        for name, text, rate, n in zip(
            ("short_opener", "question"), STRONG_TEXTS, (0.02, 0.03), (800, 600), strict=True
        )
    ]


def recommendations_document(*, states: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """The whole document as JSON values; ``states`` of the proposals by rank, drafts without; ``changes`` replace."""
    judged = judge(EFFECTS)
    [weak] = [found for found in findings_of(judged) if found.judged.effect.element == "weak_opener"]
    own = TemplateEvidence(
        template_id="weak_opener", text=WEAK_TEXT, channel="email", rate=-0.09, low=-0.11, high=-0.07, n=1_200
    )
    edit = edit_of(own, templates(), outcome="booked call", writer=RuleWriter())
    assert edit is not None
    suggestions = [of_edit(weak, edit), *map(of_sequence, CHANGES)]
    months = replace(TRAFFIC, window_days=30)
    proposals = proposals_of([(seen, months if seen.window_days == 30 else TRAFFIC) for seen in suggestions])
    order = ranked(proposals, rules=PriorityRules())
    known = [*states, *["draft"] * (len(order) - len(states))]
    document = {
        "schema": 1,
        "as_of": "2026-03-02",
        "outcome": {"name": "booked_call", "window_days": 7, "label_column": BOOKED},
        "data": {
            "enrollments": 5_900,
            "contacts": 5_500,
            "sends": 11_200,
            "first_day": "2025-09-01",
            "last_day": "2026-03-01",
            "campaigns": 2,
        },
        "weeks": 26.0,
        "summary": {"judged": 6},
        "campaigns": list(CAMPAIGNS),
        "steps": list(STEPS),
        "findings": [row_of(entry) for entry in judged],
        "changes": [change.to_dict() for change in weighed(CHANGES)],
        "edits": [edit.to_dict()],
        "proposals": [{**entry.to_dict(), "state": state} for entry, state in zip(order, known, strict=True)],
        "notes": ["Channels could not be compared: each step has one."],
    }
    return json.loads(json.dumps(document | changes))  # type: ignore[no-any-return]
