"""Why a lead scores as it does: up to three reasons in plain words, up and down.

Belongs here: which contributions become reasons, and their sentences. Does not belong here: the contributions
(``learning/contributions.py``), the phrases (``problems/reason_phrases.py``) or what is said of a value
(``reason_words.py``).

A reason says what the model went by, not what causes an outcome. It begins with "raises:" or "lowers:" and not with a
sign, because a spreadsheet runs a cell that begins with + or - as a formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.decisions.reason_words import Facts
from elv_pipeline.learning.bundle import ModelBundle
from elv_pipeline.learning.contributions import (
    ContributionSlice,
    ExplanationReference,
    Grouping,
    contribution_slices,
)
from elv_pipeline.problems.phrases import ReasonPhrase
from elv_pipeline.problems.reason_phrases import spoken_columns
from elv_pipeline.problems.sensitive import SENSITIVE
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReasonSpec:
    """What may be said, and from when on.

    Attributes:
        phrases: phrases by feature column; a column without one is never spoken of.
        denied: words that keep a column, a group or a value out.
        count: how many reasons a lead gets at most.
        min_share: share of all absolute contributions that a group needs.
        min_margin: absolute contribution that a group needs; 0.02 changes the odds by 2 %.
        currency: shown after amounts of money.
        words: what the problem calls its rows.
    """

    phrases: Mapping[str, ReasonPhrase]
    denied: tuple[str, ...] = SENSITIVE
    count: int = 3
    min_share: float = 0.05
    min_margin: float = 0.02
    currency: str = ""
    words: Words = QUALIFIED_LEADS

    def grouping(self, features: Sequence[str]) -> Grouping:
        """Group a model's features as their phrases do."""
        return Grouping.of(features, {column: phrase.group for column, phrase in self.phrases.items()})


@dataclass(frozen=True)
class _Chosen:
    """Some reasons: the row each belongs to, its place among the row's reasons, and the column that speaks for it.

    ``contradicts`` where that column would say the contrary of what its measure means to everybody.
    """

    row: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    contribution: FloatArray
    contradicts: npt.NDArray[np.bool_]


def reasons(
    bundle: ModelBundle, table: pl.DataFrame, *, reference: ExplanationReference, spec: ReasonSpec
) -> pl.DataFrame:
    """Return the reasons of every lead.

    Args:
        bundle: the model that scores.
        table: ``lead_id`` and the model's features.
        reference: what is usual, frozen with the model.
        spec: what may be said.

    Returns:
        ``lead_id, reason_1, reason_2, ...`` in the order of the rows; the strongest reason first. A group of features
        that adds less than the spec asks for is no reason: the column is null then. Nor is one whose sentence would
        contradict its measure, as "lowers: qualified more often than usual"; the next one takes its place.
    """
    grouping = spec.grouping(bundle.schema.names)
    spoken = _spoken(bundle.schema.names, spec)
    # Slice by slice: a million leads' sentences as Python objects would take more memory than their scores.
    parts = [
        _columns(
            _choose(
                part, grouping=grouping, spoken=spoken, spec=spec, sides=_sides(part, bundle, table, reference, spec)
            ),
            part,
            bundle,
            table,
            reference,
            spec,
        )
        for part in contribution_slices(bundle, table, grouping=grouping, reference=reference)
    ]
    names = [f"reason_{place + 1}" for place in range(spec.count)]
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String()))
    return pl.concat([table.select("lead_id"), pl.concat([empty, *parts])], how="horizontal")


