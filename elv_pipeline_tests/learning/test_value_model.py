from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError, ContractError, MissingExtraError
from elv_pipeline.learning import value_model
from elv_pipeline.learning.value_model import ConstantValue, ValueSpec, fit_value_model, value_model_from_dict
from elv_pipeline.learning.value_segments import SegmentValue
from elv_pipeline.learning.value_trees import TwoPartValue

START = datetime(2026, 1, 1, tzinfo=UTC)
FloatArray = npt.NDArray[np.float64]


def make_spec(**changes: Any) -> ValueSpec:
    settings: dict[str, Any] = {
        "allow": "learned",
        "constant": 40.0,
        "timezone": "UTC",
        "outcome_window_days": 14,
        "numeric_features": ("size", "noise"),
        "categorical_features": ("kind",),
    }
    return ValueSpec(**(settings | changes))


def outcomes(
    *,
    rows: int = 1_200,
    signal: float = 0.0,
    sigma: float = 1.0,
    zeros: float = 0.2,
    between: float = 0.3,
    seed: int = 1,
) -> tuple[pl.DataFrame, FloatArray, FloatArray]:
    """Won leads over 200 days: table, realised values (zeros, lognormal tail), true expected values."""
    rng = np.random.default_rng(seed)
    segment = rng.gamma(1 / between**2, between**2, 10) if between else np.ones(10)
    campaign = rng.integers(0, 10, rows)
    size, kind = rng.normal(size=rows), rng.integers(0, 3, rows)
    worth = 1 / (1 + np.exp(-(np.log((1 - zeros) / zeros) + signal * (kind - 1)))) if zeros else np.ones(rows)
    mean = 200 * segment[campaign] * np.exp(signal * size - signal**2 / 2)
    values = (rng.random(rows) < worth) * mean * rng.lognormal(-(sigma**2) / 2, sigma, rows)
    table = pl.DataFrame(
        {
            "lead_id": [f"l{index:05d}" for index in range(rows)],
            "created_time": [START + timedelta(minutes=int(m)) for m in rng.integers(0, 200 * 1440, rows)],
            "campaign_id": [f"c{index}" for index in campaign],
            "adset_id": [f"c{c}a{a}" for c, a in zip(campaign, rng.integers(0, 3, rows), strict=True)],
            "size": size,
            "noise": rng.normal(size=rows),
            "kind": [("a", "b", "c")[index] for index in kind],
        },
        schema_overrides={"created_time": pl.Datetime("us", "UTC")},
    )
    return table, values, worth * mean


def error(predicted: FloatArray, truth: FloatArray) -> float:
    return float(np.mean((predicted - truth) ** 2))


def test_a_learned_value_is_chosen_where_leads_differ_and_comes_closer_to_the_truth() -> None:
    table, values, _ = outcomes(signal=0.7)
    fit = fit_value_model(table, values, make_spec())
    assert isinstance(fit.model, TwoPartValue)
    assert fit.report["chosen"].startswith("learned_")
    later, _, truth = outcomes(signal=0.7, rows=4_000)  # of the same campaigns
    segments = SegmentValue.fit(table, values, columns=("campaign_id", "adset_id"))
    assert error(fit.model.predict(later), truth) < 0.7 * error(segments.predict(later), truth)
    assert fit.model.predict(later).sum() == pytest.approx(truth.sum(), rel=0.12)


def test_without_signal_the_learned_value_is_not_used_and_segments_stay() -> None:
    chosen = [fit_value_model(*outcomes(signal=0.0, seed=seed)[:2], make_spec()).report["chosen"] for seed in range(4)]
    assert chosen.count("segment") >= 3, chosen


def test_without_anything_to_tell_the_choice_hardly_moves_the_value() -> None:
    table, values, truth = outcomes(between=0.0, zeros=0.0)
    fit = fit_value_model(table, values, make_spec())
    assert np.ptp(fit.model.predict(table)) < 0.25 * truth.mean()


