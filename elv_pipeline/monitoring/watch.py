"""The watch of a day: every comparison with the reference, sharing one chance of a false alarm.

Belongs here: which comparisons a day has and their order. Does not belong here: the measures, alerts or reading rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from elv_pipeline.monitoring.domain_classifier import domain_classifier
from elv_pipeline.monitoring.drift import drift, steady_columns
from elv_pipeline.monitoring.missing_values import missing_and_new, number_of_comparisons
from elv_pipeline.monitoring.prevalence import prevalence

KINDS = ("score", "prevalence", "domain", "feature", "missing", "new_level")
"""In this order, the ones that concern money first."""
DOMAIN_COLUMNS = 40
"""Features that the domain classifier looks at."""


@dataclass(frozen=True, kw_only=True)
class References:
    """What a day is compared with.

    Attributes:
        drift: ``drift.reference_of`` of main features and score.
        missing: ``missing_values.missing_reference`` of all features; empty for a model made before it was kept.
        kinds: ``score`` for the score's own column.
        rows: rows that the model learned from, for the domain classifier; None where they are not at hand.
        stretch_days: how many days are compared at a time.
    """

    drift: Mapping[str, Any]
    missing: Mapping[str, Any]
    kinds: Mapping[str, str]
    rows: pl.DataFrame | None
    stretch_days: int


def watch(
    references: References, current: pl.DataFrame, *, matured: pl.DataFrame | None, features: Sequence[str]
) -> list[dict[str, Any]]:
    """Compare a day's rows with everything that is known of the model's past.

    Args:
        references: what they are compared with.
        current: feature rows of the days up to this one with the score and ``elv``.
        matured: rows of ``realised_performance.judgeable`` of the weeks that matured last; None without outcomes.
        features: the model's features.

    Returns:
        Rows of ``DRIFT`` as dictionaries (``domain`` and ``prevalence`` have keys of their own beside them); all
        comparisons of the day together raise a false alarm on one day in a hundred at most.
    """
    comparisons = len(references.drift) + number_of_comparisons(references.missing)
    comparisons += (matured is not None) + (references.rows is not None)
    found = drift(references.drift, current, kinds=references.kinds, comparisons=comparisons)
    found += missing_and_new(references.missing, current, comparisons=comparisons)
    if matured is not None:
        found.append(prevalence(matured, comparisons=comparisons))
    if references.rows is not None:
        columns = _telling_columns(references, [name for name in features if name in current.columns])
        found.append(
            domain_classifier(
                references.rows, current, columns, stretch_days=references.stretch_days, comparisons=comparisons
            )
        )
    return sorted(found, key=lambda row: KINDS.index(row["kind"]))


def _telling_columns(references: References, features: Sequence[str]) -> list[str]:
    """Steady features, the main ones first: more columns cost time and drown the few that tell."""
    steady = steady_columns(features)
    main = [name for name in steady if name in references.drift]
    return [*main, *(name for name in steady if name not in references.drift)][:DOMAIN_COLUMNS]
