from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest

from elv_pipeline.contracts.outputs import predictions_contract
from elv_pipeline.decisions.predictions import ScoringRun, predictions, rank_predictions
from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.learning.training import TrainingResult, train
from elv_pipeline_tests.learning.learning_data import make_spec, make_table

SCORED_AT = datetime(2025, 6, 1, 8, tzinfo=timezone(timedelta(hours=2)))
RUN = ScoringRun(
    run_id="run-1",
    model_version="7",
    scored_at=SCORED_AT,
    probability_column="p_qualified_14d",
    value_per_qualified=180.0,
)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    frame, _ = make_table()
    return frame.with_columns(
        pl.col("created_time").dt.date().alias("day"),
        pl.lit(None, pl.String).alias("adset_id"),
        pl.lit(None, pl.String).alias("ad_id"),
    )


@pytest.fixture(scope="module")
def trained(table: pl.DataFrame) -> TrainingResult:
    return train(table, make_spec(bootstrap_samples=2), origin=make_table()[1])


@pytest.fixture(scope="module")
def scored(table: pl.DataFrame, trained: TrainingResult) -> pl.DataFrame:
    return predictions(table, trained.bundle, run=RUN)


def test_the_published_columns_keep_their_contract(scored: pl.DataFrame) -> None:
    contract = predictions_contract("p_qualified_14d")
    assert scored.columns == [*contract.names, "day"]
    contract.validate(scored.drop("day"), place="predictions")


def test_every_lead_is_scored_once_best_first(table: pl.DataFrame, scored: pl.DataFrame) -> None:
    assert set(scored["lead_id"]) == set(table["lead_id"])
    assert scored.height == table.height
    assert scored["p_qualified_14d"].is_sorted(descending=True)
    assert scored["elv"].to_list() == pytest.approx((scored["p_qualified_14d"] * 180).to_list())


def test_scores_belong_to_their_own_leads(table: pl.DataFrame, scored: pl.DataFrame, trained: TrainingResult) -> None:
    direct = table.select("lead_id", "created_time").with_columns(p=trained.bundle.predict(table))
    joined = scored.join(direct, on=["lead_id", "created_time"], validate="1:1")
    assert joined.height == scored.height
    assert (joined["p"] == joined["p_qualified_14d"]).all()


def test_the_split_says_what_the_model_knew_of_a_lead(
    table: pl.DataFrame, scored: pl.DataFrame, trained: TrainingResult
) -> None:
    plan, origin = trained.plan, trained.plan.origin
    created = scored["created_time"]
    by_name = dict(scored.group_by("split").len().iter_rows())
    assert by_name["train"] == scored.filter(created < plan.train_until).height
    assert by_name["test"] == scored.filter((created >= plan.test_from) & (created < plan.test_until)).height
    assert scored.filter(created >= origin - timedelta(days=14))["split"].unique().to_list() == ["young"]
    assert {"train", "gap", "test", "young"} <= set(by_name)
    later = table.head(1).with_columns(created_time=pl.lit(origin).cast(pl.Datetime("us", "UTC")))
    assert predictions(later, trained.bundle, run=RUN)["split"].to_list() == ["score"]


def test_run_and_model_are_named_in_utc(scored: pl.DataFrame, trained: TrainingResult) -> None:
    first = scored.row(0, named=True)
    assert (first["run_id"], first["model_version"]) == ("run-1", "7")
    assert first["scored_at"] == datetime(2025, 6, 1, 6, tzinfo=UTC)
    assert first["cutoff"] == trained.plan.origin
    assert first["calibration_method"] == trained.bundle.metadata["calibration_method"]


def test_the_order_of_the_rows_changes_nothing(
    table: pl.DataFrame, scored: pl.DataFrame, trained: TrainingResult
) -> None:
    shuffled = table.sample(fraction=1, shuffle=True, seed=2)
    assert predictions(shuffled, trained.bundle, run=RUN).equals(scored)


def test_days_scored_apart_rank_together_as_if_scored_at_once(scored: pl.DataFrame) -> None:
    def again(frame: pl.DataFrame) -> pl.DataFrame:
        return rank_predictions(frame, probability_column="p_qualified_14d")

    by_day = pl.concat([again(part) for _, part in scored.group_by("day", maintain_order=True)])
    assert by_day["rank"].max() != scored.height
    assert again(by_day).equals(scored)


def test_no_leads_give_an_empty_table_of_the_same_shape(table: pl.DataFrame, trained: TrainingResult) -> None:
    empty = predictions(table.clear(), trained.bundle, run=RUN)
    predictions_contract("p_qualified_14d").validate(empty.drop("day"), place="predictions")
    assert empty.height == 0


def test_features_that_differ_are_refused(table: pl.DataFrame, trained: TrainingResult) -> None:
    with pytest.raises(ScoringRefusedError, match="- noise: missing"):
        predictions(table.drop("noise"), pickle.loads(pickle.dumps(trained.bundle)), run=RUN)
