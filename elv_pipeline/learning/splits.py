"""The time split of one training table: train, gap, calibration, test, young, score.

Belongs here: where the boundaries lie, why, and when there is too little evidence to draw them. Does not belong here:
labels (the table brings them) or fitting. Every boundary is a local midnight and every interval half open.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, overload

import polars as pl

from elv_pipeline.errors import TrainingRefusedError
from elv_pipeline.learning.folds import Fold, forward_folds
from elv_pipeline.learning.local_days import DayCounts, local_day, midnight_one_gap_before, next_midnight
from elv_pipeline.learning.spec import LearningSpec

Method = Literal["holdout", "out_of_fold"]
FEW_TEST_POSITIVES = 30


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """Boundaries of one split, all in UTC, ``*_from`` inclusive and ``*_until`` exclusive.

    ``method`` says where the calibrator's rows come from: ``holdout`` has a calibration slice of its own between two
    gaps, ``out_of_fold`` predicts stretches of the training rows by models fitted before them (``folds``).
    ``notes`` are sentences for people about every compromise.
    """

    origin: datetime
    train_from: datetime
    train_until: datetime
    calibration_from: datetime | None
    calibration_until: datetime | None
    test_from: datetime
    test_until: datetime
    method: Method
    folds: tuple[Fold, ...] = ()
    fold_gap_days: int | None = None
    notes: tuple[str, ...] = ()

    @overload
    def split_names(self, created_time: pl.Expr) -> pl.Expr: ...
    @overload
    def split_names(self, created_time: pl.Series) -> pl.Series: ...
    def split_names(self, created_time: pl.Expr | pl.Series) -> pl.Expr | pl.Series:
        """Name the split of each created time: train, gap, calibration, test, young or score.

        ``young`` lies between the test slice and the origin, its outcomes still open; ``score`` at or after the
        origin. Rows before ``train_from``, which have no label either, are ``gap``: nothing learns from them.
        """
        if isinstance(created_time, pl.Series):
            return created_time.to_frame("created_time").select(self.split_names(pl.col("created_time"))).to_series()
        train = created_time.is_between(self.train_from, self.train_until, closed="left")
        name = pl.when(train).then(pl.lit("train")).otherwise(pl.lit("gap"))
        if self.calibration_from is not None and self.calibration_until is not None:
            inside = created_time.is_between(self.calibration_from, self.calibration_until, closed="left")
            name = pl.when(inside).then(pl.lit("calibration")).otherwise(name)
        for start, later in ((self.test_from, "test"), (self.test_until, "young"), (self.origin, "score")):
            name = pl.when(created_time >= start).then(pl.lit(later)).otherwise(name)
        return name.alias("split")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document: moments as ISO strings."""
        return {
            field.name: _to_json(getattr(self, field.name))
            for field in fields(self)  # in the order of declaration, so that the document is stable
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> SplitPlan:
        """Read what ``to_dict`` wrote."""
        moments = ("origin", *(name for name in document if name.endswith(("_from", "_until"))))
        parsed = {name: value and datetime.fromisoformat(value) for name, value in document.items() if name in moments}
        folds = tuple(Fold.from_dict(fold) for fold in document["folds"])
        return cls(**{**document, **parsed, "folds": folds, "notes": tuple(document["notes"])})


def plan_split(table: pl.DataFrame, spec: LearningSpec, *, origin: datetime) -> SplitPlan:
    """Plan the time-ordered split of a training table as of an origin.

    The test slice is the latest ``test_fraction`` of the labelled rows; every development row is at least one outcome
    window older than it, so no outcome that shaped the model lies inside the time that judges it.

    Args:
        table: at least ``created_time`` (Datetime us UTC) and ``y`` (1, 0 or null where not mature).
        spec: the learning task.
        origin: the moment the model is trained as of, time zone aware.

    Raises:
        TrainingRefusedError: too few labelled rows or positives, or a slice without both classes.
        ValueError: the origin has no time zone.
    """
    if origin.tzinfo is None:
        raise ValueError(f"origin {origin.isoformat()} has no time zone; pass an aware datetime")
    origin = origin.astimezone(UTC)
    labelled, notes = _labelled_rows(table, spec, origin=origin)
    counts = DayCounts.of(labelled, timezone=spec.timezone)
    _require_evidence(counts, spec)
    test_until = _test_until(table, labelled, spec, origin=origin)
    test_from, until = _test_slice(counts, spec, test_until=test_until, notes=notes)
    development = counts.between(counts.starts[0], until)
    holdout = _holdout(development, spec, until=until, notes=notes)
    folds, gap_days = ((), None) if holdout else _folds(counts, development, spec, until=until, notes=notes)
    return SplitPlan(
        origin=origin,
        train_from=counts.starts[0],
        train_until=holdout[0] if holdout else until,
        calibration_from=holdout[1] if holdout else None,
        calibration_until=until if holdout else None,
        test_from=test_from,
        test_until=test_until,
        method="holdout" if holdout else "out_of_fold",
        folds=folds,
        fold_gap_days=gap_days,
        notes=tuple(notes),
    )


def _labelled_rows(table: pl.DataFrame, spec: LearningSpec, *, origin: datetime) -> tuple[pl.DataFrame, list[str]]:
    """Return the mature labelled rows; a label younger than the window is left out here, whatever the table says."""
    labelled = table.lazy().select("created_time", "y").filter(pl.col("y").is_not_null()).collect()
    window = pl.duration(days=spec.outcome_window_days)
    mature = labelled.filter(pl.col("created_time") + window <= origin)
    young = labelled.height - mature.height
    if not young:
        return mature, []
    note = f"{young} labelled rows were left out: their outcome window of {spec.outcome_window_days} days was still "
    return mature, [note + f"open at the origin {origin.isoformat()}."]


def _test_until(table: pl.DataFrame, labelled: pl.DataFrame, spec: LearningSpec, *, origin: datetime) -> datetime:
    """Return the midnight after the last labelled row, or earlier where that day is only partly mature.

    An origin inside a day leaves the later leads of the last day without a label; called "test" they would be counted
    among rows that nobody could judge.
    """
    last: datetime = labelled.select(pl.col("created_time").max()).item()
    until = min(next_midnight(last, timezone=spec.timezone), origin)
    created = pl.col("created_time")
    open_rows = table.lazy().select("created_time").filter((created > last) & (created < until)).collect()
    if open_rows.is_empty():
        return until
    first_open: datetime = open_rows.select(created.min()).item()
    return first_open.astimezone(UTC)


def _test_slice(
    counts: DayCounts, spec: LearningSpec, *, test_until: datetime, notes: list[str]
) -> tuple[datetime, datetime]:
    """Return the start of the test slice and the end of the development rows; refuse where either lacks a class."""
    test_from = counts.start_of_tail(spec.test_fraction)
    if test_from is None:
        _refuse(counts, spec, "all lie on one local day, so no later rows are left to judge the model")
    test = counts.between(test_from, test_until)
    first_day = local_day(test_from, timezone=spec.timezone)
    if not test.has_both_classes:
        ids = f"{spec.words.row} ids"
        stopped = "" if test.positive_count else f"; outcomes seem to have stopped: check their export and its {ids}"
        _refuse(counts, spec, f"the test slice from {first_day} holds {_described(test)}; it needs both{stopped}")
    if test.positive_count < FEW_TEST_POSITIVES:
        notes.append(f"The test slice holds only {test.positive_count} positives: read the intervals, not the values.")
    until = midnight_one_gap_before(test_from, gap_days=spec.outcome_window_days, timezone=spec.timezone)
    development = counts.between(counts.starts[0], until)
    if not development.has_both_classes:
        _refuse(
            counts,
            spec,
            f"the rows more than the outcome window of {spec.outcome_window_days} days before the test slice "
            f"(from {first_day}) hold {_described(development)}; training needs both",
        )
    return test_from, until


def _holdout(
    development: DayCounts, spec: LearningSpec, *, until: datetime, notes: list[str]
) -> tuple[datetime, datetime] | None:
    """Return (train_until, calibration_from) where the latest development rows can calibrate alone, else None."""
    calibration_from = development.start_of_tail(spec.calibration_fraction)
    calibration = development.between(calibration_from, until) if calibration_from else None
    if calibration_from is None or calibration is None or calibration.positive_count < spec.min_calibration_positives:
        held = calibration.positive_count if calibration else 0
        notes.append(
            f"A calibration slice would hold {held} positives, fewer than the {spec.min_calibration_positives} of "
            "model.min_calibration_positives: the calibrator is fitted out of fold in time."
        )
        return None
    train_until = midnight_one_gap_before(calibration_from, gap_days=spec.outcome_window_days, timezone=spec.timezone)
    train = development.between(development.starts[0], train_until)
    enough = train.row_count >= spec.min_labelled_rows and train.positive_count >= spec.min_positives
    if not (enough and train.has_both_classes and calibration.negative_count):
        notes.append(
            f"A second gap of {spec.outcome_window_days} days would leave {_described(train)} to train on: "
            "the calibrator is fitted out of fold in time."
        )
        return None
    return train_until, calibration_from


def _folds(
    counts: DayCounts, development: DayCounts, spec: LearningSpec, *, until: datetime, notes: list[str]
) -> tuple[tuple[Fold, ...], int]:
    window = spec.outcome_window_days
    folds, gap_days = forward_folds(development, until=until, window_days=window, timezone=spec.timezone)
    if not folds:
        _refuse(
            counts,
            spec,
            f"the development rows ({_described(development)} on {len(development.starts)} days) cannot be cut into "
            "an earlier part to fit and a later part to calibrate, each with both classes",
        )
    if gap_days < window:
        notes.append(
            f"The development period is too short for a gap of {window} days before each calibration fold; the gap "
            f"is {gap_days} days, so outcomes of the rows just before a fold overlap it. The test slice keeps its "
            "full gap."
        )
    return folds, gap_days


def _require_evidence(counts: DayCounts, spec: LearningSpec) -> None:
    if counts.row_count < spec.min_labelled_rows or counts.positive_count < spec.min_positives:
        _refuse(counts, spec, "that is too little to learn from and to judge by")


def _refuse(counts: DayCounts, spec: LearningSpec, reason: str) -> NoReturn:
    first_day = local_day(counts.starts[0], timezone=spec.timezone) if counts.starts else None
    period = f" from {first_day} on over {len(counts.starts)} days with {spec.words.rows}" if first_day else ""
    raise TrainingRefusedError(
        f"training of {spec.target} refused: {counts.row_count} labelled (mature) rows with {counts.positive_count} "
        f"positives{period}; {reason}. Required: at least {spec.min_labelled_rows} labelled rows "
        f"(model.min_labelled_rows) and {spec.min_positives} positives (model.min_positives), in train and test both "
        f"classes, one outcome window of {spec.outcome_window_days} days apart. Bring a longer history, or lower "
        "these keys knowing that the estimates get less reliable"
    )


def _described(counts: DayCounts) -> str:
    return f"{counts.row_count} rows, {counts.positive_count} positives and {counts.negative_count} negatives"


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [item.to_dict() if isinstance(item, Fold) else item for item in value]
    return value
