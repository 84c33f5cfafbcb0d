"""Leakage probes of every training: does a column know what nobody could know at the prediction time?

Belongs here: which probes run, on which rows. Does not belong here: how single columns are judged
(``single_feature.py``), thresholds and sentences (``leakage_findings.py``) or what a gate makes of a finding
(``decisions/``).

A column that knows the future gives itself away in two ways: it is too good alone, and its goodness belongs to the
single lead. What is honestly known of a lead's campaign, such as spend or its rate so far, is nearly the same for the
previous lead of that campaign; replaced by it, it stays useful. A value that came from the lead's own outcome becomes
worthless. A finding needs both, so a campaign that is plain junk is no finding, and neither is an hour of the day with
a modest effect. What no probe of this kind can see: a leak that is the same for all leads of a campaign, and a weak
one. An honest answer in a form that all but decides the outcome looks like a leak: name it in ``accepted``.

See Kaufman, Rosset, Perlich and Stitelman, Leakage in data mining, ACM TKDD 2012; Kapoor and Narayanan, Leakage and
the reproducibility crisis in machine-learning-based science, Patterns 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.leakage_findings import (
    MISSING,
    LeakageFinding,
    LeakageRules,
    collapses,
    missing_tells,
    missing_together_tells,
    model_too_good,
    overlap,
    too_good_alone,
)
from elv_pipeline.learning.single_feature import (
    Judged,
    ProbeRows,
    levels_of_column,
    placements,
    roc_auc,
    surely_above,
)

FloatArray = npt.NDArray[np.float64]
Predict = Callable[[pl.DataFrame], FloatArray]

ENTITY_COLUMNS = ("campaign_id", "adset_id", "ad_id")
MOST_LAGGED_FEATURES = 10
MOST_LAGGED_ROWS = 1_500
LEAST_PATTERN_ROWS = 20
MARGIN = 0.10  # an AUC counts where it surely lies above its threshold less this: few positives can look perfect


@dataclass(frozen=True, kw_only=True)
class LeakageReport:
    """What the probes found.

    Attributes:
        findings: none means that no probe found a leak, not that there is none.
        accepted: findings that the configuration vouches for.
        probes: a row a feature: ``feature``, ``auc_alone``, ``auc_alone_lagged``, ``kept_when_lagged``,
            ``auc_missing``, ``model_auc_lagged`` (null where the feature matters too little to be lagged), most
            predictive alone first.
        summary: ``probed`` (False: too few outcomes), ``features``, ``train_rows``, ``test_rows``, ``model_auc``,
            ``sentence``.
    """

    findings: tuple[LeakageFinding, ...]
    accepted: tuple[LeakageFinding, ...]
    probes: pl.DataFrame
    summary: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON document, with the ten features that predict best alone."""
        return {
            **self.summary,
            "findings": [asdict(finding) for finding in self.findings],
            "accepted": [asdict(finding) for finding in self.accepted],
            "most_predictive": self.probes.head(10).to_dicts(),
        }


def leakage_probes(
    labelled: pl.DataFrame,
    p_test: FloatArray,
    *,
    features: Sequence[str],
    predict: Predict,
    importance: pl.DataFrame,
    entity_columns: Sequence[str] = ENTITY_COLUMNS,
    person_columns: Sequence[str] = (),
    accepted: Collection[str] = (),
    rules: LeakageRules | None = None,
) -> LeakageReport:
    """Probe the columns, the rows and the model of a training run.

    Args:
        labelled: the rows with outcomes: ``lead_id``, ``created_time``, ``split`` (train, calibration, test, other),
            ``y``, the features, and the entity and person columns where known. Row order does not matter, except
            that ``p_test`` follows that of the test rows.
        p_test: the model's probabilities of the test rows.
        features: columns the model learns from.
        predict: the model: probabilities of rows with the feature columns.
        importance: ``feature`` and ``importance`` of the model; the first ten with a positive one are lagged.
        entity_columns: whose previous lead a value is replaced from; a column must lose its worth for each of them.
        person_columns: ids of persons, such as a hashed address; values are never shown.
        accepted: columns that the configuration vouches for, or codes of findings.
        rules: from where on a figure is a finding.
    """
    limits = rules or LeakageRules()
    findings = _overlaps(labelled, person_columns, limits)
    labelled, p_test = _by_time(labelled, p_test)
    rows = ProbeRows.of(labelled, entity_columns=entity_columns)
    if not rows.enough:
        return _report(findings, accepted, _frame([]), rows, model_auc=None, features=0)
    model = _model_alone(rows, p_test[rows.test_rows])
    probes = {name: _probe(rows, name) for name in features}
    for probe in probes.values():
        findings += _single(probe, model, rows, limits)
    if not any(finding.code == MISSING for finding in findings):
        findings += _pattern([probe.empty for probe in probes.values() if probe.empty.any()], rows, limits)
    lagged = {name: _lagged(rows, name, p_test, predict) for name in _to_lag(importance, features)}
    named = {finding.feature for finding in findings}
    for name in (name for name in lagged if name not in named):
        findings += _collapsed(probes[name], lagged[name], rows, limits)
    if auc := _beyond(model, limits.model_auc, rows, limits):
        findings.append(model_too_good(model, auc=auc, threshold=limits.model_auc, words=limits.words))
    lines = [(*probe.figures, lagged[name].auc if name in lagged else None) for name, probe in probes.items()]
    return _report(findings, accepted, _frame(lines), rows, model_auc=model.auc, features=len(features))


