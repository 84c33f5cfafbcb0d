"""The declaration of one learning task, frozen.

Belongs here: what a training run may be told, with its own plausibility rules. Does not belong here: reading it from
a configuration file (settings does that) or anything computed from data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from elv_pipeline.errors import ConfigError

ModelType = Literal["lgbm", "logreg"]


@dataclass(frozen=True, kw_only=True)
class LearningSpec:
    """What to learn from which columns, and how much evidence that takes.

    Attributes:
        target: name of the label, for people and for the check that a model fits a configuration.
        outcome_window_days: how long after its prediction time an outcome counts; also every gap of the split.
        feature_lag_days: days between the last activity day used and the prediction day; recorded, not applied here.
        numeric_features: numeric columns, in the order the model sees them.
        categorical_features: text columns, in the order the model sees them.
        model_type: ``lgbm`` (gradient-boosted trees) or ``logreg`` (penalised logistic regression).
        timezone: where a day begins and ends; split boundaries are midnights there.
        seed: of the bootstrap, the permutations and the trees' subsampling.
        min_labelled_rows: fewer mature rows than this and training is refused.
        min_positives: fewer positive rows than this and training is refused.
        test_fraction: share of the labelled rows, the latest, that judge the model.
        calibration_fraction: share of the development rows, the latest, that calibrate it.
        min_calibration_positives: below this the calibrator is fitted out of fold instead of on a slice of its own.
        segment_column: whose shrunk rate is the ``campaign_rate`` baseline; None makes that baseline the overall rate.
        segment_error_columns: segments whose sums of probabilities will be read, so their error is measured.
        segment_error_days: days that such a sum covers.
        bootstrap_samples: resamples behind every interval.
        threads: threads for fitting trees; the result does not depend on it.
    """

    target: str
    outcome_window_days: int
    feature_lag_days: int
    numeric_features: tuple[str, ...]
    categorical_features: tuple[str, ...]
    model_type: ModelType
    timezone: str
    seed: int = 7
    min_labelled_rows: int = 200
    min_positives: int = 30
    test_fraction: float = 0.2
    calibration_fraction: float = 0.2
    min_calibration_positives: int = 100
    segment_column: str | None = "campaign_id"
    segment_error_columns: tuple[str, ...] = ("campaign_id", "adset_id")
    segment_error_days: int = 28
    bootstrap_samples: int = 300
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse a declaration that no data could satisfy."""
        self._require(self.model_type in get_args(ModelType), "model_type", "one of lgbm, logreg")
        self._require(self.outcome_window_days >= 1, "outcome_window_days", "at least 1")
        self._require(self.feature_lag_days >= 0, "feature_lag_days", "at least 0")
        self._require(0 < self.test_fraction < 1, "test_fraction", "between 0 and 1")
        self._require(0 < self.calibration_fraction < 1, "calibration_fraction", "between 0 and 1")
        self._require(self.bootstrap_samples >= 1, "bootstrap_samples", "at least 1")
        self._require(self.segment_error_days >= 1, "segment_error_days", "at least 1")
        self._require(self.threads >= 1, "threads", "at least 1")
        self._require(len(self.features) > 0, "numeric_features", "not empty where categorical_features is empty too")
        repeated = sorted({name for name in self.features if self.features.count(name) > 1})
        if repeated:
            raise ConfigError(f"learning features: {', '.join(repeated)} is listed twice; list each feature once")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigError(
                f"timezone is {self.timezone!r}; it must be an IANA name such as UTC or Europe/Berlin. Fix timezone"
            ) from error

    @property
    def features(self) -> tuple[str, ...]:
        """All feature columns: the numeric ones first, then the categorical ones."""
        return self.numeric_features + self.categorical_features

    def _require(self, condition: bool, name: str, rule: str) -> None:
        if not condition:
            raise ConfigError(f"model.{name} is {getattr(self, name)!r}; it must be {rule}. Change model.{name}")
