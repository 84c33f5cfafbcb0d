"""Scores of outreach from the files of a run: one row an enrollment, with its newest moment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from elv_pipeline.contracts.outputs import predictions_contract
from elv_pipeline.problems.words import words_of
from elv_pipeline.publishing.scores.files import rows_from_bundle
from elv_pipeline_tests.publishing.score_samples import predictions, told
from elv_pipeline_tests.publishing.test_scores_files import write_bundle

WORDS = words_of("outreach", "booked_call")
PROBABILITY = "p_booked_call_7d"
LABEL = "booked_call_within_7d"
CONTRACT = predictions_contract(PROBABILITY, id_columns=WORDS.id_columns, words=WORDS)
OUTREACH = {
    "problem": "outreach",
    "target": "booked_call",
    "probability_column": PROBABILITY,
    "problems_scored": [LABEL],
}


def frame_of_a_run() -> pl.DataFrame:
    """Two moments of e1, one of e2."""
    scored = told(predictions({"e1@0": 0.1, "e1@1": 0.4, "e2@0": 0.2}))
    return (
        scored.rename({"p_qualified_14d": PROBABILITY})
        .sort("lead_id")
        .with_columns(
            created_time=pl.col("created_time").first() + pl.Series([timedelta(0), timedelta(days=2), timedelta(0)]),
            rank=pl.int_range(1, 4, dtype=pl.Int64),
            decile=pl.lit(1, pl.Int64),
            scored_at=pl.col("cutoff"),
            campaign_id=pl.lit("C1"),
            template_id=pl.Series([None, "t1", None], dtype=pl.String),
            step_id=pl.Series([None, "s1", None], dtype=pl.String),
            enrollment_id=pl.col("lead_id").str.split("@").list.first(),
        )
        .select(CONTRACT.names)
    )


def test_the_newest_moment_of_an_enrollment_is_its_score(tmp_path: Path) -> None:
    found = rows_from_bundle(*write_bundle(tmp_path / "run-1", frame=frame_of_a_run(), **OUTREACH))
    rows = found.rows.sort("enrollment_id").select("enrollment_id", "label_col", "score").rows()
    assert rows == [("e1", LABEL, 0.4), ("e2", LABEL, 0.2)]


def test_the_order_of_the_lines_does_not_choose_the_moment(tmp_path: Path) -> None:
    found = rows_from_bundle(*write_bundle(tmp_path / "run-1", frame=frame_of_a_run().reverse(), **OUTREACH))
    assert dict(found.rows.select("enrollment_id", "score").iter_rows()) == {"e1": 0.4, "e2": 0.2}
