"""Boards of a problem without spend, whose rows are several of one entity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from elv_pipeline.contracts.leaderboards import SPEND_COLUMNS
from elv_pipeline.contracts.outputs import predictions_contract
from elv_pipeline.contracts.spec import TableContract
from elv_pipeline.decisions.leaderboards import BOARDS, OUTREACH_BOARDS, LeaderboardSpec, leaderboard
from elv_pipeline.decisions.segment_ranking import rank_segments
from elv_pipeline.problems.words import words_of

WORDS = words_of("outreach", "booked_call")
CAMPAIGN, TEMPLATE, STEP = OUTREACH_BOARDS
NAMES = pl.DataFrame(
    {
        "campaign_id": ["A", "A", "B"],
        "campaign_name": ["Alpha", "Alpha", "Beta"],
        "step_id": ["a1", "a2", "b1"],
        "step_name": ["1. email", "2. call", "1. email"],
    }
)


def moments(rows: list[tuple[str, int, str, str | None, float]]) -> pl.DataFrame:
    """Enrollment, position, campaign, step and probability; a step's template is named after its position."""
    start = datetime(2026, 3, 2, tzinfo=UTC)
    return pl.DataFrame(
        [
            {
                "lead_id": f"{enrollment}@{position}",
                "created_time": start + timedelta(days=position),
                "enrollment_id": enrollment,
                "campaign_id": campaign,
                "step_id": step,
                "template_id": None if step is None else f"t{position}",
                "p": p,
                "elv": 100 * p,
            }
            for enrollment, position, campaign, step, p in rows
        ],
        schema_overrides={"step_id": pl.String, "template_id": pl.String},
    )


def board(predictions: pl.DataFrame, spec: LeaderboardSpec, matured: pl.DataFrame | None = None) -> pl.DataFrame:
    found = leaderboard(
        predictions,
        None,
        spec=spec,
        names=NAMES,
        probability_column="p",
        value_spread=0.0,
        min_segment_leads=1,
        segment_error=0.1,
    )
    assert found is not None
    known = predictions.clear().with_columns(y=pl.lit(0, pl.Int8)) if matured is None else spec.counted(matured)
    errors = dict.fromkeys(spec.id_columns, 0.1)
    ranked = rank_segments(found, known, levels=spec.id_columns, errors=errors, probability_column="p")
    return spec.contract(WORDS).validate(ranked.select(spec.columns), place="board")


ROWS = moments(
    [
        ("e1", 0, "A", None, 0.1),
        ("e1", 1, "A", "a1", 0.2),
        ("e1", 2, "A", "a2", 0.3),
        ("e2", 0, "A", None, 0.3),
        ("e2", 1, "A", "a1", 0.4),
        ("e3", 1, "B", "b1", 0.25),
    ]
)


def test_an_enrollment_counts_once_in_its_campaign_with_its_first_moment() -> None:
    found = board(ROWS, CAMPAIGN)
    assert found.select("campaign_id", "campaign_name", "lead_count").rows() == [("B", "Beta", 1), ("A", "Alpha", 2)]
    assert found.filter(campaign_id="A")["predicted_elv"].item() == pytest.approx(10 + 30)


def test_the_order_of_the_rows_does_not_choose_the_moment_that_counts() -> None:
    assert board(ROWS.reverse(), CAMPAIGN).equals(board(ROWS, CAMPAIGN))


def test_every_moment_at_a_step_counts_and_the_step_has_its_name() -> None:
    found = board(ROWS, STEP).select("campaign_id", "step_id", "step_name", "lead_count", "elv_per_lead")
    by_step = {row["step_id"]: row for row in found.to_dicts()}
    assert by_step["a1"]["lead_count"] == 2
    assert by_step["a1"]["elv_per_lead"] == pytest.approx(30)
    assert (by_step["a2"]["step_name"], by_step["a2"]["lead_count"]) == ("2. call", 1)
    assert found["step_id"].to_list()[-1] is None, "moments before the first step come last"


def test_a_template_of_several_campaigns_is_one_row_without_a_name() -> None:
    found = board(ROWS, TEMPLATE)
    assert found.filter(template_id="t1")["lead_count"].item() == 3
    assert "template_name" not in found.columns


@pytest.mark.parametrize("spec", OUTREACH_BOARDS, ids=lambda spec: spec.level)
def test_a_board_without_spend_ranks_by_value_each_and_has_no_column_of_spend(spec: LeaderboardSpec) -> None:
    found = board(ROWS, spec)
    assert not set(SPEND_COLUMNS) & set(found.columns)
    known = found.drop_nulls(spec.segment)
    assert known["shrunk_elv_per_lead"].is_sorted(descending=True)


def test_known_outcomes_move_the_rank_once_an_enrollment() -> None:
    twice = moments([(f"m{n}", position, "A", f"a{position}", 0.2) for n in range(40) for position in (1, 2)])
    matured = twice.with_columns(y=pl.lit(0, pl.Int8))
    found = board(ROWS, CAMPAIGN, matured).filter(campaign_id="A")
    assert found["own_rows"].item() == 40
    assert found["shrunk_elv_per_lead"].item() < found["elv_per_lead"].item()


def test_every_problem_with_words_has_boards_of_its_own_levels() -> None:
    for problem, specs in BOARDS.items():
        words = words_of(problem)
        assert {spec.segment for spec in specs} <= {level.id_column for level in words.levels}
        assert {spec.level for spec in specs} <= {level.name for level in words.levels}


def test_predictions_say_where_a_moment_belongs() -> None:
    contract = predictions_contract("p_booked_call_7d", id_columns=WORDS.id_columns, words=WORDS)
    assert contract.names[-4:] == ("campaign_id", "template_id", "step_id", "enrollment_id")
    told = {column.name: column.description for column in contract.columns}
    assert told["step_id"] == "Step of the moment; empty where unknown."
    assert not [text for text in told.values() if "lead " in text or text.endswith("lead.")]


def test_a_contract_of_a_board_is_checked() -> None:
    contract: TableContract = STEP.contract(WORDS)
    assert contract.name == "step_leaderboard"
    assert contract.key == ("campaign_id", "step_id")
    assert contract.description == "Steps by expected value, best first."
