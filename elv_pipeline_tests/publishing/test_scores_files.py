from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.outputs import predictions_contract
from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.errors import ContractError
from elv_pipeline.publishing.scores.files import rows_from_bundle
from elv_pipeline.publishing.scores.writing import UpsertCounts, upsert_scores
from elv_pipeline_tests.publishing.score_samples import LABEL, predictions, stored, told

SPLITS = ("train", "train", "gap", "calibration", "test", "young", "score")
CONTRACT = predictions_contract("p_qualified_14d")


def frame_of_a_run() -> pl.DataFrame:
    scored = told(predictions({f"lead-{number}": 0.1 * number for number in range(7)}))
    return scored.with_columns(
        split=pl.Series(SPLITS),
        rank=pl.int_range(1, 8, dtype=pl.Int64),
        decile=pl.lit(1, pl.Int64),
        scored_at=pl.col("cutoff"),
        campaign_id=pl.lit("C1"),
        adset_id=pl.lit(None, pl.String),
        ad_id=pl.lit("007"),
    ).select(CONTRACT.names)


def write_bundle(folder: Path, *, frame: pl.DataFrame | None = None, **manifest: Any) -> tuple[Path, Path]:
    """A bundle as ``run_bundle`` leaves it, as far as scores are concerned."""
    folder.mkdir()
    files = {"predictions.csv": folder / "predictions.csv", "metrics.json": folder / "metrics.json"}
    (frame_of_a_run() if frame is None else frame).write_csv(
        files["predictions.csv"], datetime_format="%Y-%m-%dT%H:%M:%S%.fZ"
    )
    files["metrics.json"].write_text(json.dumps({"target": LABEL}))
    document = {
        "run_id": "run-1",
        "org_id": "acme",
        "name": "demo",
        "probability_column": "p_qualified_14d",
        "problems_scored": [LABEL],
        "utc_timestamp": "2025-03-10T06:00:00+00:00",
        "checksums": {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()},
        **manifest,
    }
    (folder / "metadata.json").write_text(json.dumps(document))
    return files["predictions.csv"], files["metrics.json"]


def test_every_column_of_the_file_becomes_a_column_of_the_table(tmp_path: Path) -> None:
    found = rows_from_bundle(*write_bundle(tmp_path / "run-1"))
    assert (found.name, found.run_id, found.org_id) == ("demo", "run-1", "acme")
    engine = open_engine(Connection.to_file(tmp_path / "scores.db"), purpose="test")
    assert upsert_scores(engine, found.rows) == UpsertCounts(7, 0, 0)
    frame = {row["lead_id"]: row for row in frame_of_a_run().to_dicts()}
    for row in stored(engine):
        source = frame[row["enrollment_id"]]
        assert row["score"] == source["p_qualified_14d"]
        same = ("elv", "elv_low", "elv_high", "value", "grade", "reason_1", "reason_2", "reason_3", "score_change")
        assert {name: row[name] for name in same} == {name: source[name] for name in same}
        assert row["prediction_time"] == source["created_time"].replace(tzinfo=None)
        assert row["run_timestamp_utc"] == datetime(2025, 3, 10, 6)  # noqa: DTZ001  # the column has no zone
    again = rows_from_bundle(tmp_path / "run-1" / "predictions.csv", tmp_path / "run-1" / "metrics.json")
    assert upsert_scores(engine, again.rows) == UpsertCounts(0, 0, 7)
    engine.dispose()


@pytest.mark.parametrize(
    ("split", "leads"),
    [("all", {0, 1, 2, 3, 4, 5, 6}), ("test", {4}), ("train", {0, 1, 3})],
    ids=lambda value: str(value),
)
def test_a_split_chooses_its_leads(tmp_path: Path, split: Any, leads: set[int]) -> None:
    rows = rows_from_bundle(*write_bundle(tmp_path / "run-1"), split).rows
    assert set(rows["enrollment_id"]) == {f"lead-{number}" for number in leads}


