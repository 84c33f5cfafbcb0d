from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.home import Home
from elv_pipeline.publishing.run_registry import list_runs, record_run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def manifest(run_id: str, timestamp: str, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "utc_timestamp": timestamp,
        "name": "lead_ads",
        "kind": "score",
        "as_of_date": "2025-03-01",
        "cutoff": "2025-02-24T00:00:00+00:00",
        "model_version": "3",
        "scored_rows": 120,
        "metric_summary": {"roc_auc": 0.7, "pr_auc": None},
        "brier_score": 0.06,
        "calibration_mae": 0.01,
        "alerts": [{"code": "score_drift"}],
        "content_checksums": {"predictions.csv": "abc"},
        **changes,
    }


def test_a_home_without_runs_lists_none_and_creates_nothing(home: Home) -> None:
    assert list_runs(home) == []
    assert list(home.root.iterdir()) == []


def test_a_run_is_one_row_with_its_figures(home: Home) -> None:
    record_run(home, manifest("a", "2025-03-02T06:00:00+00:00"))
    assert list_runs(home) == [
        {
            "run_id": "a",
            "utc_timestamp": "2025-03-02T06:00:00+00:00",
            "name": "lead_ads",
            "kind": "score",
            "as_of_date": "2025-03-01",
            "cutoff": "2025-02-24T00:00:00+00:00",
            "model_version": "3",
            "scored_rows": 120,
            "roc_auc": 0.7,
            "pr_auc": None,
            "brier_score": 0.06,
            "calibration_mae": 0.01,
            "alerts": 1,
            "predictions_checksum": "abc",
        }
    ]


def test_the_newest_run_comes_first_whatever_the_order_of_recording(home: Home) -> None:
    for run_id, timestamp in (
        ("middle", "2025-03-02T06:00:00.500000+00:00"),
        ("newest", "2025-03-02T06:00:01+00:00"),
        ("oldest", "2025-03-02T06:00:00+00:00"),
    ):
        record_run(home, manifest(run_id, timestamp))
    assert [row["run_id"] for row in list_runs(home)] == ["newest", "middle", "oldest"]
    assert [row["run_id"] for row in list_runs(home, limit=2)] == ["newest", "middle"]


def test_recording_a_run_again_replaces_its_row(home: Home) -> None:
    record_run(home, manifest("a", "2025-03-02T06:00:00+00:00"))
    record_run(home, manifest("a", "2025-03-02T06:05:00+00:00", scored_rows=7))
    assert [(row["utc_timestamp"][11:16], row["scored_rows"]) for row in list_runs(home)] == [("06:05", 7)]


def test_a_run_without_a_model_has_empty_figures(home: Home) -> None:
    bare = manifest("a", "2025-03-02T06:00:00+00:00", metric_summary={}, alerts=[], content_checksums={})
    for key in ("cutoff", "model_version", "brier_score", "calibration_mae"):
        del bare[key]
    record_run(home, bare)
    row = list_runs(home)[0]
    assert (row["model_version"], row["roc_auc"], row["brier_score"], row["alerts"]) == (None, None, None, 0)