def explanation(
    bundle: ModelBundle, lead: pl.DataFrame, *, reference: ExplanationReference, spec: ReasonSpec
) -> pl.DataFrame:
    """Return everything that adds to one lead's score, strongest first.

    Args:
        bundle: the model.
        lead: one row with ``lead_id`` and the features.
        reference: what is usual.
        spec: what may be said; its thresholds do not apply here.

    Returns:
        ``group, words, contribution, reason``; the contributions sum to the lead's margin. The row ``average`` is the
        average lead's margin; ``not_shown`` sums up what must not, or cannot, be spoken of. A group whose sentence
        would contradict its measure stands without reason.
    """
    grouping, spoken = spec.grouping(bundle.schema.names), _spoken(bundle.schema.names, spec)
    (part,) = contribution_slices(bundle, lead.head(1), grouping=grouping, reference=reference)
    tiny = float(np.finfo(np.float64).tiny)  # what adds nothing at all is not listed
    every = replace(spec, count=len(grouping.groups), min_share=0.0, min_margin=tiny)
    sides = _sides(part, bundle, lead.head(1), reference, spec)
    chosen = _choose(part, grouping=grouping, spoken=spoken, spec=every, sides=sides, with_contradictions=True)
    said = _sentences(chosen, bundle, lead, reference, spec, base=part.base)
    words = {phrase.group: phrase.group_words for phrase in spec.phrases.values()}
    keys = [grouping.groups[group] for group in chosen.group]
    rest = float(part.features[0, ~spoken].sum())
    rows = [
        ("average", f"the average {spec.words.row}", part.base, None),
        *zip(
            keys,
            [words[key] for key in keys],
            chosen.contribution.tolist(),
            [None if mute else text for text, mute in zip(said, chosen.contradicts, strict=True)],
            strict=True,
        ),
        ("not_shown", "what is not shown", rest, None),
    ]
    schema = {"group": pl.String, "words": pl.String, "contribution": pl.Float64, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _spoken(features: Sequence[str], spec: ReasonSpec) -> npt.NDArray[np.bool_]:
    allowed = spoken_columns(spec.phrases, denied=spec.denied)
    return np.array([feature in allowed for feature in features], dtype=bool)


def _sides(
    part: ContributionSlice,
    bundle: ModelBundle,
    table: pl.DataFrame,
    reference: ExplanationReference,
    spec: ReasonSpec,
) -> npt.NDArray[np.int8]:
    """For each row and feature 1 where the value is better than usual by its meaning, -1 where worse, else 0."""
    rows = table.slice(part.first_row, len(part.groups))
    sides = np.zeros(part.features.shape, dtype=np.int8)
    for place, name in enumerate(bundle.schema.names):
        phrase, quartiles = spec.phrases.get(name), reference.quartiles.get(name)
        if phrase is None or quartiles is None or not phrase.higher_is_better:
            continue
        values = rows[name].cast(pl.Float64).to_numpy()  # null becomes NaN, which is on neither side
        sides[:, place] = np.where(values > quartiles[2], 1, np.where(values < quartiles[0], -1, 0))
    return sides


def _choose(
    part: ContributionSlice,
    *,
    grouping: Grouping,
    spoken: npt.NDArray[np.bool_],
    spec: ReasonSpec,
    sides: npt.NDArray[np.int8],
    with_contradictions: bool = False,
) -> _Chosen:
    """Take each row's strongest groups; ties go to the group whose key comes first."""
    # Without the unspoken columns, so that a group speaks for what may be said of it, and for nothing else.
    features = part.features if spoken.all() else np.where(spoken, part.features, 0.0)
    groups = part.groups if spoken.all() else grouping.summed(features)
    contradicts = _contradictions(features, groups, grouping=grouping, sides=sides)
    size = np.abs(groups) if with_contradictions else np.where(contradicts, 0.0, np.abs(groups))
    least = np.maximum(spec.min_share * np.abs(part.groups).sum(axis=1), spec.min_margin)
    order = np.argsort(-size, axis=1, kind="stable")[:, : spec.count]
    row, place = np.nonzero(np.take_along_axis(size, order, axis=1) >= least[:, None])
    group = order[row, place]
    contribution = groups[row, group]
    feature = np.zeros(len(row), dtype=np.int64)
    for key in np.unique(group):
        mine, members = np.flatnonzero(group == key), np.flatnonzero(grouping.group_of == key)
        cells, direction = np.ix_(row[mine], members), np.sign(contribution[mine])[:, None]
        # Of the columns that say nothing contrary; where all do, the reason is not said anyway.
        signed = np.where(sides[cells] * direction < 0, -np.inf, features[cells] * direction)
        feature[mine] = members[np.argmax(signed, axis=1)]
    return _Chosen(row + part.first_row, place, group, feature, contribution, contradicts[row, group])


def _contradictions(
    features: FloatArray, groups: FloatArray, *, grouping: Grouping, sides: npt.NDArray[np.int8]
) -> npt.NDArray[np.bool_]:
    """For each row and group whether every column that moves the lead in the group's direction says the contrary."""
    contradicts = np.zeros(groups.shape, dtype=np.bool_)
    for group in np.unique(grouping.group_of[sides.any(axis=0)]):
        members = np.flatnonzero(grouping.group_of == group)
        direction = np.sign(groups[:, group])[:, None]
        moves = features[:, members] * direction > 0
        contradicts[:, group] = moves.any(axis=1) & ~(moves & (sides[:, members] * direction >= 0)).any(axis=1)
    return contradicts


def _columns(
    chosen: _Chosen,
    part: ContributionSlice,
    bundle: ModelBundle,
    table: pl.DataFrame,
    reference: ExplanationReference,
    spec: ReasonSpec,
) -> pl.DataFrame:
    texts = np.full((len(part.groups), spec.count), None, dtype=object)
    said = _sentences(chosen, bundle, table, reference, spec, base=part.base)
    texts[chosen.row - part.first_row, chosen.place] = said
    return pl.DataFrame(
        {f"reason_{place + 1}": pl.Series(texts[:, place].tolist(), dtype=pl.String) for place in range(spec.count)}
    )


def _sentences(
    chosen: _Chosen,
    bundle: ModelBundle,
    table: pl.DataFrame,
    reference: ExplanationReference,
    spec: ReasonSpec,
    *,
    base: float,
) -> list[str]:
    texts, features = np.empty(len(chosen.row), dtype=object), bundle.schema.names
    effects = _effects(chosen.contribution, bundle, spec, base=base)
    for feature in np.unique(chosen.feature):
        phrase = spec.phrases[features[feature]]
        mine = np.flatnonzero(chosen.feature == feature)
        rows = pl.Series(chosen.row[mine])
        count = phrase.companion if phrase.companion in table.columns else None
        say = Facts.of(phrase, reference=reference, denied=spec.denied, currency=spec.currency)
        facts = say.all(
            table[phrase.column].gather(rows).to_list(), None if count is None else table[count].gather(rows).to_list()
        )
        signs = np.where(chosen.contribution[mine] > 0, "raises: ", "lowers: ")
        texts[mine] = [f"{sign}{fact}{effects[at]}" for sign, fact, at in zip(signs, facts, mine, strict=True)]
    return [str(text) for text in texts]


def _effects(contribution: FloatArray, bundle: ModelBundle, spec: ReasonSpec, *, base: float) -> list[str]:
    """How often the outcome comes with each contribution alone, against the average row, where the problem tells it."""
    if not spec.words.effect or not len(contribution):
        return [""] * len(contribution)
    usual, moved = bundle.calibrator.predict(np.array([base])), bundle.calibrator.predict(base + contribution)
    ratios = np.divide(moved, usual[0], out=np.ones(len(moved)), where=usual[0] > 0)
    return [f"; {spec.words.effect.format(times=said)}" if (said := _times(ratio)) else "" for ratio in ratios]


def _times(ratio: float) -> str:
    """A factor as people say it; empty where rounding leaves nothing to say."""
    shown = f"{ratio:.2f}" if ratio < 0.095 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:,.0f}"
    return "" if shown == "1.0" else shown
