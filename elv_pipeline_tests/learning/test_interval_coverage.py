from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.interval_coverage import measured_coverage
from elv_pipeline.learning.value_intervals import IntervalSpec, fit_value_intervals
from elv_pipeline_tests.learning.interval_data import Advertiser, halves, judged

SPEC = IntervalSpec(timezone="UTC")


def test_the_table_names_each_size_and_is_json() -> None:
    earlier, later = halves(judged(Advertiser(), stretches=4, seed=1), stretch=2)
    table = json.loads(json.dumps(measured_coverage(later, fit_value_intervals(earlier, SPEC), SPEC)))
    assert [size["leads"] for size in table["sizes"]] == ["1", "2-4", "5-9", "10-29", "30-99", "100-299", "300+"]
    assert [size["use"] for size in table["sizes"]] == ["measured_error"] * 5 + ["conformal"] * 2
    assert (table["nominal"], table["rows"]) == (0.9, later.height)
    for size in table["sizes"]:
        for judgement in (size["conformal"], size["measured_error"]):
            assert judgement["coverage_low"] < judgement["coverage"] <= judgement["coverage_high"] + 0.1
            assert judgement["interval_score"] >= judgement["relative_width"]
    widths = [size["conformal"]["relative_width"] for size in table["sizes"]]
    assert widths == sorted(widths, reverse=True)


def test_intervals_that_are_too_narrow_are_found_out() -> None:
    earlier, later = halves(judged(Advertiser(lasting=0.6, passing=0.6, size=200), stretches=4, seed=2), stretch=2)
    intervals = fit_value_intervals(earlier, SPEC)
    certain = replace(intervals, sizes=tuple(replace(size, error=0.0) for size in intervals.sizes))
    honest, bold = (measured_coverage(later, found, SPEC)["sizes"][-1]["conformal"] for found in (intervals, certain))
    assert bold["coverage"] < 0.6 < 0.8 < honest["coverage"]
    assert bold["coverage_high"] < 0.9
    assert bold["interval_score"] > honest["interval_score"]


def test_only_sizes_that_occur_are_listed_and_row_order_changes_nothing() -> None:
    earlier, later = halves(judged(Advertiser(campaigns=8, size=20), stretches=4, seed=3), stretch=2)
    intervals = fit_value_intervals(earlier, SPEC)
    few = later.filter(pl.int_range(pl.len()).over("campaign_id", "stretch") < 4)
    table = measured_coverage(few, intervals, SPEC)
    assert [size["leads"] for size in table["sizes"]] == ["1", "2-4"]
    assert measured_coverage(few.sample(fraction=1, shuffle=True, seed=1), intervals, SPEC) == table


@pytest.mark.slow
def test_nominal_coverage_holds_over_many_advertisers() -> None:
    covered: dict[str, list[float]] = {}
    for advertiser in (Advertiser(), Advertiser(shocks=0.1), Advertiser(campaigns=120, lasting=0.4, passing=0.3)):
        for seed in range(8):
            earlier, later = halves(judged(advertiser, stretches=4, seed=100 + seed), stretch=2)
            for size in measured_coverage(later, fit_value_intervals(earlier, SPEC), SPEC)["sizes"]:
                covered.setdefault(size["leads"], []).append(size["conformal"]["coverage"])
    assert all(np.mean(found) > 0.89 for found in covered.values()), covered
