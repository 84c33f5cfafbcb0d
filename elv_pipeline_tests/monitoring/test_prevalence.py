from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit

from elv_pipeline.contracts.outputs import DRIFT
from elv_pipeline.monitoring.prevalence import calibration, calibration_drift, prevalence


def matured(
    seed: int, *, level: float = 0.0, slope: float = 1.0, days: int = 28, per_day: int = 60, quality: float = 0.2
) -> pl.DataFrame:
    """Leads whose outcomes need this level and slope; campaigns differ by a quality that the model does not know."""
    generator = np.random.default_rng(seed)
    rows = days * per_day
    campaign = generator.choice(12, rows, p=np.arange(12, 0, -1) / 78)
    day = np.repeat(np.arange(days), per_day)
    margin = -2.3 + 0.8 * generator.normal(size=rows)
    own = quality * generator.normal(size=12)[campaign] + quality / 2 * generator.normal(size=days)[day]
    chance = expit(level + slope * (margin + 2.3) - 2.3 + own)
    return pl.DataFrame(
        {
            "p": expit(margin),
            "y": (generator.random(rows) < chance).astype(np.int8),
            "day": pl.Series(day).cast(pl.Int32).cast(pl.Date),
            "campaign_id": [f"c{number}" for number in campaign],
            "value": 50.0,
        }
    )


def test_promises_that_are_kept_raise_hardly_any_alarm_though_campaigns_differ() -> None:
    found = [prevalence(matured(seed), comparisons=20) for seed in range(150)]
    assert sum(row["drifted"] for row in found) <= 1
    assert sum(row["p_value"] < 0.05 for row in found) <= 20
    assert sum(row["ratio_low"] <= 1 <= row["ratio_high"] for row in found) >= 130


def test_outcomes_that_halve_are_caught_in_four_weeks() -> None:
    assert sum(prevalence(matured(seed, level=-0.75), comparisons=20)["drifted"] for seed in range(40)) >= 32


def test_the_shortfall_is_told_in_money_and_fits_the_contract() -> None:
    row = prevalence(matured(1, level=-0.75))
    missing = (row["expected"] - row["observed"]) * row["rows_current"] * 50
    assert row["money_at_stake"] == pytest.approx(missing, abs=0.01)
    assert row["ratio"] == pytest.approx(row["observed"] / row["expected"])
    DRIFT.validate(pl.DataFrame([row], schema=DRIFT.schema), place="drift")


def test_the_threshold_is_where_the_verdict_turns() -> None:
    rows = [prevalence(matured(seed, level=level)) for seed in range(10) for level in (-0.9, -0.5, 0.0, 0.5)]
    below = [row for row in rows if row["ratio"] > 1]
    assert below
    assert {row["drifted"] for row in rows} == {True, False}
    assert all(row["drifted"] == (row["effect"] > row["threshold"]) for row in below)


def test_leads_without_a_label_and_few_expected_outcomes_say_nothing() -> None:
    rows = matured(1)
    young = rows.with_columns(y=pl.when(pl.col("p") > 0.1).then("y"))
    assert prevalence(young)["rows_current"] == rows.filter(pl.col("p") > 0.1).height
    assert prevalence(rows.head(20))["note"] == "fewer than 5 outcomes expected"
    assert calibration(rows.filter(pl.col("y") == 0)) is None


def test_recalibration_finds_the_planted_line() -> None:
    rows = matured(5, level=0.4, slope=0.6, per_day=2_000, quality=0.0)
    line = calibration(rows)
    assert line is not None
    assert line["slope"] == pytest.approx(0.6, abs=3 * line["slope_error"])
    assert line["intercept"] == pytest.approx(0.4 - 2.3 + 0.6 * 2.3, abs=0.06)
    assert line["p_value"] < 1e-6
    right = calibration(rows.with_columns(p=pl.Series(expit(line["intercept"] + line["slope"] * logit(rows["p"])))))
    assert right is not None
    assert right["slope"] == pytest.approx(1, abs=1e-3)
    assert right["level"] == pytest.approx(0, abs=1e-3)
    assert right["p_value"] > 0.99


def test_the_errors_of_the_line_cover_what_happens() -> None:
    lines = [calibration(matured(seed)) for seed in range(100)]
    inside = [abs(line["slope"] - 1) <= 2.2 * line["slope_error"] for line in lines if line]
    assert len(inside) == 100
    assert sum(inside) >= 88


def test_calibration_drift_is_told_from_chance() -> None:
    training = calibration(matured(100, days=36))
    same = [calibration_drift(training, calibration(matured(seed)), chance=0.0005)["drifted"] for seed in range(60)]
    flat = [calibration_drift(training, calibration(matured(seed, slope=0.0)), chance=0.0005) for seed in range(20)]
    assert sum(same) <= 1
    assert sum(row["drifted"] for row in flat) >= 18
    assert "surely another line" in flat[0]["sentence"] or not flat[0]["drifted"]


def test_a_comparison_without_outcomes_says_why() -> None:
    line = calibration(matured(1))
    assert calibration_drift(None, line, chance=0.01)["sentence"].endswith("the training's test rows.")
    assert calibration_drift(line, None, chance=0.01)["sentence"].endswith("the matured leads.")


def test_the_order_of_rows_changes_nothing() -> None:
    rows = matured(7)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=2)
    assert prevalence(shuffled) == prevalence(rows)
    assert calibration(shuffled) == calibration(rows)
