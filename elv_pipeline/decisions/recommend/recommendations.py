"""What could be changed in outreach, from its cleaned tables to ranked proposals: the one door of this package.

Belongs here: the order of the parts, their settings, and the whole as one document. Does not belong here: any figure
(each has its module), files or pages (``publishing``).

Nothing here changes a campaign. Nothing is called better on observational evidence: what seems to be weak becomes a
proposal of an experiment. Nothing that happened or was recorded after ``as_of`` matters (``known_outreach.py``), and
the order of rows does not either.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from elv_pipeline.decisions.recommend.change_evidence import WeighedChange, weighed
from elv_pipeline.decisions.recommend.effects import Estimation
from elv_pipeline.decisions.recommend.element_comparisons import drawn_places, element_effects
from elv_pipeline.decisions.recommend.element_rows import element_rows
from elv_pipeline.decisions.recommend.findings import Finding, Judged, Rule, Stakes, findings_of, judge
from elv_pipeline.decisions.recommend.findings_table import row_of
from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach, known_outreach
from elv_pipeline.decisions.recommend.overview import campaigns_of, steps_of
from elv_pipeline.decisions.recommend.priority import PriorityRules, Ranked, ranked
from elv_pipeline.decisions.recommend.prognosis import prognostic_strata
from elv_pipeline.decisions.recommend.proposals import ProposalRules, proposals_of
from elv_pipeline.decisions.recommend.recommendation_notes import notes_of
from elv_pipeline.decisions.recommend.recommendation_tables import frames_of
from elv_pipeline.decisions.recommend.sequencing import SequencingRules, sequence_changes
from elv_pipeline.decisions.recommend.spells import Draw, steps_as_of
from elv_pipeline.decisions.recommend.suggestions import (
    outreach_tables,
    suggestions_of_changes,
    suggestions_of_findings,
    units_of,
)
from elv_pipeline.decisions.recommend.template_edits import TemplateEdit, TemplateWriter
from elv_pipeline.decisions.recommend.template_suggestions import template_edits
from elv_pipeline.decisions.recommend.traffic import without_outcome
from elv_pipeline.problems.event_specs import AnchoredTarget

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class RecommendSettings:
    """What is wanted, what is known about it, and how much must have been seen.

    Attributes:
        outcome: name of the outcome that counts.
        window_days: how long after a send it counts.
        horizon_days: how long after an enrollment it counts for changes of a sequence, which act on all of it, and how
            long after a send for planned waits.
        label_column: what the outcome within its window is called elsewhere; None for the usual name.
        randomised_campaigns: to which of these a contact came was drawn by lot.
        draws: waits and channels of single steps that were drawn by lot.
        value_micros: worth of one outcome in millionths of the currency, by outcome; empty to count outcomes.
        effort_days: days of work until a change can be tested, by kind, in place of ``priority.EFFORT_DAYS``.
        weeks: over which a gain counts.
        volume_days: days over which the money at stake of a finding is counted.
        margin: that matters, as a share of the alternatives' rate.
        false_discovery_rate: over all effects judged together.
        least_probability: that a weak element's true effect lies below its peers by the margin.
        least_contacts: that each side of a comparison must have.
        sequence_contacts: that must have been seen after a step as it is, and as it would be.
        change_probability: that a change of a sequence brings anything, for it to be proposed; elsewhere than at a weak
            step it must also bring the margin with ``least_probability``.
        experiments: how experiments are designed.
        seed: of folds, trees and draws.
    """

    outcome: str = "booked_call"
    window_days: int = 7
    horizon_days: int = 30
    label_column: str | None = None
    randomised_campaigns: tuple[str, ...] = ()
    draws: tuple[Draw, ...] = ()
    value_micros: Mapping[str, int] = field(default_factory=dict)
    effort_days: Mapping[str, float] = field(default_factory=dict)
    weeks: float = 26.0
    volume_days: int = 30
    margin: float = 0.1
    false_discovery_rate: float = 0.1
    least_probability: float = 0.5
    least_contacts: int = 20
    sequence_contacts: int = 100
    change_probability: float = 0.9
    experiments: ProposalRules = field(default_factory=lambda: ProposalRules(longest_weeks=26))
    seed: int = 0

    @property
    def rule(self) -> Rule:
        """When an element is a finding."""
        return Rule(
            margin=self.margin,
            false_discovery_rate=self.false_discovery_rate,
            least_probability=self.least_probability,
        )

    @property
    def target(self) -> AnchoredTarget:
        """The outcome within its window from the send."""
        return self._within(self.window_days, name=self.label_column)

    @property
    def later(self) -> AnchoredTarget:
        """The outcome within the horizon from the same moment, for what acts on more than the window."""
        found = self._within(self.horizon_days)
        # A configuration may call another window so; one column cannot hold both.
        taken = found.name == self.target.name and self.horizon_days != self.window_days
        return self._within(self.horizon_days, name=f"{found.name}_of_horizon") if taken else found

    def _within(self, days: int, *, name: str | None = None) -> AnchoredTarget:
        usual = f"{'conversion' if self.outcome == 'converted' else self.outcome}_within_{days}d"
        return AnchoredTarget(name=name or usual, outcome=self.outcome, window_days=days, anchor_events=())


@dataclass(frozen=True, kw_only=True)
class Recommendations:
    """Everything that was found and is proposed, as known at one moment.

    Attributes:
        settings: what was asked for.
        as_of: the moment.
        data: counts of what the answers rest on.
        campaigns: how each does.
        steps: how each does.
        judged: every element with its effect, or the reason why it has none.
        findings: those that underperform, the most at stake first.
        changes: of sequences, with what is left of each beside its peers.
        edits: of weak templates.
        proposals: ranked by value.
        notes: what could not be judged and why.
    """

    settings: RecommendSettings
    as_of: datetime
    data: Mapping[str, Any]
    campaigns: tuple[Mapping[str, Any], ...]
    steps: tuple[Mapping[str, Any], ...]
    judged: tuple[Judged, ...]
    findings: tuple[Finding, ...]
    changes: tuple[WeighedChange, ...]
    edits: tuple[TemplateEdit, ...]
    proposals: tuple[Ranked, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Everything as JSON values, the same for the same recommendations.

        Every proposal is a draft here; what people did with it since is on record (``publishing/recommendations.py``).
        """
        target = self.settings.target
        document = {
            "schema": SCHEMA,
            "as_of": self.as_of.astimezone(UTC).isoformat(),
            "outcome": {
                "name": target.outcome,
                "window_days": target.window_days,
                "horizon_days": self.settings.horizon_days,
                "label_column": target.name,
            },
            "weeks": self.settings.weeks,
            "data": dict(self.data),
            "summary": self._summary(),
            "campaigns": [dict(entry) for entry in self.campaigns],
            "steps": [dict(entry) for entry in self.steps],
            "findings": [row_of(entry) for entry in self.judged],
            "changes": [entry.to_dict() for entry in self.changes],
            "edits": [edit.to_dict() for edit in self.edits],
            "proposals": [{**entry.to_dict(), "state": "draft", "moved": None} for entry in self.proposals],
            "notes": list(self.notes),
        }
        # A figure that is not a number would make a page that no browser reads: refuse it here.
        plain: dict[str, Any] = json.loads(json.dumps(document, ensure_ascii=False, allow_nan=False))
        return plain

    def frames(self) -> dict[str, pl.DataFrame]:
        """``findings``, ``changes``, ``edits``, ``proposals`` and ``experiments`` as tables with fixed columns."""
        return frames_of(self.document())

    def _summary(self) -> dict[str, Any]:
        statuses = Counter(entry.status for entry in self.judged if entry.status is not None)
        return {
            "judged": len(self.judged),
            "with_effect": sum(entry.evidence is not None for entry in self.judged),
            "without_effect": sum(entry.evidence is None for entry in self.judged),
            "randomised": sum(entry.effect.label == "randomised" for entry in self.judged),
            "shown": statuses["shown"],
            "to_test": statuses["to test"],
            "changes": len(self.changes),
            "edits": len(self.edits),
            "proposals": len(self.proposals),
            "with_experiment": sum(entry.proposal.plan is not None for entry in self.proposals),
        }


