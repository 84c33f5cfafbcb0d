from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning.baselines import ConstantRate, ShrunkSegmentRate


def known(*groups: tuple[str | None, int, int]) -> pl.DataFrame:
    rows = [(name, int(index < positives)) for name, size, positives in groups for index in range(size)]
    return pl.DataFrame(rows, schema={"campaign_id": pl.String, "y": pl.Int8}, orient="row")


def test_the_constant_is_the_rate() -> None:
    assert ConstantRate.fit(known(("a", 40, 10))).predict(pl.DataFrame({"x": [1, 2]})).tolist() == [0.25, 0.25]


def test_small_campaigns_are_pulled_further_than_large_ones_and_unknown_ones_all_the_way() -> None:
    table = known(("large", 2_000, 400), ("small", 5, 5), ("other", 2_000, 100), (None, 100, 3))
    fitted = ShrunkSegmentRate.fit(table, column="campaign_id")
    rows = pl.DataFrame({"campaign_id": ["large", "small", "unseen", None]})
    large, small, unseen, missing = fitted.predict(rows)
    assert large == pytest.approx(0.2, abs=0.01)
    assert fitted.overall < small < 0.5
    assert unseen == missing == fitted.overall == pytest.approx(508 / 4_105)


def test_pure_noise_between_campaigns_is_shrunk_nearly_away() -> None:
    generator = np.random.default_rng(0)
    table = known(*((f"c{index}", 50, int(generator.binomial(50, 0.1))) for index in range(40)))
    p = ShrunkSegmentRate.fit(table, column="campaign_id").predict(table)
    raw = table.group_by("campaign_id").agg(pl.col("y").mean())["y"]
    assert p.max() - p.min() < 0.35 * (raw.max() - raw.min())


@pytest.mark.parametrize("column", [None, "absent"])
def test_without_a_segment_everyone_gets_the_overall_rate(column: str | None) -> None:
    table = known(("a", 10, 5), ("b", 10, 0))
    assert ShrunkSegmentRate.fit(table, column=column).predict(table).tolist() == [0.25] * 20


def test_a_column_of_nulls_gives_the_overall_rate() -> None:
    table = known((None, 20, 5))
    assert ShrunkSegmentRate.fit(table, column="campaign_id").predict(table).tolist() == [0.25] * 20