def test_the_report_tells_the_evidence_and_is_json() -> None:
    table, values, _ = outcomes()
    report = json.loads(json.dumps(fit_value_model(table, values, make_spec()).report))
    assert {"mean", "segment", "learned_25_trees", "learned_75_trees", "learned_200_trees"} == {
        candidate["name"] for candidate in report["candidates"]
    }
    segment = next(candidate for candidate in report["candidates"] if candidate["name"] == "segment")
    assert segment["difference"] == 0.0
    assert 0.7 < segment["total_ratio"] < 1.4
    assert report["zero_share"] == pytest.approx(0.2, abs=0.05)
    assert 0.5 < report["spread"] < 5
    assert "Outcomes are valued" in report["sentence"]


def test_too_few_values_or_no_permission_leave_the_constant() -> None:
    table, values, _ = outcomes(rows=60)
    few = fit_value_model(table.head(20), values[:20], make_spec())
    assert few.model == ConstantValue(value=40.0)
    assert "20 realised values are known" in few.report["sentence"]
    unknown = fit_value_model(table, np.full(60, np.nan), make_spec())
    assert (unknown.report["known_values"], unknown.report["outcomes"]) == (0, 60)
    zero = fit_value_model(table, np.zeros(60), make_spec())
    assert zero.report["chosen"] == "constant"
    asked = fit_value_model(table, values, make_spec(allow="constant"))
    assert asked.model.predict(table).tolist() == [40.0] * 60
    segments = fit_value_model(table, values, make_spec())
    assert segments.report["chosen"] in ("segment", "mean")
    assert "takes 300 values above 0" in segments.report["sentence"]


def test_rows_without_a_value_and_the_order_of_rows_change_nothing() -> None:
    table, values, _ = outcomes(signal=0.7, rows=900)
    fit = fit_value_model(table, values, make_spec())
    stray = table.head(50).with_columns(lead_id=pl.col("lead_id") + "x")
    more, padded = pl.concat([table, stray]), np.r_[values, np.full(50, np.nan)]
    order = np.random.default_rng(1).permutation(more.height)
    again = fit_value_model(more[order], padded[order], make_spec())
    assert again.model.to_dict() == fit.model.to_dict()
    assert again.report["candidates"] == fit.report["candidates"]


@pytest.mark.parametrize("signal", [0.0, 0.7])
def test_a_fitted_state_is_json_and_predicts_the_same(signal: float) -> None:
    table, values, _ = outcomes(signal=signal)
    model = fit_value_model(table, values, make_spec()).model
    restored = value_model_from_dict(json.loads(json.dumps(model.to_dict(), sort_keys=True)))
    unseen = table.head(50).with_columns(campaign_id=pl.lit("new"), kind=pl.lit("new"), size=pl.lit(None, pl.Float64))
    for rows in (table, unseen, table.head(0)):
        assert (restored.predict(rows) == model.predict(rows)).all()
    assert (model.predict(unseen) > 0).all()


def test_one_huge_order_neither_chooses_the_model_nor_moves_one_segment() -> None:
    table, values, _ = outcomes()
    huge = values.copy()
    huge[int(np.argmax(table["created_time"].to_numpy()))] = 500 * values.mean()
    calm, shaken = (fit_value_model(table, realised, make_spec()) for realised in (values, huge))
    assert calm.report["chosen"] == shaken.report["chosen"]
    ratio = shaken.model.predict(table) / calm.model.predict(table)
    assert ratio.max() / ratio.min() < 1.2
    assert shaken.report["share_above_cap"] > 0.25


def test_wrong_values_and_specifications_are_refused() -> None:
    table, values, _ = outcomes(rows=60)
    with pytest.raises(ContractError, match="negative or infinite"):
        fit_value_model(table, -values - 1, make_spec())
    with pytest.raises(ConfigError, match="it must be one of"):
        make_spec(allow="magic")
    with pytest.raises(ConfigError, match="a number above 0"):
        make_spec(constant=0.0)


def test_without_the_runtime_of_the_trees_segments_are_used_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtraError("LightGBM cannot load its OpenMP runtime")

    monkeypatch.setattr(value_model, "load_lightgbm", missing)
    table, values, _ = outcomes(signal=0.7)
    report = fit_value_model(table, values, make_spec()).report
    assert report["chosen"] in ("segment", "mean")
    assert "OpenMP" in report["sentence"]
