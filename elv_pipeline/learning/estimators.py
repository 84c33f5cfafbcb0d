"""What an estimator is, and the two there are.

Belongs here: the interface and the choice. Does not belong here: an estimator (one a file: boosting, logistic) or the
calibration of its margin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from elv_pipeline.learning.boosting import BoostedTrees
from elv_pipeline.learning.logistic import PenalisedLogistic
from elv_pipeline.learning.spec import LearningSpec

FloatArray = npt.NDArray[np.float64]


class Estimator(Protocol):
    """Learns a raw margin (logit, not yet a calibrated probability) from named columns of a polars frame.

    ``encode`` and ``margin_of`` are the two halves of ``margin``; ``encoded_columns`` says which encoded columns
    belong to a feature, so that a feature can be permuted without touching the frame.
    """

    search: dict[str, Any]
    """How the settings were chosen, a JSON document: candidates, losses, chosen, why; empty before the fit."""

    def fit(self, table: pl.DataFrame, y: npt.NDArray[np.int8], weight: FloatArray | None = None) -> Self:
        """Fit on rows sorted by time; the frame holds the features and ``created_time``.

        ``weight`` is 1 for a certain label. A label that is only probable is two rows, y = 1 with weight q and y = 0
        with weight 1 - q: rows with weights below 1 are learned from, but no setting is judged on them.
        """

    def sibling(self) -> Self:
        """Return an unfitted estimator with the settings that a search chose here: folds do not search anew."""

    def margin(self, table: pl.DataFrame) -> FloatArray:
        """Return one raw margin per row."""

    def encode(self, table: pl.DataFrame) -> FloatArray:
        """Return the matrix that ``margin_of`` takes."""

    def margin_of(self, encoded: FloatArray) -> FloatArray:
        """Return one raw margin per encoded row."""

    def encoded_columns(self) -> Mapping[str, Sequence[int]]:
        """Return the encoded columns of each feature; features the model ignores are absent."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as a JSON document."""


def build_estimator(spec: LearningSpec) -> Estimator:
    """Return the unfitted estimator that the specification names.

    Raises:
        MissingExtraError: LightGBM cannot load its OpenMP runtime.
    """
    return PenalisedLogistic.of(spec) if spec.model_type == "logreg" else BoostedTrees.of(spec)


def estimator_from_dict(document: dict[str, Any]) -> Estimator:
    """Return the fitted estimator that ``to_dict`` described."""
    kinds: dict[str, Callable[[dict[str, Any]], Estimator]] = {
        BoostedTrees.kind: BoostedTrees.from_dict,
        PenalisedLogistic.kind: PenalisedLogistic.from_dict,
    }
    return kinds[document["kind"]](document)