def test_a_split_without_leads_is_refused(tmp_path: Path) -> None:
    frame = frame_of_a_run().with_columns(split=pl.lit("score"))
    with pytest.raises(ContractError, match=r"no lead is in the split test \(test\); the file has score"):
        rows_from_bundle(*write_bundle(tmp_path / "run-1", frame=frame), "test")


def test_a_file_that_was_changed_after_the_run_is_refused(tmp_path: Path) -> None:
    file, metrics = write_bundle(tmp_path / "run-1")
    file.write_text(file.read_text().replace("0.1,", "0.9,", 1))
    with pytest.raises(ContractError, match=r"is not the predictions\.csv that run run-1 wrote"):
        rows_from_bundle(file, metrics)


def test_the_proof_of_another_run_is_refused(tmp_path: Path) -> None:
    file, _ = write_bundle(tmp_path / "run-1")
    _, other = write_bundle(tmp_path / "run-2")
    other.write_text(json.dumps({"target": "another"}))
    with pytest.raises(ContractError, match=r"metrics\.json: is not the metrics\.json that run run-1 wrote"):
        rows_from_bundle(file, other)


def test_a_file_outside_a_bundle_is_refused(tmp_path: Path) -> None:
    file, metrics = write_bundle(tmp_path / "run-1")
    (tmp_path / "run-1" / "metadata.json").unlink()
    with pytest.raises(ContractError, match=r"metadata\.json: cannot be read .* inside a run bundle"):
        rows_from_bundle(file, metrics)
    _, metrics = write_bundle(tmp_path / "run-2", probability_column=None)
    with pytest.raises(ContractError, match="lacks probability_column, so it is not of a run that scored leads"):
        rows_from_bundle(tmp_path / "run-2" / "predictions.csv", metrics)
    with pytest.raises(ContractError, match=r"nowhere\.json: cannot be read"):
        rows_from_bundle(*write_bundle(tmp_path / "run-3")[:1], tmp_path / "nowhere.json")


def test_a_broken_value_is_named_by_line_and_column_and_not_quoted(tmp_path: Path) -> None:
    frame = frame_of_a_run().with_columns(pl.col("elv").cast(pl.String))
    broken = frame.with_columns(elv=pl.when(pl.col("rank") == 3).then(pl.lit("Ada Lovelace")).otherwise("elv"))
    with pytest.raises(ContractError, match=r"predictions\.csv line 4: elv is not a Float64 \(1 line") as refused:
        rows_from_bundle(*write_bundle(tmp_path / "run-1", frame=broken))
    assert "Ada" not in str(refused.value)


def test_the_contract_of_predictions_holds_for_the_file(tmp_path: Path) -> None:
    frame = frame_of_a_run().with_columns(p_qualified_14d=pl.lit(1.5))
    with pytest.raises(ContractError, match="p_qualified_14d"):
        rows_from_bundle(*write_bundle(tmp_path / "run-1", frame=frame))
    with pytest.raises(ContractError, match=r"lacks the column\(s\) elv"):
        rows_from_bundle(*write_bundle(tmp_path / "run-2", frame=frame_of_a_run().drop("elv")))


def test_a_bundle_of_an_earlier_release_has_fewer_columns(tmp_path: Path) -> None:
    frame = frame_of_a_run().drop("grade", "elv_low", "reason_1")
    rows = rows_from_bundle(*write_bundle(tmp_path / "run-1", frame=frame)).rows
    assert rows["grade"].null_count() == rows["elv_low"].null_count() == 7
    assert rows["elv_high"].null_count() == 0


def test_the_model_of_the_bundle_is_named(tmp_path: Path) -> None:
    files = write_bundle(tmp_path / "run-1")
    assert rows_from_bundle(*files).rows["model_path"].unique().to_list() == [None]
    (tmp_path / "run-1" / "model.joblib").write_bytes(b"")
    assert rows_from_bundle(*files).rows["model_path"][0] == (tmp_path / "run-1" / "model.joblib").as_posix()
    assert rows_from_bundle(*files, model_path="runs/run-1/model.joblib").rows["model_path"][0].startswith("runs/")
