"""Realised values in the profile: aggregates only, and none where they would be somebody's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.contracts.lead_ads import OUTCOMES
from elv_pipeline.ingest.combined import combined
from elv_pipeline.ingest.review.outcome_values import outcome_values
from elv_pipeline.ingest.review.profile import profile_markdown, profile_of
from elv_pipeline.ingest.sources import examine
from elv_pipeline.ingest.tables import read_outcomes
from elv_pipeline_tests.ingest.exports import make_config, write

HEADER = "lead_id,qualified_time,value\n"


def profiled(folder: Path, values: Sequence[float | None]) -> dict[str, Any]:
    """The profile of one lead and outcome a value; None is an outcome whose value is not known."""
    leads = "".join(f"L{at:04d},2025-01-02T10:00:00Z,A1\n" for at in range(len(values)))
    outcomes = "".join(
        f"L{at:04d},2025-01-05T10:00:00Z,{'' if value is None else value}\n" for at, value in enumerate(values)
    )
    write(folder, "leads.csv", "lead_id,created_time,ad_id\n" + leads)
    write(folder, "outcomes.csv", HEADER + outcomes)
    config = make_config(folder)
    return profile_of(examine(config), config)


def test_counts_and_spread_of_realised_values(tmp_path: Path) -> None:
    # 200 values: 50 zeros, 148 of 10 and two of 1000, which are the largest 1 %.
    document = profiled(tmp_path, [0] * 50 + [10] * 148 + [1000, 1000] + [None] * 40)
    total = 148 * 10 + 2000
    assert document["values"] == {
        "outcomes": 240,
        "known": 200,
        "mean": pytest.approx(total / 200),
        "median": 10.0,
        "zero_share": 0.25,
        "top_1pct_share": pytest.approx(2000 / total),
    }
    assert (
        "- Outcomes with a value: 200 of 240; mean 17.40 EUR, median 10.00 EUR, 25.0 % worth nothing, the largest 1 % "
        "hold 57.5 % of the total.\n" in profile_markdown(document)
    )


def test_the_median_of_an_even_number_lies_between(tmp_path: Path) -> None:
    assert profiled(tmp_path, [1, 2, 3, 4, 5, 6.5, 7, 8, 9, 100])["values"]["median"] == 5.75


def test_few_values_are_counted_and_not_described(tmp_path: Path) -> None:
    document = profiled(tmp_path, [4321.5] * 9)
    assert document["values"]["known"] == 9
    assert {document["values"][name] for name in ("mean", "median", "zero_share", "top_1pct_share")} == {None}
    text = profile_markdown(document)
    assert "- Outcomes with a value: 9 of 9.\n" in text
    assert "4,321" not in text


@pytest.mark.parametrize("values", [[0.0] * 120, [7.0] * 99])
def test_the_largest_share_is_told_only_where_there_is_one(tmp_path: Path, values: list[float]) -> None:
    document = profiled(tmp_path, values)
    assert document["values"]["top_1pct_share"] is None
    assert "largest" not in profile_markdown(document)


def test_without_values_nothing_is_said(tmp_path: Path) -> None:
    document = profiled(tmp_path, [None] * 20)
    assert document["values"] is None
    assert "value:" not in profile_markdown(document)


def test_without_outcomes_nothing_is_said(tmp_path: Path) -> None:
    profiled(tmp_path, [1.0])
    (tmp_path / "outcomes.csv").unlink()
    config = make_config(tmp_path)
    assert outcome_values(examine(config).required()) is None


def test_the_newest_file_has_the_last_word_on_a_value(tmp_path: Path) -> None:
    """Row by row, as on the times: what it leaves empty is not known any more."""
    first = "lead_id,qualified_time,recorded_time,value\nL1,2025-01-05,2025-01-06,5\nL2,2025-01-05,2025-01-06,7\n"
    second = "lead_id,qualified_time,recorded_time,value\nL1,2025-01-05,2025-02-01,9.5\nL2,2025-01-05,2025-01-06,\n"
    config = make_config(tmp_path)
    files = [read_outcomes(write(tmp_path, f"{at}.csv", text), config) for at, text in enumerate((first, second))]
    whole = combined(files, contract=OUTCOMES, name="outcomes", exported=[])
    assert whole.frame.select("lead_id", "value_micros").rows() == [("L1", 9_500_000), ("L2", None)]
    assert [str(day) for day in whole.frame["day"]] == ["2025-02-01", "2025-01-06"]
