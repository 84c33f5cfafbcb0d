"""Keywords in buckets of a published hash: golden values, separators and normal forms, and what was not known."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.ingest.text_content import token_bucket
from elv_pipeline.problems.feature_specs import HashedTokens
from elv_pipeline.tables.tokens import hashed_tokens, keywords

SPEC = HashedTokens(table="adset_targeting", key="adset_id", column="audience_keywords", name="audience", buckets=64)
UTC_TIME = pl.Datetime("us", "UTC")
NOW = datetime(2024, 5, 20, 9, tzinfo=UTC)
GOLDEN = {"running": 46, "running shoes": 13, "yoga": 56, "golf": 13, "strasse": 36, "跑步": 9, "": 52}


def hashed(*versions: tuple[str, str | None, datetime | None], adset: str | None = "s") -> dict[str, Any] | None:
    """Columns of one lead of the ad set ``s`` at ``NOW``, or None where nothing was known."""
    schema = {"adset_id": pl.String, "audience_keywords": pl.String, "valid_from": UTC_TIME}
    table = pl.LazyFrame(versions, schema=schema, orient="row").with_columns(recorded_at=pl.lit(None, UTC_TIME))
    leads = pl.LazyFrame(
        [("x", adset, NOW)],
        schema={"lead_id": pl.String, "adset_id": pl.String, "created_time": UTC_TIME},
        orient="row",
    )
    found = hashed_tokens(leads, table, spec=SPEC).collect()
    assert found.columns == ["lead_id", *(column.name for column in SPEC.columns())]
    return found.row(0, named=True) if found.height else None


def set_buckets(row: dict[str, Any] | None) -> set[int]:
    assert row is not None
    assert all(value in (0, 1) for name, value in row.items() if "_token_" in name)
    return {int(name[-2:]) for name, value in row.items() if "_token_" in name and value == 1}


@pytest.mark.parametrize(("keyword", "bucket"), GOLDEN.items())
def test_buckets_are_the_published_ones_forever(keyword: str, bucket: int) -> None:
    assert token_bucket(keyword, buckets=64) == bucket


def test_buckets_do_not_depend_on_the_process() -> None:
    code = "from elv_pipeline.ingest.text_content import token_bucket; print(token_bucket('running shoes', buckets=64))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {str(GOLDEN["running shoes"])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("running|yoga;golf,tennis\nswimming\r\nhiking", ["running", "yoga", "golf", "tennis", "swimming", "hiking"]),
        ("  Running   SHOES ; ;; running shoes", ["running shoes", "running shoes"]),
        ("STRASSE|Straße", ["strasse", "strasse"]),
        ("\uff27\uff2f\uff2c\uff26\uff0cyoga", ["golf", "yoga"]),  # full-width letters and comma
        ("caf\u00e9|cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        (" | ; ,\n", []),
        ("", []),
    ],
)
def test_keywords_are_divided_and_normalised(text: str, expected: list[str]) -> None:
    assert keywords(text) == expected


def test_counts_and_buckets_of_a_list() -> None:
    row = hashed(("s", "Yoga | running shoes | yoga", None))
    assert row is not None
    assert (row["audience_tokens"], row["audience_distinct_tokens"]) == (3, 2)
    assert set_buckets(row) == {token_bucket("yoga", buckets=64), token_bucket("running shoes", buckets=64)}
    assert row == hashed(("s", "running   SHOES;yoga,YOGA", None))


@pytest.mark.parametrize("empty", [None, "", " ; "])
def test_a_known_audience_without_keywords_is_zero_and_an_unknown_one_is_nothing(empty: str | None) -> None:
    row = hashed(("s", empty, None))
    assert row is not None
    assert row["audience_tokens"] == row["audience_distinct_tokens"] == 0
    assert set_buckets(row) == set()
    assert hashed(("other", "yoga", None)) is None
    assert hashed(("s", "yoga", None), adset=None) is None


def test_keywords_of_the_future_are_not_known() -> None:
    later = NOW + timedelta(microseconds=1)
    assert hashed(("s", "yoga", None), ("s", "golf", later)) == hashed(("s", "yoga", None))
    assert hashed(("s", "golf", later)) is None
    assert set_buckets(hashed(("s", "yoga", None), ("s", "golf", NOW))) == {token_bucket("golf", buckets=64)}
