"""The declaration of one learning task, frozen.

Belongs here: what a training run may be told, with its own plausibility rules. Does not belong here: reading it from
a configuration file (settings does that) or anything computed from data.
"""

from __future__ import annotations

import difflib
import fnmatch
from dataclasses import dataclass
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from elv_pipeline.errors import ConfigError
from elv_pipeline.problems.words import QUALIFIED_LEADS, Words

ValueChoice = Literal["constant", "segment", "learned"]
ModelType = Literal["auto", "lgbm", "logreg"]
MOST_CANDIDATES = 50


@dataclass(frozen=True, kw_only=True)
class LearningSpec:
    """What to learn from which columns, and how much evidence that takes.

    Attributes:
        target: name of the label, for people and for the check that a model fits a configuration.
        outcome_window_days: how long after its prediction time an outcome counts; also every gap of the split.
        feature_lag_days: days between the last activity day used and the prediction day; recorded, not applied here.
        numeric_features: numeric columns, in the order the model sees them.
        categorical_features: text columns, in the order the model sees them.
        model_type: ``lgbm`` (gradient-boosted trees), ``logreg`` (penalised logistic regression), or ``auto``: the one
            that does better on later calibration rows.
        timezone: where a day begins and ends; split boundaries are midnights there.
        seed: of the bootstrap, the permutations and the trees' subsampling.
        min_labelled_rows: fewer mature rows than this and training is refused.
        min_positives: fewer positive rows than this and training is refused.
        test_fraction: share of the labelled rows, the latest, that judge the model.
        calibration_fraction: share of the development rows, the latest, that calibrate it.
        min_calibration_positives: below this the calibrator is fitted out of fold instead of on a slice of its own.
        segment_column: whose shrunk rate is the ``campaign_rate`` baseline; None makes that baseline the overall rate.
        spend_column: spend of the segment in the ``spend_days`` before the lead, for the ``cost_per_lead`` baseline.
        spend_days: length of that window.
        rule: a rule of the user's to beat: an SQL expression over the features, the higher the better.
        accepted_leaks: features that a leakage probe may find, because they are known in time.
        calibration_columns: segments in which calibration is judged on its own.
        value_per_outcome: what one outcome is worth, in the configured currency, where nothing is learned about it.
        value_model: the richest way in which realised values may be used: ``constant``, ``segment`` or ``learned``.
        segment_error_columns: segments whose sums of probabilities will be read, so their error is measured.
        entity_columns: ids of what rows belong to; a leakage probe replaces a value by that of the row before it there.
        cluster_column: entity of which a row is one of several; these are resampled together. None: rows of a day are.
        value_segment_columns: nested segments whose mean values may be learned, the parent first.
        segment_error_days: days that such a sum covers.
        bootstrap_samples: resamples behind every interval.
        threads: threads for fitting trees; the result does not depend on it.
        search_candidates: settings of the trees to try beside the defaults, at most so many and two more fits; 0 for
            none.
        monotone: (numeric feature or pattern such as ``*_ctr_*``, +1 or -1): the margin may only rise or only fall
            with it.
        words: what rows and their outcome are called in sentences.
        learn_from_young: leads whose outcome window is still open take part with soft labels.
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
    spend_column: str | None = None
    spend_days: int = 28
    rule: str | None = None
    accepted_leaks: tuple[str, ...] = ()
    calibration_columns: tuple[str, ...] = ("campaign_id",)
    value_per_outcome: float = 1.0
    value_model: ValueChoice = "learned"
    segment_error_columns: tuple[str, ...] = ("campaign_id", "adset_id")
    entity_columns: tuple[str, ...] = ("campaign_id", "adset_id", "ad_id")
    cluster_column: str | None = None
    value_segment_columns: tuple[str, ...] = ("campaign_id", "adset_id")
    segment_error_days: int = 28
    bootstrap_samples: int = 300
    threads: int = 1
    search_candidates: int = 8
    monotone: tuple[tuple[str, int], ...] = ()
    learn_from_young: bool = False
    words: Words = QUALIFIED_LEADS

    def __post_init__(self) -> None:
        """Refuse a declaration that no data could satisfy."""
        self._require(self.model_type in get_args(ModelType), "model_type", "one of auto, lgbm, logreg")
        self._require(self.outcome_window_days >= 1, "outcome_window_days", "at least 1")
        self._require(self.feature_lag_days >= 0, "feature_lag_days", "at least 0")
        self._require(0 < self.test_fraction < 1, "test_fraction", "between 0 and 1")
        self._require(0 < self.calibration_fraction < 1, "calibration_fraction", "between 0 and 1")
        self._require(self.bootstrap_samples >= 1, "bootstrap_samples", "at least 1")
        self._require(self.segment_error_days >= 1, "segment_error_days", "at least 1")
        self._require(self.threads >= 1, "threads", "at least 1")
        self._require(0 <= self.search_candidates <= MOST_CANDIDATES, "search_candidates", f"0 to {MOST_CANDIDATES}")
        self._require(len(self.features) > 0, "numeric_features", "not empty where categorical_features is empty too")
        repeated = sorted({name for name in self.features if self.features.count(name) > 1})
        if repeated:
            raise ConfigError(f"learning features: {', '.join(repeated)} is listed twice; list each feature once")
        self._require_directions()
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

    @property
    def directions(self) -> dict[str, int]:
        """+1 or -1 of each feature that ``monotone`` names, in the order of the features."""
        found = {name: sign for pattern, sign in self.monotone for name in fnmatch.filter(self.features, pattern)}
        return {name: found[name] for name in self.features if name in found}

    def _require_directions(self) -> None:
        """Refuse a direction of nothing, of a text, and two directions of the same feature."""
        signs: dict[str, int] = {}
        for pattern, sign in self.monotone:
            entry = f"model.monotone is {pattern}: {sign}; "
            if sign not in (-1, 1):
                raise ConfigError(entry + "the direction must be 1 (rises) or -1 (falls). Change it")
            matched = fnmatch.filter(self.features, pattern)
            if not matched:
                close = ", ".join(difflib.get_close_matches(pattern, self.numeric_features)) or "none is similar"
                raise ConfigError(
                    entry + f"the name or pattern must fit a numeric feature (similar: {close}). Correct or remove it"
                )
            for name in matched:
                if name in self.categorical_features:
                    raise ConfigError(entry + f"{name} is text and has no direction. Name numeric features only")
                if signs.setdefault(name, sign) != sign:
                    raise ConfigError(entry + f"{name} is given the other direction, too. Keep one of the two")

    def _require(self, condition: bool, name: str, rule: str) -> None:
        if not condition:
            raise ConfigError(f"model.{name} is {getattr(self, name)!r}; it must be {rule}. Change model.{name}")
