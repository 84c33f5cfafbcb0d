from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elv_pipeline.learning import boosting, tree_data
from elv_pipeline.learning.boosting import BoostedTrees, load_lightgbm
from elv_pipeline.learning.columns import code_matrix, coded_matrix, numeric_matrix
from elv_pipeline_tests.learning.learning_data import make_spec, make_table


def trees(table: pl.DataFrame, *, threads: int = 1) -> str:
    spec = make_spec(model_type="lgbm", search_candidates=1, threads=threads)
    return BoostedTrees.of(spec).fit(table, table["outcome"].to_numpy()).model_text


def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table(rows=3_000)[0].sort("created_time", "lead_id")
    whole = trees(table)
    monkeypatch.setattr(tree_data, "BLOCK_ROWS", 170)
    assert trees(table) == whole


def test_blocks_are_what_the_whole_matrix_would_be() -> None:
    table = make_table(rows=2_000)[0].sort("created_time", "lead_id")
    y, model = table["outcome"].to_numpy(), BoostedTrees.of(make_spec(model_type="lgbm"))
    model.levels = {
        "campaign_id": [f"campaign_{i}" for i in range(8)],
        "weekday": ["mon", "tue", "wed"],
        "null_text": [],
    }
    parameters = model.parameters(2_000) | {"feature_pre_filter": False}
    names = [f"f{i}" for i in range(9)]
    matrix = load_lightgbm().Dataset(
        model.encode(table), y, feature_name=names, categorical_feature=names[6:], params=parameters
    )
    blocks = tree_data.binned_rows(load_lightgbm(), model, table, y, None)
    texts = [load_lightgbm().train(parameters, data, 20).model_to_string() for data in (matrix, blocks)]
    assert texts[0].split("\nparameters:")[0] == texts[1].split("\nparameters:")[0]


def test_two_threads_grow_the_same_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "LEAST_ROWS_TO_FIT_IN_THREADS", 0)
    table = make_table(rows=3_000)[0].sort("created_time", "lead_id")
    assert trees(table, threads=2) == trees(table)


def test_numbers_and_codes_are_made_at_once_or_apart_the_same() -> None:
    table = make_table(rows=50)[0].with_columns(clicks_7d=pl.lit(float("inf")))
    levels = {"weekday": ["mon", "wed"], "null_text": []}
    apart = np.hstack([numeric_matrix(table, names=["clicks_7d", "spend_28d"]), code_matrix(table, levels=levels)])
    at_once = coded_matrix(table, names=["clicks_7d", "spend_28d"], levels=levels)
    assert np.array_equal(apart, at_once, equal_nan=True)
    assert np.isnan(at_once[:, 0]).all()
    expected = [{"mon": 0.0, "wed": 1.0}.get(day, np.nan) for day in table["weekday"]]
    assert np.array_equal(at_once[:, 2], expected, equal_nan=True)
    assert np.isnan(at_once[:, 3]).all()
