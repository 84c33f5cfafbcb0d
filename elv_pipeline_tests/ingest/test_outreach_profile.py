"""The profile of outreach counts what there is to learn from, and says what is missing and where it is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.ingest.review.outreach_profile import outreach_profile, outreach_profile_markdown
from elv_pipeline.problems.outreach import target_of
from elv_pipeline.settings import PipelineConfig

START = datetime(2025, 3, 1, 23, 30, tzinfo=UTC)
PATHS = {f"{table}_path": f"{table}.csv" for table in CANONICAL}
FINDING = {
    **dict.fromkeys(("code", "table", "effect", "message", "remedy"), "x"),
    **{"severity": "warning", "rows": 1, "of": 9},
}


def profile(
    *, outcomes: list[dict[str, Any]] | None = None, findings: list[dict[str, Any]] | None = None, **settings: Any
) -> dict[str, Any]:
    """Ten enrollments, one a day from the last half hour of a UTC day on, seen from twenty days after the first."""
    config = PipelineConfig.model_validate(
        {
            **{"name": "crm", "problem": "outreach", "target": "qualified", "paths": PATHS},
            **{"minimum_data": {"leads": 6, "days": 10}, "model": {"min_positives": 2}},
            **settings,
        }
    )
    table = {"file": "t.csv", "rows": 12, "dropped_columns": ["name"]}
    schema = {"enrollment_id": pl.String, "outcome": pl.String, "withdrawn_time": pl.Datetime("us", "UTC")}
    return outreach_profile(
        {"tables": {"contacts": table}, "cleaned_rows": {"contacts": 11}, "findings": findings or []},
        enrollments=pl.LazyFrame({"enrolled_time": [START + timedelta(days=day) for day in range(10)]}),
        outcomes=None if outcomes is None else pl.LazyFrame(outcomes, schema=schema),
        target=target_of(config),
        config=config,
        observed_until=START + timedelta(days=20),
    )


def reached(*names: str, outcome: str = "qualified", withdrawn: datetime | None = None) -> list[dict[str, Any]]:
    return [{"enrollment_id": name, "outcome": outcome, "withdrawn_time": withdrawn} for name in names]


def test_what_counts_is_old_enough_stands_and_is_of_the_target() -> None:
    others = reached("e3", outcome="converted") + reached("e4", withdrawn=START)
    found = profile(outcomes=[*reached("e1", "e1", "e2"), *others])
    # Qualified counts 14 days from the moment: six of ten began more than 14 days before the end.
    assert found["readiness"]["train"]["counts"] == {"enrollments": 10, "old_enough": 6, "reached": 2, "days": 10}
    assert (found["verdict"], found["readiness"]["train"]["reasons"]) == ("ready", [])


def test_days_are_local() -> None:
    assert profile(outcomes=[])["first_day"] == "2025-03-01"
    assert profile(outcomes=[], timezone="Europe/Berlin")["first_day"] == "2025-03-02"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"minimum_data": {"leads": 7, "days": 10}}, "minimum_data.leads"),
        ({"minimum_data": {"leads": 6, "days": 11}}, "minimum_data.days"),
        ({"model": {"min_positives": 3}}, "model.min_positives"),
    ],
)
def test_what_is_missing_names_the_setting_and_keeps_nobody_from_scoring(settings: dict[str, Any], key: str) -> None:
    found = profile(outcomes=reached("e1", "e2"), **settings)
    (reason,) = found["readiness"]["train"]["reasons"]
    assert key in reason
    assert (found["verdict"], found["readiness"]["score"]["ready"]) == ("not ready", True)


def test_without_outcomes_nothing_can_be_learned() -> None:
    (reason,) = profile()["readiness"]["train"]["reasons"]
    assert "paths.outcomes_path" in reason


def test_a_finding_is_a_warning_and_is_told_with_the_tables() -> None:
    found = profile(outcomes=reached("e1", "e2"), findings=[{**FINDING, "message": "9 copies are dropped"}])
    assert found["verdict"] == "ready with warnings"
    told = outreach_profile_markdown(found)
    for part in (
        "**Ready with warnings.**",
        "| contacts | t.csv | 12 | 11 | name |",
        "- **warning** 9 copies are dropped",
    ):
        assert part in told
