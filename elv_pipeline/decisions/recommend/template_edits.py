"""An edit of a weak template: on what stronger ones differ from it, and a concrete text, shown as a diff.

Belongs here: which templates are stronger, differences with their uncertainty, the protocol of whoever writes an edit,
and what is accepted from it. Does not belong here: formulas (``template_properties.py``), the rules that write
(``template_rules.py``), a language model (``publishing/language_model.py``).

That stronger templates differ on something does not make it the reason: who got which template, and when, differed,
too. An edit is a proposal for a test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import unified_diff
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from elv_pipeline.decisions.recommend.effects import ElementEffect, Label
from elv_pipeline.decisions.recommend.template_properties import (
    LINK,
    is_notice,
    lines_of,
    placeholders_of,
    properties_of,
    sentences_of,
)
from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.ingest.parsing.contact_details import has_contact_details

FEW_TEMPLATES = 4
"""With fewer stronger templates, what they have in common is mostly chance."""
MOST_CHARACTERS = 4_000
"""Longest text that is accepted as an edit."""
_Z = 1.96
_MOST_STRONGER = 10


class UnusableTextError(ElvError):
    """What a writer proposed cannot be used as a template."""


@dataclass(frozen=True, kw_only=True)
class TemplateEvidence:
    """A template, and how it did.

    Attributes:
        template_id: its id.
        text: with placeholders, never filled in.
        channel: how it is sent.
        rate: share with the outcome, or effect on it, best shrunk and adjusted.
        low: lower end of its 95 % interval.
        high: upper end.
        n: enrollments.
        label: whether who got it was drawn by lot.
    """

    template_id: str
    text: str
    channel: str
    rate: float
    low: float
    high: float
    n: int
    label: Label = "observational"


@dataclass(frozen=True, kw_only=True)
class PropertyDifference:
    """Stronger templates against a weak one.

    Attributes:
        name: of the property.
        weak: its value for the weak template.
        strong: its mean over the stronger ones.
        low: lower end of the 95 % interval of the difference (Student's t over templates); None for one template.
        high: upper end.
        templates: how many stronger ones.
        n: enrollments that got them.
    """

    name: str
    weak: float
    strong: float
    low: float | None
    high: float | None
    templates: int
    n: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves zero out; never with one template."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def sentence(self) -> str:
        """What was counted."""
        interval = (
            "one template, no interval" if self.low is None else f"difference {self.low:+.3g} to {self.high:+.3g}"
        )
        few = "; few templates, so this may be chance" if self.templates < FEW_TEMPLATES else ""
        return (
            f"{self.name}: {self.weak:.3g} here, {self.strong:.3g} on average in {_stronger(self.templates)} "
            f"({interval}; n = {self.n:,}{few})"
        )


@dataclass(frozen=True, kw_only=True)
class TemplateRequest:
    """All that a writer is told: texts of templates and figures about many people, nothing about one.

    Attributes:
        channel: how the template is sent.
        outcome: what is wanted.
        weak: text of the template that is to be edited.
        strong: texts of stronger ones, the strongest first.
        differences: on what they differ.
    """

    channel: str
    outcome: str
    weak: str
    strong: tuple[str, ...]
    differences: tuple[PropertyDifference, ...]

    def __post_init__(self) -> None:
        """Refuse templates that hold a person's address or number: they were filled in.

        Raises:
            ConfigError: one does; the message does not repeat it.
        """
        for place, text in (("the weak template", self.weak), *(("a stronger template", text) for text in self.strong)):
            if has_contact_details(text):
                raise ConfigError(
                    f"{place} holds an e-mail address or a phone number (not shown); templates are compared and sent "
                    f"on without them. Put a placeholder such as {{sender_phone}} into the template."
                )


class TemplateWriter(Protocol):
    """Whoever proposes a text."""

    def propose(self, request: TemplateRequest) -> str:
        """The whole new text of the weak template."""
        ...


@dataclass(frozen=True, kw_only=True)
class TemplateEdit:
    """A proposed text, with its evidence.

    Attributes:
        template_id: of the weak template.
        channel: how it is sent.
        before: its text.
        after: the proposed one.
        diff: unified, a sentence a line.
        differences: on what stronger templates differ.
        stronger: their ids, the strongest first.
        n: enrollments that got the weak template.
    """

    template_id: str
    channel: str
    before: str
    after: str
    diff: str
    differences: tuple[PropertyDifference, ...]
    stronger: tuple[str, ...]
    n: int
    label: Label = field(default="observational", init=False)
    """The new text was never drawn by lot, even where all the old ones were."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """The evidence as a campaign manager reads it."""
        few = (
            f"Only {_stronger(len(self.stronger))} to compare with: what they have in common may be chance. "
            if len(self.stronger) < FEW_TEMPLATES
            else ""
        )
        reason = (
            f"{few}Whether these differences are the reason is not known; test the edit before it replaces anything."
        )
        return (*(difference.sentence for difference in self.differences if _worth_telling(difference)), reason)

    def to_dict(self) -> dict[str, Any]:
        """The edit as JSON values."""
        return {**asdict(self), "stronger": list(self.stronger), "sentences": list(self.sentences)}


def edit_of(
    weak: TemplateEvidence, others: Sequence[TemplateEvidence], *, outcome: str, writer: TemplateWriter
) -> TemplateEdit | None:
    """Propose an edit; None where no template of the channel is clearly stronger, or nothing would change.

    Args:
        weak: the template.
        others: templates in use; order does not matter.
        outcome: what is wanted, in words.
        writer: ``template_rules.RuleWriter()``, or a language model.

    Raises:
        UnusableTextError: what the writer proposed cannot be used.
        ConfigError: a template holds contact details.
    """
    stronger = stronger_templates(weak, others)
    if not stronger:
        return None
    request = TemplateRequest(
        channel=weak.channel,
        outcome=outcome,
        weak=weak.text,
        strong=tuple(template.text for template in stronger),
        differences=property_differences(weak, stronger),
    )
    after = _accepted(writer.propose(request), request)
    if sentence_lines(after) == sentence_lines(weak.text):
        return None
    return TemplateEdit(
        template_id=weak.template_id,
        channel=weak.channel,
        before=weak.text,
        after=after,
        diff=diff_of(weak.text, after, name=weak.template_id),
        differences=request.differences,
        stronger=tuple(template.template_id for template in stronger),
        n=weak.n,
    )


def evidence_of(effect: ElementEffect, *, text: str, channel: str) -> TemplateEvidence | None:
    """The evidence of a template from its effect against what else was sent at the same place; None without one."""
    if effect.estimate is None:
        return None
    return TemplateEvidence(
        template_id=effect.element,
        text=text,
        channel=channel,
        rate=effect.estimate.difference,
        low=effect.estimate.low,
        high=effect.estimate.high,
        n=effect.element_rows,
        label=effect.label,
    )


def stronger_templates(weak: TemplateEvidence, others: Sequence[TemplateEvidence]) -> tuple[TemplateEvidence, ...]:
    """Templates of the same channel whose rate is above the weak one's by 1.96 standard errors, the strongest first.

    The error of the difference is the sum of both: where two templates were compared with each other their estimates
    are opposed, and their difference is as unsure as that.
    """
    found = []
    for other in others:
        error = (other.high - other.low + weak.high - weak.low) / (2 * _Z)
        comparable = other.channel == weak.channel and other.template_id != weak.template_id
        if comparable and other.rate - weak.rate > _Z * error:
            found.append(other)
    return tuple(sorted(found, key=lambda template: (-template.rate, template.template_id))[:_MOST_STRONGER])


def property_differences(
    weak: TemplateEvidence, stronger: Sequence[TemplateEvidence]
) -> tuple[PropertyDifference, ...]:
    """Every property of the stronger templates against the weak one's, in the order of the formulas."""
    own = properties_of(weak.text)
    values = [properties_of(template.text) for template in stronger]
    n = sum(template.n for template in stronger)
    return tuple(_difference(name, own[name], np.array([value[name] for value in values]), n) for name in own)


def sentence_lines(text: str) -> list[str]:
    """The text with a sentence a line, empty lines kept: what a diff compares."""
    return [sentence for line in lines_of(text.strip()) for sentence in line or [""]]


def diff_of(before: str, after: str, *, name: str) -> str:
    """A unified diff, a sentence a line."""
    in_use, proposed = sentence_lines(before), sentence_lines(after)
    return "\n".join(unified_diff(in_use, proposed, f"{name} (in use)", f"{name} (proposed)", lineterm=""))


def _difference(name: str, weak: float, strong: npt.NDArray[np.float64], n: int) -> PropertyDifference:
    mean, count = float(np.sort(strong).mean()), len(strong)
    half = None
    if count > 1:
        half = float(t.isf(0.025, count - 1)) * float(np.sort(strong).std(ddof=1)) / math.sqrt(count)
    return PropertyDifference(
        name=name,
        weak=weak,
        strong=mean,
        low=None if half is None else mean - weak - half,
        high=None if half is None else mean - weak + half,
        templates=count,
        n=n,
    )


def _stronger(count: int) -> str:
    return f"{count} stronger template{'' if count == 1 else 's'}"


def _worth_telling(difference: PropertyDifference) -> bool:
    return difference.differs or (difference.low is None and difference.strong != difference.weak)


def _accepted(text: str, request: TemplateRequest) -> str:
    """The text, if it can be used as a template of the same tool.

    Raises:
        UnusableTextError: it cannot; the message does not repeat it.
    """
    text = text.strip()
    known = " ".join((request.weak, *request.strong))
    notices = [sentence for sentence in sentences_of(request.weak) if is_notice(sentence)]
    unknown = sorted(set(placeholders_of(text)) - set(placeholders_of(known)))
    for wrong, reason in (
        (not text, "it is empty"),
        (len(text) > MOST_CHARACTERS, f"it has {len(text):,} characters; at most {MOST_CHARACTERS:,} are accepted"),
        (bool(unknown), f"it holds placeholders that no template in use has: {', '.join(unknown)[:200]}"),
        (bool(set(LINK.findall(text)) - set(LINK.findall(known))), "it holds a link that no template in use has"),
        (bool(set(LINK.findall(request.weak)) - set(LINK.findall(text))), "it lost a link of the template in use"),
        (
            not set(notices) <= set(sentences_of(text)),
            "it lost or changed a sentence of the template in use that lets people opt out or that the law asks for",
        ),
        (has_contact_details(text), "it holds an e-mail address or a phone number"),
    ):
        if wrong:
            raise UnusableTextError(
                f"the proposed text cannot be used: {reason}. Ask again, or use the proposals made by rules."
            )
    return text
