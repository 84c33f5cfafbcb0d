from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.backtest import OriginRows, backtest, own_rows
from elv_pipeline_tests.learning.learning_data import make_spec

FIRST = datetime(2025, 1, 6, tzinfo=UTC)
SPEC = make_spec(value_per_outcome=50.0, bootstrap_samples=60)


def origin_rows(week: int, *, rows: int = 600, skill: float = 1.0, shift: float = 0.0, seed: int = 0) -> OriginRows:
    """Leads of the four weeks after an origin; the model sees the truth with some skill, and a shift of its logit."""
    generator = np.random.default_rng((week, seed))
    moment = FIRST + timedelta(weeks=week)
    logit = generator.normal(-2, 1, rows)
    y = (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    created = [moment + timedelta(days=28 * index / rows) for index in range(rows)]
    frame = pl.DataFrame(
        {"lead_id": [f"{week}-{index}" for index in range(rows)], "created_time": created, "y": y},
        schema_overrides={"created_time": pl.Datetime("us", "UTC")},
    )
    model = 1 / (1 + np.exp(-(-2 + skill * (logit + 2) + shift)))
    return OriginRows(
        origin=moment.date(),
        moment=moment,
        version=str(week),
        rows=frame,
        predictions={"model": model, "constant": np.full(rows, 0.15)},
        worth=np.full(rows, 50.0),
        realised=50.0 * y,
        reference_rate=0.15,
        waiting=3,
    )


def test_each_lead_is_pooled_once_by_the_newest_model_before_it() -> None:
    origins = [origin_rows(week) for week in (0, 1, 4)]
    kept = {found.version: int(mine.sum()) for found, mine in own_rows(origins)}
    assert kept == {"0": 150, "1": 450, "4": 600}
    document = backtest(origins, SPEC, refused={})
    assert document["pooled"]["test"]["rows"] == 1_200


def test_the_document_says_what_was_promised_and_what_came() -> None:
    origins = [origin_rows(week, shift=0.7) for week in (0, 4, 8)]
    document = json.loads(json.dumps(backtest(origins, SPEC, refused={date(2024, 12, 30): "too few"}), allow_nan=False))
    for entry, found in zip(document["origins"], origins, strict=True):
        assert entry["calibration"]["observed"] == found.rows["y"].sum()
        assert entry["calibration"]["expected"] == pytest.approx(found.predictions["model"].sum())
        assert entry["value"]["realised"] == 50 * found.rows["y"].sum()
        assert entry["waiting"] == 3
    assert document["pooled"]["calibration"]["ratio_high"] < 1
    assert document["refused"] == [{"origin": "2024-12-30", "reason": "too few"}]
    assert "1 refused" in document["sentence"]


def test_wins_are_counted_in_the_direction_of_each_metric() -> None:
    wins = backtest([origin_rows(week, rows=1_500) for week in (0, 4, 8)], SPEC, refused={})["wins"]["constant"]
    assert wins["log_loss"] == {"origins": 3, "better": 3, "surely_better": 3}
    assert wins["pr_auc"]["surely_better"] == 3
    losing = backtest([origin_rows(week, skill=-1.0) for week in (0, 4)], SPEC, refused={})["wins"]["constant"]
    assert losing["log_loss"]["better"] == 0


def test_a_spread_beyond_chance_is_told_from_one_within_it() -> None:
    same = backtest([origin_rows(4 * week) for week in range(6)], SPEC, refused={})["stability"]["roc_auc"]
    mixed = [origin_rows(4 * week, skill=1.0 if week % 2 else -1.0) for week in range(6)]
    moving = backtest(mixed, SPEC, refused={})["stability"]["roc_auc"]
    assert same["p_value"] > 0.05
    assert moving["p_value"] < 1e-6
    assert moving["excess_share"] > 0.9 > same["excess_share"]
    assert same["least"] <= same["mean"] <= same["most"]


def test_an_origin_with_hardly_an_outcome_is_listed_without_figures() -> None:
    empty = origin_rows(8)
    none = OriginRows(
        origin=empty.origin,
        moment=empty.moment,
        version="8",
        rows=empty.rows.clear(),
        predictions={name: p[:0] for name, p in empty.predictions.items()},
        worth=np.empty(0),
        realised=np.empty(0),
        reference_rate=0.15,
        waiting=600,
    )
    document = backtest([origin_rows(0), none], SPEC, refused={})
    assert document["origins"][1]["models"] is None
    assert document["pooled"]["test"]["rows"] == 600
    alone = backtest([none], SPEC, refused={})
    assert alone["pooled"] is None
    assert "no matured leads" in alone["sentence"]
