"""What a problem calls things: its rows, their outcome, the levels they belong to.

Belongs here: the words that pages, tables, alerts and contracts take, by problem and target. Does not belong here:
whole sentences (they stand where they are said) or the phrases of single features (``reason_phrases.py``).

A row of lead_ads is a lead. A row of outreach is a moment of an enrollment, and an enrollment has several: where rows
are counted, "moments" are said, and "enrollments" only where each counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elv_pipeline.problems.nouns import LevelNoun, Noun, capital


@dataclass(frozen=True, kw_only=True)
class Advice:
    """How segments that stand out are spoken of: a title, what to do with the best and the worst, and a reservation."""

    title: str
    best: str
    worst: str
    reservation: str = ""


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one problem and one target.

    Attributes:
        problem: key of the problem.
        target: key of the target.
        row_noun: what is scored and counted.
        row_meaning: what a row is, in a sentence; empty where everybody knows.
        entity_noun: what people act on; a row of it may be one of several.
        entity_id: column that tells which rows are of one entity; None where each row is one.
        created: what befalls a row at its prediction time, as in "the lead was created".
        start: from when the outcome window runs, as in "within 14 days of its creation".
        act: what is done with the best ones, as in "the leads to call first"; ``work`` what limits how many.
        exports: where rows come from and the verb, as in "the leads export is up to date".
        id_in_exports: what must hold of the ids in the outcomes export.
        happen: the outcome as an infinitive without "to"; ``happens`` of one row, ``happened`` in the past.
        did_not: the contrary of ``happened``.
        counts_as: the outcome after "counts as"; ``counts_not`` the contrary.
        outcome: the thing that a value is of, as in "value per qualified lead".
        counted_as: what sums of a value of 1 count.
        positive: rows whose outcome came, as a noun.
        positives: the same in a word, as in "too few qualified".
        effect: what a reason says of rows like it, with ``{times}`` to be filled in; empty: only whether it raises.
        rate: share of the rows whose outcome came.
        value_name: long name of probability times value.
        levels: the most specific first.
        from_ads: whether rows come from ads: then they are joined to ads, and spend says what they cost.
        also_new: what else than campaigns may be new, as in ", audiences or forms"; ``form_changed``, ``levers`` and
            ``templates`` name what people change in the causes of alerts.
        advice: title over which segments stand out, and what is said of the best and of the worst of them.
    """

    problem: str
    target: str
    row_noun: Noun
    row_meaning: str
    entity_noun: Noun
    entity_id: str | None
    created: str
    start: str
    act: str
    work: str
    exports: str
    id_in_exports: str
    happen: str
    happens: str
    happened: str
    did_not: str
    counts_as: str
    counts_not: str
    outcome: str
    counted_as: str
    positive: Noun
    positives: str
    effect: str
    rate: str
    value_name: str
    levels: tuple[LevelNoun, ...]
    from_ads: bool
    also_new: str
    form_changed: str
    levers: str
    templates: str
    advice: Advice

    @property
    def row(self) -> str:
        """One row, such as "lead"."""
        return self.row_noun.singular

    @property
    def rows(self) -> str:
        """Rows, such as "leads"."""
        return self.row_noun.plural

    @property
    def entity(self) -> str:
        """One entity."""
        return self.entity_noun.singular

    @property
    def entities(self) -> str:
        """Entities."""
        return self.entity_noun.plural

    @property
    def title_rows(self) -> str:
        """Rows as a title has them, such as "Leads"."""
        return capital(self.rows)

    @property
    def title_entity(self) -> str:
        """One entity as a title has it."""
        return capital(self.entity)

    @property
    def title_entities(self) -> str:
        """Entities as a title has them."""
        return capital(self.entities)

    @property
    def newest(self) -> str:
        """What of an entity has the newest prediction time: itself, or one of its rows."""
        return "it" if self.entity_id is None else f"its newest {self.row}"

    @property
    def title_happened(self) -> str:
        """Title of a column that counts rows whose outcome came, such as "Qualified"."""
        return capital(self.happened)

    @property
    def title_did_not(self) -> str:
        """Title of a column of the contrary."""
        return capital(self.did_not)

    @property
    def title_positives(self) -> str:
        """Rows whose outcome came as a title has them."""
        return capital(self.positive.plural)

    @property
    def title_rate(self) -> str:
        """The rate as a title has it."""
        return capital(self.rate)

    @property
    def value_phrase(self) -> str:
        """What the configured value is of, such as "Value per qualified lead"."""
        return f"Value per {self.outcome}"

    @property
    def share_title(self) -> str:
        """Title of an axis of observed rates, such as "Share that qualified"."""
        return f"Share that {self.happened}"

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Where a row belongs, as predictions publish it: from the widest level to the entity."""
        entity = () if self.entity_id is None else (self.entity_id,)
        return (*(level.id_column for level in reversed(self.levels)), *entity)

    def level_of(self, id_column: str) -> LevelNoun | None:
        """The level that an id column identifies; None where it is of none."""
        return next((level for level in self.levels if level.id_column == id_column), None)

    def level_named(self, name: str) -> Noun:
        """The words of a level by its name; a level that is not declared goes by its own name."""
        known = next((level for level in self.levels if level.name == name), None)
        return known or Noun(singular=name, plural=f"{name}s")

    def column(self, column: str) -> str:
        """A column as people call it: the id column of a level is the level."""
        level = self.level_of(column)
        return column.replace("_", " ") if level is None else level.singular


_LEAD = Noun(singular="lead", plural="leads")
QUALIFIED_LEADS = Words(
    problem="lead_ads",
    target="qualified",
    row_noun=_LEAD,
    row_meaning="",
    entity_noun=_LEAD,
    entity_id=None,
    created="created",
    start="its creation",
    act="call",
    work="number of calls",
    exports="leads export is",
    id_in_exports="lead_id is that of the leads export",
    happen="qualify",
    happens="qualifies",
    happened="qualified",
    did_not="did not qualify",
    counts_as="qualified",
    counts_not="not qualified",
    outcome="qualified lead",
    counted_as="leads",
    positive=Noun(singular="qualified lead", plural="qualified leads"),
    positives="qualified",
    effect="",
    rate="qualified rate",
    value_name="Expected lead value",
    levels=(
        LevelNoun(singular="ad", plural="ads", name="ad", id_column="ad_id"),
        LevelNoun(singular="ad set", plural="ad sets", name="adset", id_column="adset_id"),
        LevelNoun(singular="campaign", plural="campaigns", name="campaign", id_column="campaign_id"),
    ),
    from_ads=True,
    also_new=", audiences or forms",
    form_changed="or a form that changed",
    levers="budgets, audiences",
    templates="forms",
    advice=Advice(title="Where to put money", best="put money on", worst="think twice about"),
)
"""The words of lead_ads, and the default wherever a bundle or a caller names no problem."""

_OUTREACH_LEVELS = (
    LevelNoun(singular="step", plural="steps", name="step", id_column="step_id"),
    LevelNoun(singular="template", plural="templates", name="template", id_column="template_id"),
    LevelNoun(singular="campaign", plural="campaigns", name="campaign", id_column="campaign_id"),
)

_ADVICE = Advice(
    title="Where value is expected",
    best="expect most of",
    worst="expect least of",
    reservation="This says who was enrolled where, not what a campaign causes; what to try is on the page of "
    "recommendations.",
)


def _moments(target: str, *, outcome: str, happen: str, rate: str, start: str = "it") -> Words:
    """The words of outreach: ``outcome`` is what a moment leads to, ``happen`` what enrollments do."""
    return Words(
        problem="outreach",
        target=target,
        row_noun=Noun(singular="moment", plural="moments"),
        row_meaning="A moment is an enrollment as it stood when it began, when a step went out or when a day had "
        "ended; an enrollment has several.",
        entity_noun=Noun(singular="enrollment", plural="enrollments"),
        entity_id="enrollment_id",
        created="reached",
        start=start,
        act="work",
        work="amount of work",
        exports="exports of enrollments and engagement logs are",
        id_in_exports="enrollment_id is that of the enrollments export",
        happen=f"end in a {outcome}",
        happens=f"ends in a {outcome}",
        happened=f"ended in a {outcome}",
        did_not=f"ended in no {outcome}",
        counts_as=f"one with a {outcome}",
        counts_not=f"one without a {outcome}",
        outcome=outcome,
        counted_as=f"{outcome}s",
        positive=Noun(singular=f"moment with a {outcome}", plural=f"moments with a {outcome}"),
        positives=f"moments with a {outcome}",
        effect=f"by the model such enrollments {happen} {{times}} times as often",
        rate=rate,
        value_name="Expected value",
        levels=_OUTREACH_LEVELS,
        from_ads=False,
        also_new=", steps, templates or sources of contacts",
        form_changed="or a step that changed",
        levers="steps, templates, sources of contacts",
        templates="templates",
        advice=_ADVICE,
    )


_KNOWN = (
    QUALIFIED_LEADS,
    _moments(
        "booked_call",
        outcome="booked call",
        happen="book a call",
        rate="booking rate",
        start="the enrollment's first engagement",
    ),
    _moments("qualified", outcome="qualification", happen="qualify", rate="qualification rate"),
    _moments("converted", outcome="conversion", happen="convert", rate="conversion rate"),
)
_FIRST_TARGETS = {"lead_ads": "qualified", "outreach": "booked_call"}


def words_of(problem: str, target: str = "") -> Words:
    """The words of a problem and a target.

    Args:
        problem: key of the problem.
        target: key of the target; empty for that of documents which were written before targets had names.

    Raises:
        ValueError: nobody has declared them.
    """
    wanted = target or _FIRST_TARGETS.get(problem, "")
    for words in _KNOWN:
        if (words.problem, words.target) == (problem, wanted):
            return words
    declared = ", ".join(f"{words.problem}/{words.target}" for words in _KNOWN)
    raise ValueError(f"no words for problem {problem!r} and target {target!r}; declared are {declared}")


def words_of_manifest(manifest: Mapping[str, Any]) -> Words:
    """The words of a run; one that was written before problems and targets had names is of lead_ads."""
    return words_of(str(manifest.get("problem") or "lead_ads"), str(manifest.get("target") or ""))