def recommend(
    tables: Mapping[str, pl.DataFrame],
    *,
    settings: RecommendSettings,
    as_of: datetime,
    timezone: str,
    writer: TemplateWriter | None = None,
    unobserved: Collection[str] = (),
    observed_from: datetime | None = None,
) -> Recommendations:
    """Find what underperforms, and propose what to test about it.

    Args:
        tables: canonical tables of outreach by name; the order of rows does not matter.
        settings: what is wanted.
        as_of: moment of asking, with an offset; nothing that happened or was recorded later is used.
        timezone: zone of hours and weekdays.
        writer: of template edits; None for the rules. It is told texts and figures, never a contact.
        unobserved: enrollments of which an outcome was dropped as contradictory (``CleanedOutreach.unobserved``): that
            it is absent says nothing.
        observed_from: since when outcomes are recorded; earlier enrollments say nothing either.

    Raises:
        ContractError: a table is missing.
    """
    known = known_outreach(tables, as_of=as_of, unobserved=unobserved, observed_from=observed_from)
    target = settings.target
    places = drawn_places(known.steps, randomised_campaigns=settings.randomised_campaigns)
    rows = element_rows(known, target=target, later=settings.later, timezone=timezone, drawn_places=places)
    judged = _judged(rows, known, settings)
    findings = findings_of(judged)
    strata = prognostic_strata(rows, known, outcome=target.outcome, horizon_days=settings.horizon_days)
    outreach = outreach_tables(known, strata=strata)
    changes = weighed(sequence_changes(outreach, outcome=settings.outcome, as_of=as_of, rules=_sequencing(settings)))
    plan = steps_as_of(known.steps, as_of, also=("template_text",))
    edits, remarks = template_edits(findings, judged, plan, writer=writer)
    suggestions = [
        *suggestions_of_findings(findings, edits, rows, known),
        *suggestions_of_changes(
            changes, findings, known, rule=settings.rule, least_probability=settings.change_probability
        ),
    ]
    priority = PriorityRules(weeks=settings.weeks, effort_days=settings.effort_days, value_micros=_worth(settings))
    campaigns = campaigns_of(rows, known, target=target, randomised=settings.randomised_campaigns)
    return Recommendations(
        settings=settings,
        as_of=as_of,
        data=_data(known, rows, timezone=timezone),
        campaigns=tuple(campaigns),
        steps=tuple(steps_of(rows, known, target=target)),
        judged=judged,
        findings=findings,
        changes=changes,
        edits=edits,
        proposals=ranked(proposals_of(suggestions, rules=settings.experiments), rules=priority),
        notes=notes_of(
            known,
            judged,
            changes,
            randomised_campaigns=settings.randomised_campaigns,
            horizon_days=settings.horizon_days,
            remarks=remarks,
        ),
    )


