from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.learning.baselines import Baselines, ConstantRate, CostPerLead, Rule, ShrunkSegmentRate
from elv_pipeline.learning.fitting import fit_calibrated
from elv_pipeline.learning.splits import plan_split
from elv_pipeline.learning.training import labelled_rows, train
from elv_pipeline_tests.learning.learning_data import START, make_spec, make_table


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


def spent(*campaigns: tuple[str, float, int, int]) -> pl.DataFrame:
    """Rows of (campaign, spend of the window, leads, positives), an hour apart."""
    rows = [
        (name, spend, int(index < positives), f"{name}{index}")
        for name, spend, leads, positives in campaigns
        for index in range(leads)
    ]
    table = pl.DataFrame(rows, schema=["campaign_id", "spend_28d", "y", "lead_id"], orient="row")
    hours = pl.int_range(pl.len()).over("campaign_id") * 3_600_000_000
    return table.with_columns(
        created_time=(pl.lit(START) + hours.cast(pl.Duration("us"))).cast(pl.Datetime("us", "UTC"))
    )


def test_cost_per_lead_learns_from_the_outcomes_whether_cheap_leads_are_good() -> None:
    for cheap, dear in ((40, 5), (5, 40)):
        table = spent(("cheap", 100.0, 100, cheap), ("dear", 1_000.0, 100, dear))
        fitted = CostPerLead.fit(table, table, column="campaign_id", spend_column="spend_28d", days=28)
        assert fitted is not None
        assert fitted.costs == {"cheap": 1.0, "dear": 10.0}
        p_cheap, p_dear, p_new = fitted.predict(pl.DataFrame({"campaign_id": ["cheap", "dear", "new"]}))
        assert (p_cheap > p_dear) == (cheap > dear)
        assert min(p_cheap, p_dear) < p_new < max(p_cheap, p_dear)


def test_cost_per_lead_counts_only_the_leads_of_the_window() -> None:
    table = spent(("a", 100.0, 48, 5), ("b", 100.0, 24, 5))
    fitted = CostPerLead.fit(table, table, column="campaign_id", spend_column="spend_28d", days=1)
    assert fitted is not None
    assert fitted.costs["a"] == pytest.approx(100 / 24)


def test_without_spend_there_is_no_cost_per_lead() -> None:
    table = spent(("a", 0.0, 40, 5))
    assert CostPerLead.fit(table, table, column="campaign_id", spend_column="spend_28d", days=28) is None


def test_a_rule_of_the_user_becomes_a_probability_in_its_order() -> None:
    table = pl.DataFrame({"hour": [*range(24), None] * 20}).with_columns(
        y=((pl.col("hour").fill_null(0) > 18) | (pl.int_range(pl.len()) % 7 == 0)).cast(pl.Int8)
    )
    p = Rule.fit(table, expression="CASE WHEN hour > 18 THEN 2 ELSE hour / 100 END").predict(table.drop("y").head(25))
    assert p[20] > p[10] > p[0]
    assert np.isfinite(p).all()


def test_a_rule_cannot_look_at_the_label_and_a_broken_one_is_explained() -> None:
    table, origin = make_table()
    for expression in ("y", "outcome_time", "upper(weekday)", "SELECT 1 FROM"):
        spec = make_spec(rule=expression)
        with pytest.raises(ConfigError, match=r"proof\.rule"):
            train(table, spec, origin=origin)


def test_baselines_survive_their_document() -> None:
    table, origin = make_table()
    spec = make_spec(rule="clicks_7d", spend_column="spend_28d")
    plan = plan_split(table, spec, origin=origin)
    labelled = labelled_rows(table, plan)
    peers = {"logistic_regression": fit_calibrated(labelled, spec, plan=plan)}
    fitted = Baselines.fit(table, labelled, spec, plan=plan, peers=peers)
    assert set(fitted.by_name) == {"constant", "campaign_rate", "cost_per_lead", "rule", "logistic_regression"}
    restored = Baselines.from_dict(json.loads(json.dumps(fitted.to_dict())))
    for name, p in fitted.predict(labelled).items():
        assert (restored.predict(labelled)[name] == p).all()


def test_baselines_know_nothing_of_the_rows_that_judge_them() -> None:
    table, origin = make_table()
    spec = make_spec(rule="clicks_7d", spend_column="spend_28d")
    plan = plan_split(table, spec, origin=origin)
    later = pl.col("created_time") >= plan.test_from
    changed = table.with_columns(
        y=pl.when(later).then(1 - pl.col("y")).otherwise("y"), spend_28d=pl.when(later).then(1e9).otherwise("spend_28d")
    )
    fitted = [
        Baselines.fit(rows, labelled_rows(rows, plan), spec, plan=plan, peers={}).to_dict() for rows in (table, changed)
    ]
    assert fitted[0] == fitted[1]
