from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.overlap import overlap

START = datetime(2025, 1, 6, tzinfo=UTC)


def scored(rows: int = 1_000, *, mature: int | None = None, noise: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Leads of ten weeks; the champion knows the truth, the challenger sees it through noise on the logit."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-2, 1, rows)
    blurred = logit + generator.normal(0, noise, rows) if noise else logit
    y = (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    known = pl.int_range(pl.len()) < (rows if mature is None else mature)
    return pl.DataFrame(
        {
            "lead_id": [f"l{index:05d}" for index in range(rows)],
            "created_time": [START + timedelta(days=70 * index / rows) for index in range(rows)],
            "champion": 1 / (1 + np.exp(-logit)),
            "challenger": 1 / (1 + np.exp(-blurred)),
            "y": y,
        },
        schema_overrides={"created_time": pl.Datetime("us", "UTC")},
    ).with_columns(y=pl.when(known).then("y"))


def measured(both: pl.DataFrame) -> dict:  # type: ignore[type-arg]
    return overlap(both, timezone="UTC", seed=1, samples=100)


def test_the_same_model_agrees_with_itself_everywhere() -> None:
    found = measured(scored())
    assert [top["agreement"] for top in found["top"]] == [1.0, 1.0, 1.0]
    assert found["rank_shift"]["largest"] == 0
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["proof"]["difference"]["log_loss"]["value"] == 0
    assert found["proof"]["sign_test_p"] == 1
    assert "undecided" in found["sentence"]


def test_a_blurred_challenger_loses_and_the_leads_that_only_one_names_say_so() -> None:
    found = measured(scored(4_000, noise=1.5))
    tenth = found["top"][1]
    assert tenth["leads"] == 400
    assert tenth["common"] + tenth["only_champion"]["leads"] == 400
    assert tenth["only_champion"]["positives"] > tenth["only_challenger"]["positives"]
    assert found["proof"]["difference"]["log_loss"]["low"] > 0
    assert found["proof"]["weeks_won"] < len(found["proof"]["weeks"]) / 2
    assert found["proof"]["sign_test_p"] < 0.05
    assert "the champion is better" in found["sentence"]


def test_before_outcomes_mature_there_is_agreement_and_no_proof() -> None:
    found = measured(scored(mature=0, noise=1.0))
    assert found["proof"] is None
    assert 0 < found["top"][0]["agreement"] < 1
    assert "nothing tells who is right" in found["sentence"]


def test_open_outcomes_are_no_losses() -> None:
    found = measured(scored(mature=500, noise=1.0))
    assert found["proof"]["rows"] == 500
    assert found["top"][1]["only_champion"]["mature"] <= found["top"][1]["only_champion"]["leads"]


def test_the_order_of_rows_does_not_matter_and_the_document_is_json() -> None:
    both = scored(noise=1.0)
    documents = {json.dumps(measured(rows), allow_nan=False) for rows in (both, both.reverse())}
    assert len(documents) == 1


def test_without_leads_it_says_so() -> None:
    assert measured(scored().clear())["leads"] == 0


def test_a_constant_challenger_has_no_rank_correlation() -> None:
    assert measured(scored().with_columns(challenger=pl.lit(0.1)))["rank_correlation"] is None
