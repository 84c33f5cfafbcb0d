"""Findings of the leakage probes: from where on a figure is one, and what it says.

Belongs here: thresholds, codes, sentences and remedies. Does not belong here: measuring (``leakage.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elv_pipeline.learning.single_feature import Judged
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

ALONE, MISSING, LAGGED, OVERLAP, MODEL = (
    "predicts_too_well_alone",
    "missingness_predicts_outcome",
    "collapses_when_lagged",
    "entity_overlap",
    "model_predicts_too_well",
)


@dataclass(frozen=True, kw_only=True)
class LeakageRules:
    """From where on a figure is a finding.

    Attributes:
        alone_auc: ROC-AUC of one column alone.
        suspicious_auc: from here on a model or a column is good enough to ask why.
        share_of_model: a column alone that reaches this share of the model's excess over 0.5, from suspicious_auc on.
        missing_auc: ROC-AUC of the pattern of missing values.
        model_auc: ROC-AUC of the model.
        kept_when_lagged: what keeps this share of its separation with the previous lead's value is no leak of the lead.
        lost_when_lagged: share of a suspicious model's excess over 0.5 that hangs on one column's value of the lead.
        lost_of_suspicious: the same for a column that is suspicious alone.
        person_overlap: share of test rows whose person is among the training rows.
        words: what rows are called in the sentences.
    """

    alone_auc: float = 0.95
    suspicious_auc: float = 0.85
    share_of_model: float = 0.98
    missing_auc: float = 0.90
    model_auc: float = 0.97
    kept_when_lagged: float = 0.5
    lost_when_lagged: float = 0.5
    lost_of_suspicious: float = 0.25
    person_overlap: float = 0.10
    words: Words = QUALIFIED_LEADS


@dataclass(frozen=True, kw_only=True)
class LeakageFinding:
    """One finding: what was measured on which column (None: the rows or the model), and what to do."""

    code: str
    feature: str | None
    figure: float
    threshold: float
    sentence: str
    remedy: str


def too_good_alone(name: str, alone: Judged, *, auc: float, threshold: float, words: Words) -> LeakageFinding:
    """One column separates the outcomes as hardly any honest one does."""
    return LeakageFinding(
        code=ALONE,
        feature=name,
        figure=auc,
        threshold=threshold,
        sentence=f"{name} alone separates later outcomes with a ROC-AUC of {auc:.3f}{_lagged(alone, words)}; values "
        f"known at the prediction time hardly ever reach {threshold:.2f}.",
        remedy=_remedy(name),
    )


def missing_tells(name: str, missing: Judged, *, auc: float, threshold: float, words: Words) -> LeakageFinding:
    """Whether one column is empty tells the outcome."""
    return LeakageFinding(
        code=MISSING,
        feature=name,
        figure=auc,
        threshold=threshold,
        sentence=f"Whether {name} is empty tells later outcomes with a ROC-AUC of {auc:.3f}{_lagged(missing, words)}: "
        "it seems to be filled in because of the outcome.",
        remedy=_remedy(name),
    )


def missing_together_tells(pattern: Judged, *, auc: float, threshold: float, words: Words) -> LeakageFinding:
    """Which columns are empty tells the outcome, though none of them does alone."""
    return LeakageFinding(
        code=MISSING,
        feature=None,
        figure=auc,
        threshold=threshold,
        sentence=f"Which of the features are empty tells later outcomes with a ROC-AUC of {auc:.3f}"
        f"{_lagged(pattern, words)}, though none of them does alone.",
        remedy="Find the features that are filled in after the prediction time, by their definitions in the feature "
        "list, and leave them out.",
    )


def collapses(name: str, *, full: float, lagged: float, threshold: float, words: Words) -> LeakageFinding:
    """The model lives on one column's value of the very lead."""
    return LeakageFinding(
        code=LAGGED,
        feature=name,
        figure=(full - lagged) / (full - 0.5),
        threshold=threshold,
        sentence=f"With {name} of the previous {words.row} instead of the {words.row}'s own, the model's ROC-AUC falls "
        f"from {full:.3f} to {lagged:.3f}: much of an unusually good model hangs on this one value.",
        remedy=_remedy(name),
    )


def model_too_good(model: Judged, *, auc: float, threshold: float, words: Words) -> LeakageFinding:
    """The model as a whole separates the outcomes as no honest one does."""
    return LeakageFinding(
        code=MODEL,
        feature=None,
        figure=auc,
        threshold=threshold,
        sentence=f"The model separates later outcomes with a ROC-AUC of {auc:.3f}{_lagged(model, words)}; honest "
        "models of this kind lie far below.",
        remedy="Look through the most predictive features for values recorded after the prediction time.",
    )


def overlap(
    column: str, *, shared: int, rows: int, examples: Sequence[str], threshold: float, words: Words
) -> LeakageFinding:
    """Test rows share a key with training rows; the examples are ids of leads, never the key."""
    return LeakageFinding(
        code=OVERLAP,
        feature=column,
        figure=shared / rows,
        threshold=threshold,
        sentence=f"{shared} of {rows} test rows share their {column} with a training row ({words.rows} "
        f"{', '.join(examples)}): what was learned of them is judged on them.",
        remedy=f"Remove the repeated {words.rows} from the export."
        if column == "lead_id"
        else f"Keep one {words.row} a person, or judge the model on persons that training has not seen.",
    )


def _lagged(judged: Judged, words: Words) -> str:
    return "" if judged.lagged is None else f", but with the previous {words.row}'s value only of {judged.lagged:.3f}"


def _remedy(name: str) -> str:
    return (
        f"Find out when {name} is recorded. If after the prediction time, leave it out or take its value as of then; "
        "if it is truly known before, accept it in the configuration."
    )
