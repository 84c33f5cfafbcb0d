"""What each feature column of a problem says in plain words, and which columns speak together as one group.

Belongs here: whose phrases a problem speaks with, and which columns may be spoken of. Does not belong here: the phrases
(``phrases_lead_ads.py``, ``phrases_outreach.py``), which reason a row gets (``decisions/reasons.py``), any number of a
row, or what must never be spoken of (``sensitive.py``).

A phrase states a fact ("the campaign had many clicks over 7 days"), never a cause: a model shows what it went by.
Nothing here names a person, an id or a free text, so a reason cannot carry one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from elv_pipeline.problems import phrases_lead_ads, phrases_outreach
from elv_pipeline.problems.feature_specs import Level
from elv_pipeline.problems.phrases import ReasonPhrase
from elv_pipeline.problems.sensitive import SENSITIVE, is_sensitive
from elv_pipeline.problems.spec import FeatureSpec, ScoringProblem

PHRASES: Mapping[str, Callable[[FeatureSpec, Sequence[Level]], list[ReasonPhrase]]] = {
    "lead_ads": phrases_lead_ads.phrases_of,
    "outreach": phrases_outreach.phrases_of,
}
"""By problem; a column without a phrase is never spoken of."""


def reason_phrases(problem: ScoringProblem) -> dict[str, ReasonPhrase]:
    """Phrases of every column that the problem can declare, optional enrichments included, by column."""
    phrases_of = PHRASES[problem.name]
    found = [phrase for feature in problem.features for phrase in phrases_of(feature, problem.levels)]
    return {phrase.column: phrase for phrase in found}


def spoken_columns(phrases: Mapping[str, ReasonPhrase], *, denied: Sequence[str] = SENSITIVE) -> frozenset[str]:
    """Columns that may be spoken of: those with a phrase, neither they nor their group denied."""
    return frozenset(
        column for column, phrase in phrases.items() if not is_sensitive(column, phrase.group, denied=denied)
    )