@dataclass(frozen=True)
class _Probe:
    feature: str
    alone: Judged
    missing: Judged
    empty: npt.NDArray[np.bool_]

    @property
    def figures(self) -> tuple[str, float | None, float | None, float | None, float | None]:
        return self.feature, self.alone.auc, self.alone.lagged, self.alone.kept, self.missing.auc


@dataclass(frozen=True)
class _Lagged:
    """ROC-AUC of the model on some rows, with one column lagged, and the placements that both came from."""

    full: float | None = None
    auc: float | None = None
    placed: tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]] | None = None

    def lost_surely(self, share: float) -> bool:
        """Whether more than this share of the excess over 0.5 is lost, with 95 % confidence, one-sided."""
        if self.placed is None or self.full is None or self.auc is None:
            return False
        (full_hits, full_misses), (hits, misses) = self.placed
        beyond = (1 - share) * self.full - self.auc + share / 2
        parts = ((1 - share) * full_hits - hits, (1 - share) * full_misses - misses)
        error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
        return beyond > 1.6449 * error


def _by_time(labelled: pl.DataFrame, p_test: FloatArray) -> tuple[pl.DataFrame, FloatArray]:
    """Put rows in order of time: the previous lead must be the earlier one."""
    is_test = (labelled["split"] == "test").to_numpy()
    p = np.full(labelled.height, np.nan)
    p[is_test] = p_test
    ordered = labelled.with_columns(pl.Series("p_of_test_rows", p)).sort("created_time", "lead_id")
    in_test = ordered.filter(pl.col("split") == "test")
    return ordered.drop("p_of_test_rows"), in_test["p_of_test_rows"].to_numpy()


def _probe(rows: ProbeRows, name: str) -> _Probe:
    codes, missing = levels_of_column(rows.table[name], rows.train)
    pattern = rows.judge(missing.astype(np.int64)) if missing.any() else Judged(None)
    return _Probe(name, rows.judge(codes), pattern, missing)


def _model_alone(rows: ProbeRows, p: FloatArray) -> Judged:
    score = np.full(len(rows.y), np.nan)
    score[rows.test] = p
    return rows.judge_scores(score)


def _beyond(judged: Judged, threshold: float, rows: ProbeRows, limits: LeakageRules) -> float | None:
    """Return the AUC where it is at least the threshold, surely not far below, and gone when lagged; else None."""
    if judged.auc is None or judged.auc < threshold:
        return None
    positives = int(rows.y[rows.test].sum())
    sure = surely_above(judged.auc, threshold - MARGIN, positives=positives, negatives=len(rows.test) - positives)
    gone = judged.kept is None or judged.kept < limits.kept_when_lagged
    return judged.auc if sure and gone else None


def _single(probe: _Probe, model: Judged, rows: ProbeRows, limits: LeakageRules) -> list[LeakageFinding]:
    """Judge one column: where it is empty first, because that says more about the cause."""
    if auc := _beyond(probe.missing, limits.missing_auc, rows, limits):
        return [missing_tells(probe.feature, probe.missing, auc=auc, threshold=limits.missing_auc, words=limits.words)]
    threshold = limits.alone_auc
    if model.auc is not None and model.auc >= limits.suspicious_auc:
        as_good_as_the_model = 0.5 + limits.share_of_model * (model.auc - 0.5)
        threshold = min(threshold, max(limits.suspicious_auc, as_good_as_the_model))
    if auc := _beyond(probe.alone, threshold, rows, limits):
        return [too_good_alone(probe.feature, probe.alone, auc=auc, threshold=threshold, words=limits.words)]
    return []


def _pattern(masks: list[npt.NDArray[np.bool_]], rows: ProbeRows, limits: LeakageRules) -> list[LeakageFinding]:
    """Judge which features are missing together, where no single one tells."""
    if len(masks) < 2:
        return []
    packed = np.ascontiguousarray(np.packbits(np.column_stack(masks), axis=1))
    codes = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_inverse=True)[1].astype(np.int64)
    judged = rows.judge(codes, least_rows=LEAST_PATTERN_ROWS)
    auc = _beyond(judged, limits.missing_auc, rows, limits)
    return [missing_together_tells(judged, auc=auc, threshold=limits.missing_auc, words=limits.words)] if auc else []


