"""What a model's judged rows explain: grades and their evidence, insights, factors of the grades, partial dependence.

Belongs here: which rows and columns go into each, for the evidence of a candidate. Does not belong here: the measures
themselves (one a module).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from elv_pipeline.decisions.grades import GradeScale, grade_evidence, with_grades
from elv_pipeline.decisions.reasons import ReasonSpec
from elv_pipeline.learning.contributions import ExplanationReference, contribution_slices
from elv_pipeline.learning.fitting import labels
from elv_pipeline.learning.insights import InsightSpec, attribute_insights, spoken_words, top_factors
from elv_pipeline.learning.metrics import row_clusters
from elv_pipeline.learning.partial_dependence import main_features, partial_dependence
from elv_pipeline.learning.training import TrainingResult
from elv_pipeline.problems.feature_specs import FeatureColumn
from elv_pipeline.problems.reason_phrases import spoken_columns

P = "p"


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """Frames for people, all of the rows that judge the model.

    Attributes:
        scale: the frozen grades, for the model's metadata.
        grades: what became of each grade's leads.
        insights: rate by attribute value.
        factors: what moves the leads of each grade.
        partial_dependence: curves of the main features.
    """

    scale: GradeScale
    grades: pl.DataFrame
    insights: pl.DataFrame
    factors: pl.DataFrame
    partial_dependence: pl.DataFrame


def explanations(
    result: TrainingResult,
    test: pl.DataFrame,
    *,
    spec: ReasonSpec,
    columns: list[FeatureColumn],
    timezone: str,
    entity: str | None = None,
) -> Explanations:
    """Explain a trained model on the rows that judged it.

    Args:
        result: of the training.
        test: the labelled test rows with their features.
        spec: what may be said.
        columns: declarations of the features.
        timezone: in which days are counted.
        entity: id column of what a row is one of several of; None where each row stands for itself.
    """
    bundle, y = result.bundle, labels(test)
    p = bundle.predict(test)
    clusters = row_clusters(test, timezone=timezone, column=entity)
    scale = GradeScale.of(p, known_rate=float(bundle.metadata["base_rate"]))
    graded = with_grades(test.select("lead_id").with_columns(pl.Series(P, p)), scale=scale, probability_column=P)
    spoken = spoken_columns(spec.phrases, denied=spec.denied)
    main = main_features(result.importance, spoken=spoken)
    told = {
        column.name: column.definition
        for column in columns
        if column.name in spoken and (column.kind == "categorical" or column.name in main)
    }
    grouping = spec.grouping(bundle.schema.names)
    slices = contribution_slices(
        bundle,
        test,
        grouping=grouping,
        reference=ExplanationReference.from_dict(bundle.metadata["explanation"]),
    )
    words = {phrase.group: phrase.group_words for phrase in spec.phrases.values()}
    return Explanations(
        scale=scale,
        grades=grade_evidence(p, y, scale=scale, clusters=clusters, words=spec.words),
        insights=attribute_insights(test, y, attributes=told, spec=InsightSpec(denied=spec.denied), clusters=clusters),
        factors=top_factors(slices, graded["grade"], grouping=grouping, words=spoken_words(words, denied=spec.denied)),
        partial_dependence=partial_dependence(bundle, test, features=main),
    )