def _worth(settings: RecommendSettings) -> dict[str, int]:
    return {name: value for name, value in settings.value_micros.items() if name == settings.outcome}


def _sequencing(settings: RecommendSettings) -> SequencingRules:
    return SequencingRules(
        horizon_days=settings.horizon_days,
        least_contacts=settings.sequence_contacts,
        seed=settings.seed,
        draws=frozenset(settings.draws),
    )


def _judged(rows: pl.DataFrame, known: KnownOutreach, settings: RecommendSettings) -> tuple[Judged, ...]:
    estimation = Estimation(seed=settings.seed, least_contacts=settings.least_contacts)
    effects = element_effects(rows, known.steps, target=settings.target, later=settings.later, settings=estimation)
    recent = without_outcome(
        rows.filter(pl.col("sent_time") > known.as_of - timedelta(days=settings.volume_days)).with_columns(
            time="sent_time"
        ),
        outreach_tables(known, strata=None),
        outcome=settings.outcome,
        as_of=known.as_of,
    )
    volume: dict[tuple[str, str], float] = {
        (effect.comparison.kind, effect.element): float(
            units_of(recent, kind=effect.comparison.kind, element=effect.element).height
        )
        for effect in effects
    }
    return judge(effects, rule=settings.rule, stakes=Stakes(value_micros=_worth(settings), volume=volume))


def _data(known: KnownOutreach, rows: pl.DataFrame, *, timezone: str) -> dict[str, Any]:
    times = rows["sent_time"].dt.convert_time_zone(timezone)
    first, last = times.min(), times.max()
    return {
        "campaigns": rows["campaign_id"].n_unique(),
        "steps": rows["step_id"].drop_nulls().n_unique(),
        "templates": rows["template_id"].drop_nulls().n_unique(),
        "contacts": known.enrollments["contact_id"].n_unique(),
        "enrollments": known.enrollments.height,
        "sends": int((rows["position"] > 0).sum()),
        "events": known.engagement.height,
        "outcomes": known.outcomes.height,
        "first_day": first.date().isoformat() if isinstance(first, datetime) else None,
        "last_day": last.date().isoformat() if isinstance(last, datetime) else None,
    }
