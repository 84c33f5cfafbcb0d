from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.outputs import CALIBRATION_BINS, CAMPAIGN_LEADERBOARD, of_days
from elv_pipeline.errors import ContractError


def board(**change: Any) -> pl.DataFrame:
    row: dict[str, Any] = {"campaign_id": "A", "campaign_name": None, "lead_count": 1, "spend": None, "mean_p": 0.1}
    row |= {"predicted_elv": 2.0, "elv_per_lead": 2.0, "elv_low": 1.0, "elv_high": 3.0, "low_volume": False, "rank": 1}
    row |= dict.fromkeys(name for name in CAMPAIGN_LEADERBOARD.names if "_per_" in name and name not in row)
    row |= {"own_rows": 0, "own_positives": 0, "evidence": "mostly the parent"}
    frame = pl.DataFrame([row | change], schema_overrides=CAMPAIGN_LEADERBOARD.schema)
    return frame.select(CAMPAIGN_LEADERBOARD.names)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e12])
def test_the_last_bits_of_an_amount_break_no_interval_whatever_its_size(scale: float) -> None:
    amount = 0.1 + 0.2  # a little more than 0.3
    row = board(predicted_elv=amount * scale, elv_low=0.0, elv_high=0.3 * scale)
    assert CAMPAIGN_LEADERBOARD.validate(row, place="board").equals(row)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e12])
def test_a_value_outside_its_interval_is_refused_whatever_its_size(scale: float) -> None:
    with pytest.raises(ContractError, match="predicted_elv must lie within elv_low and elv_high"):
        CAMPAIGN_LEADERBOARD.validate(
            board(predicted_elv=1.001e-3 * scale, elv_low=0.0, elv_high=1e-3 * scale), place="board"
        )


def test_an_observed_rate_of_zero_is_not_below_a_lower_end_of_the_last_bits() -> None:
    row = {"bin": 1, "rows": 10, "positives": 0, "mean_predicted": 0.1, "observed_rate": 0.0}
    bins = pl.DataFrame([row | {"observed_low": 3e-18, "observed_high": 0.28}])
    assert CALIBRATION_BINS.validate(bins, place="bins").equals(bins)


def test_many_days_of_a_table_are_unique_by_day() -> None:
    contract = of_days(CAMPAIGN_LEADERBOARD)
    first, second = (board().with_columns(day=pl.lit(date(2025, 1, day))) for day in (1, 2))
    contract.validate(pl.concat([first, second]), place="board")
    contract.validate(contract.empty(), place="board")
    with pytest.raises(ContractError, match="appeared before"):
        contract.validate(pl.concat([first, first]), place="board")
