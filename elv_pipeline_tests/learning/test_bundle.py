from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ScoringRefusedError
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.training import train
from elv_pipeline_tests.learning.learning_data import make_spec, make_table


@pytest.fixture(scope="module", params=["logreg", "lgbm"])
def bundle(request: pytest.FixtureRequest) -> ModelBundle:
    table, origin = make_table()
    return train(table, make_spec(model_type=request.param, bootstrap_samples=2), origin=origin).bundle


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return make_table(rows=50, seed=9)[0]


def test_a_loaded_model_predicts_exactly_what_the_saved_one_did(
    bundle: ModelBundle, rows: pl.DataFrame, tmp_path: Path
) -> None:
    bundle.save(tmp_path / "deep" / "model.joblib")
    loaded = ModelBundle.load(tmp_path / "deep" / "model.joblib")
    assert np.array_equal(loaded.predict(rows), bundle.predict(rows))
    assert loaded.metadata == bundle.metadata
    assert loaded.schema == bundle.schema
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.joblib"]


def test_saving_a_loaded_model_writes_the_same_bytes(bundle: ModelBundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "a")
    ModelBundle.load(tmp_path / "a").save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_metadata_added_by_the_caller_is_saved(bundle: ModelBundle, tmp_path: Path) -> None:
    copy = pickle.loads(pickle.dumps(bundle))
    copy.metadata["reference"] = {"clicks_7d": [1, 2.5, None]}
    copy.save(tmp_path / "model.joblib")
    assert ModelBundle.load(tmp_path / "model.joblib").metadata["reference"] == {"clicks_7d": [1, 2.5, None]}


def test_a_failed_save_leaves_the_old_file_and_no_litter(bundle: ModelBundle, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    bundle.save(path)
    before = path.read_bytes()
    copy = pickle.loads(pickle.dumps(bundle))
    copy.metadata["broken"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        copy.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_columns_that_differ_are_listed_each_with_what_was_expected(bundle: ModelBundle, rows: pl.DataFrame) -> None:
    differing = rows.drop("noise", "weekday").with_columns(
        pl.col("clicks_7d").cast(pl.String), campaign_id=pl.lit(3), further=pl.lit("ignored")
    )
    with pytest.raises(ScoringRefusedError) as refusal:
        bundle.predict(differing)
    message = str(refusal.value)
    assert "4 of 9 feature columns differ" in message
    for line in (
        "- noise: missing, expected number",
        "- weekday: missing, expected text",
        "- clicks_7d: is String, expected number",
        "- campaign_id: is Int32, expected text",
    ):
        assert line in message.splitlines()
    assert "further" not in message


def test_column_order_further_columns_and_number_widths_do_not_matter(bundle: ModelBundle, rows: pl.DataFrame) -> None:
    other = rows.select(sorted(rows.columns, reverse=True)).with_columns(
        pl.col("clicks_7d").cast(pl.Int16), always_null=None, extra=pl.lit(1)
    )
    assert np.array_equal(bundle.predict(other), bundle.predict(rows))


def test_no_rows_give_no_scores(bundle: ModelBundle, rows: pl.DataFrame) -> None:
    assert bundle.predict(rows.clear()).shape == (0,)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScoringRefusedError, match=r"absent\.joblib: there is no such model file"):
        ModelBundle.load(tmp_path / "absent.joblib")


@pytest.mark.parametrize("content", [b"", b"not a pickle at all", b"\x80\x04\x95garbage"])
def test_an_unreadable_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(content)
    with pytest.raises(ScoringRefusedError, match="cannot be read as a model bundle"):
        ModelBundle.load(tmp_path / "model.joblib")


def test_another_object_is_refused(tmp_path: Path) -> None:
    joblib.dump({"weights": [1, 2]}, tmp_path / "model.joblib")
    with pytest.raises(ScoringRefusedError, match="holds a dict"):
        ModelBundle.load(tmp_path / "model.joblib")


@pytest.mark.parametrize("key", ["cutoff", "outcome_window_days", "feature_lag_days"])
def test_a_model_without_cutoff_window_or_lag_is_refused(bundle: ModelBundle, key: str, tmp_path: Path) -> None:
    copy = pickle.loads(pickle.dumps(bundle))
    del copy.metadata[key]
    copy.save(tmp_path / "model.joblib")
    with pytest.raises(ScoringRefusedError, match=f"lack {key}"):
        ModelBundle.load(tmp_path / "model.joblib")


def test_a_model_that_contradicts_the_configuration_is_refused(bundle: ModelBundle) -> None:
    fitting = {"outcome_window_days": 14, "feature_lag_days": 1, "target": "qualified_within_14d", "timezone": "UTC"}
    bundle.require_compatible(**fitting)  # type: ignore[arg-type]
    with pytest.raises(ScoringRefusedError) as refusal:
        bundle.require_compatible(  # type: ignore[arg-type]
            **fitting | {"outcome_window_days": 30, "feature_lag_days": 0, "timezone": "Europe/Berlin"}
        )
    assert "- outcome_window_days: model 14, configuration 30" in str(refusal.value)
    assert "- feature_lag_days: model 1, configuration 0" in str(refusal.value)
    assert "- timezone: model 'UTC', configuration 'Europe/Berlin'" in str(refusal.value)
    assert "target" not in str(refusal.value)


def test_many_differences_are_summed_up(bundle: ModelBundle) -> None:
    names = tuple(f"{level}_spend_{days}d" for level in ("ad", "campaign") for days in range(1, 11))
    wide = ModelBundle(
        estimator=bundle.estimator,
        calibrator=bundle.calibrator,
        schema=FeatureSchema(numeric=names, categorical=()),
        metadata=bundle.metadata,
    )
    with pytest.raises(ScoringRefusedError) as refusal:
        wide.check_columns(pl.DataFrame({"other": [1.0]}))
    lines = str(refusal.value).splitlines()
    assert "20 of 20 feature columns differ" in lines[0]
    assert lines[1] == "- ad_spend_1d: missing, expected number"
    assert lines[11] == "- and 10 more; all of them: ad_*, campaign_*"
    assert len(lines) == 13
