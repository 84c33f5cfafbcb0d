from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import polars as pl
import pytest

from elv_pipeline.contracts.outputs import DRIFT
from elv_pipeline.monitoring.domain_classifier import domain_classifier, spread_sample
from elv_pipeline.publishing.pages.monitoring.content import can_be_called_out
from elv_pipeline_tests.monitoring.account import FEATURES, REFERENCE_DAYS, account, day

LEADS = account(21, days=REFERENCE_DAYS + 28)
BEFORE = LEADS.filter(pl.col("day") < day(REFERENCE_DAYS))
NOW = LEADS.filter(pl.col("day") >= day(REFERENCE_DAYS + 21))


def told(current: pl.DataFrame, reference: pl.DataFrame = BEFORE) -> dict[str, Any]:
    return domain_classifier(reference, current, FEATURES, stretch_days=7, comparisons=30)


def test_an_undrifted_account_is_not_at_a_half_and_still_no_alarm() -> None:
    """Weeks can be told apart because campaigns wander; a classifier that expects 0.5 would cry wolf."""
    found = told(NOW)
    assert found["effect"] > 0.6
    assert found["expected"] > 0.6
    assert not found["drifted"]
    DRIFT.validate(pl.DataFrame([found], schema=DRIFT.schema), place="drift")
    json.dumps(found, allow_nan=False)


def test_features_that_no_longer_move_together_are_found_and_named() -> None:
    """x3 keeps its distribution among all leads; what is lost is its bond with the count that is made of it."""
    mixed = NOW.with_columns(x3=pl.col("x3").shuffle(seed=1), count=pl.lit(2.0) * pl.col("x1").exp().floor())
    moved = NOW.with_columns(*(pl.col(f"x{number}") + 0.8 for number in range(4)))
    found = told(moved)
    assert found["drifted"]
    assert found["features"][0]["feature"] in ("x3", "x1", "x2", "x0", "count")
    assert found["low"] > found["expected"]
    assert found["money_at_stake"] > told(NOW)["money_at_stake"]
    assert told(mixed)["effect"] > told(NOW)["effect"]


def test_all_the_rows_of_a_sample_take_less_than_two_seconds() -> None:
    many = account(22, days=REFERENCE_DAYS)
    assert min(many.height, 4_000) + NOW.height > 4_300
    started = time.process_time()  # other processes of a busy machine do not count
    told(NOW, many)
    assert time.process_time() - started < 2


def test_what_cannot_be_compared_says_why() -> None:
    assert told(NOW.head(30))["note"] == "fewer than 40 rows"
    assert told(NOW.filter(pl.col("day") == NOW["day"].max()))["note"] == "fewer than two days"
    short = BEFORE.filter(pl.col("day") >= day(REFERENCE_DAYS - 21))
    assert "fewer than 4 stretches" in told(NOW, short)["note"]
    assert domain_classifier(BEFORE, NOW, [], stretch_days=7)["note"] == "no feature is steady enough to be compared"


def test_a_sample_spans_all_days_and_does_not_depend_on_the_order() -> None:
    sample = spread_sample(BEFORE, most=500)
    assert sample.height == 500
    assert sample["day"].n_unique() > 100
    assert spread_sample(BEFORE.sample(fraction=1, shuffle=True, seed=1), most=500).equals(sample)


def test_the_order_of_rows_changes_nothing_that_is_told() -> None:
    found, shuffled = told(NOW), told(NOW.sample(fraction=1, shuffle=True, seed=2))
    assert shuffled["effect"] == pytest.approx(found["effect"], abs=1e-9)
    assert [row["feature"] for row in shuffled["features"]] == [row["feature"] for row in found["features"]]
    assert np.isfinite(found["p_value"])


def test_weeks_that_differ_almost_entirely_leave_nothing_to_tell() -> None:
    """Each week its own campaigns: the classifier is made and shown, and says that it can hardly speak."""
    week = (pl.col("day") - pl.col("day").min()).dt.total_days() // 7
    apart = LEADS.with_columns((pl.col("x0") * 0.01 + week * 7919 % 101).alias("x0"))
    found = told(
        apart.filter(pl.col("day") >= day(REFERENCE_DAYS + 21)), apart.filter(pl.col("day") < day(REFERENCE_DAYS))
    )
    assert found["threshold"] > 0.95
    assert str(found["note"]).startswith("can hardly tell: weeks of the reference differ by a ROC-AUC of 0.")
    assert not can_be_called_out(found)
    usual = told(NOW)
    assert (usual["note"] is None) == (usual["threshold"] <= 0.95) == can_be_called_out(usual)