def _to_lag(importance: pl.DataFrame, features: Sequence[str]) -> list[str]:
    matters = importance.filter((pl.col("importance") > 0) & pl.col("feature").is_in(list(features)))
    ordered = matters.sort(["importance", "feature"], descending=[True, False])
    return ordered["feature"].head(MOST_LAGGED_FEATURES).to_list()


def _lagged(rows: ProbeRows, name: str, p_test: FloatArray, predict: Predict) -> _Lagged:
    """Judge the model with one column taken from the entity's previous lead; of the entities, where it keeps most.

    All positives and as many negatives as fit are used: ROC-AUC does not depend on their proportion.
    """
    best = _Lagged()
    for earlier in rows.earlier.values():
        chosen = _chosen(rows.y[rows.test], earlier >= 0)
        y = rows.y[rows.test][chosen]
        if min(y.sum(), len(y) - y.sum()) < 10:
            continue
        table = rows.table[rows.test[chosen]].with_columns(rows.table[name][earlier[chosen]])
        now, before = p_test[rows.test_rows[chosen]], predict(table)
        found = _Lagged(roc_auc(y, now), roc_auc(y, before), (placements(y, now), placements(y, before)))
        if best.auc is None or best.full is None or _kept(found) > _kept(best):
            best = found
    return best


def _kept(found: _Lagged) -> float:
    return ((found.auc or 0.5) - 0.5) / max((found.full or 0.5) - 0.5, 1e-9)


def _chosen(y: npt.NDArray[np.int8], usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    parts = []
    for outcome, most in ((1, MOST_LAGGED_ROWS // 2), (0, MOST_LAGGED_ROWS)):
        rows = np.flatnonzero(usable & (y == outcome))
        parts.append(rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), min(len(rows), most)).astype(np.int64))])
    return np.sort(np.concatenate(parts))


def _collapsed(probe: _Probe, lagged: _Lagged, rows: ProbeRows, limits: LeakageRules) -> list[LeakageFinding]:
    """Judge a column that the model leans on; honest attributes of the lead cost a model something when lagged, too."""
    if lagged.full is None or lagged.auc is None or lagged.full < limits.suspicious_auc:
        return []
    threshold = limits.lost_when_lagged
    if _beyond(probe.alone, limits.suspicious_auc, rows, limits):
        threshold = limits.lost_of_suspicious
    if not lagged.lost_surely(threshold):
        return []
    return [collapses(probe.feature, full=lagged.full, lagged=lagged.auc, threshold=threshold, words=limits.words)]


def _overlaps(labelled: pl.DataFrame, person_columns: Sequence[str], limits: LeakageRules) -> list[LeakageFinding]:
    known = labelled.filter(pl.col("split").is_in(["train", "calibration"]))
    test = labelled.filter(pl.col("split") == "test")
    findings = []
    for column, threshold in (("lead_id", 0.0), *((name, limits.person_overlap) for name in person_columns)):
        if column not in labelled.columns or test.is_empty():
            continue
        shared = test.filter(pl.col(column).is_in(known[column].drop_nulls().unique().implode()))
        if shared.height <= threshold * test.height:
            continue
        examples = shared["lead_id"].cast(pl.String).unique().sort().head(3).to_list()
        count, rows = shared.height, test.height
        findings.append(
            overlap(column, shared=count, rows=rows, examples=examples, threshold=threshold, words=limits.words)
        )
    return findings


def _frame(lines: Sequence[tuple[str | float | None, ...]]) -> pl.DataFrame:
    names = ("auc_alone", "auc_alone_lagged", "kept_when_lagged", "auc_missing", "model_auc_lagged")
    schema = {"feature": pl.String, **dict.fromkeys(names, pl.Float64)}
    frame = pl.DataFrame(lines, schema=schema, orient="row")
    return frame.sort(["auc_alone", "feature"], descending=[True, False], nulls_last=True)


def _report(
    findings: list[LeakageFinding],
    accepted: Collection[str],
    probes: pl.DataFrame,
    rows: ProbeRows,
    *,
    model_auc: float | None,
    features: int,
) -> LeakageReport:
    vouched = [finding for finding in findings if finding.feature in accepted or finding.code in accepted]
    open_findings = tuple(finding for finding in findings if finding not in vouched)
    if open_findings:
        count = (
            "One leakage finding" if len(open_findings) == 1 else f"{len(open_findings)} leakage findings, the first"
        )
        sentence = f"{count}: {open_findings[0].sentence}"
    elif rows.enough:
        sentence = f"No probe found a leak in {features} features."
    else:
        sentence = "Too few later outcomes to probe the features for leaks."
    return LeakageReport(
        findings=open_findings,
        accepted=tuple(vouched),
        probes=probes,
        summary={
            "probed": rows.enough,
            "features": features,
            "train_rows": len(rows.train),
            "test_rows": len(rows.test),
            "model_auc": model_auc,
            "sentence": sentence,
        },
    )
