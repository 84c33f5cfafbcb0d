"""Typed models of what is learned, what it is compared with, and what it must show before it scores.

Belongs here: training, proof and promotion. Does not belong here: doing any of it (``learning/``, ``decisions/``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from elv_pipeline.settings_base import Strict


class ModelSettings(Strict):
    """What is trained and when training is refused.

    ``value_model`` is the richest way in which realised values of outcomes may be used; without any, every outcome is
    worth ``value_per_qualified``.
    Where outcomes are too rare for training, the refusal says which outcome window up to ``widest_window_days`` would
    have enough. ``monotone`` maps a numeric feature, or a pattern such as ``*_ctr_*``, to 1 (the score may only rise
    with it) or -1.
    """

    model_type: Literal["auto", "lgbm", "logreg"] = "auto"
    seed: int = Field(default=7, ge=0)
    min_labelled_rows: int = Field(default=200, ge=1)
    min_positives: int = Field(default=30, ge=1)
    min_calibration_positives: int = Field(default=100, ge=1)
    test_fraction: float = Field(default=0.2, gt=0, lt=0.9)
    calibration_fraction: float = Field(default=0.2, gt=0, lt=0.9)
    training_window_days: int = Field(default=730, ge=1)
    bootstrap_samples: int = Field(default=300, ge=50, le=10_000)
    threads: int = Field(default=2, ge=1)
    search_candidates: int = Field(default=8, ge=0, le=50)
    monotone: dict[str, Literal[-1, 1]] = Field(default_factory=dict)
    learn_from_young: bool = False
    value_model: Literal["constant", "segment", "learned"] = "learned"
    widest_window_days: int = Field(default=42, ge=1, le=365)


class Proof(Strict):
    """What a model is compared with, beyond the baselines that every model has.

    ``rule`` is a rule of your own to beat: an SQL expression over the feature columns, the higher the better.
    ``accepted_leaks`` are feature columns that look like the future to the leakage probes and are known in time.
    """

    rule: str | None = Field(default=None, min_length=1)
    accepted_leaks: tuple[str, ...] = ()


BaselineName = Literal["constant", "campaign_rate", "cost_per_lead", "logistic_regression", "rule"]


class AbsoluteGates(Strict):
    """Gates that know neither the champion nor the baselines; off unless ``enabled``.

    The calibration error may reach ``max_calibration_mae``, and only ``max_calibration_mae_high_volume`` where the
    model is judged on ``high_volume_rows`` or more.
    """

    enabled: bool = False
    min_roc_auc: float = Field(default=0.70, ge=0.5, lt=1)
    min_lift_at_10pct: float = Field(default=2.0, ge=0)
    max_calibration_mae: float = Field(default=0.10, gt=0, le=1)
    max_calibration_mae_high_volume: float = Field(default=0.05, gt=0, le=1)
    high_volume_rows: int = Field(default=10_000, ge=1)


class Promotion(Strict):
    """What a candidate must show before it scores. A gate set to null is off.

    With ``evidence: point`` a figure itself must meet its threshold; with ``interval`` the unfavourable end of its
    95 % interval must. Whether a person must agree where ``require_approval`` is null depends on the environment
    (``PipelineConfig.asks_for_approval``).
    """

    require_approval: bool | None = None
    require_ready: bool = False
    evidence: Literal["point", "interval"] = "point"
    baseline: BaselineName = "campaign_rate"
    min_pr_auc_gain: float | None = Field(default=0.05, ge=-1)
    max_brier_increase: float | None = Field(default=None, ge=-1)
    min_lift_at_10pct: float | None = Field(default=None, gt=0)
    max_champion_log_loss: float | None = Field(default=0.01, ge=0)
    max_calibration_error: float | None = Field(default=0.4, gt=0)
    max_miscalibrated_share: float | None = Field(default=0.2, ge=0, le=1)
    min_test_positives: int | None = Field(default=10, ge=1)
    forbid_leaks: bool = True
    absolute: AbsoluteGates = AbsoluteGates()
