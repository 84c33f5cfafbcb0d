from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ElvError
from elv_pipeline.monitoring.day_completeness import DayFinding, Extraction, completeness, day_content
from elv_pipeline.settings_operation import Monitoring

DAY = date(2025, 6, 16)
DAY_END = datetime(2025, 6, 17, tzinfo=UTC)
WEEK = (1.1, 1.0, 1.0, 1.05, 0.95, 0.5, 0.4)


def history(rows: Sequence[int], *, table: str = "leads", last: date = DAY) -> pl.DataFrame:
    days = [last - timedelta(days=back) for back in reversed(range(len(rows)))]
    return pl.DataFrame(
        {"table": [table] * len(rows), "day": days, "rows": list(rows)},
        schema={"table": pl.String, "day": pl.Date, "rows": pl.Int64},
    )


def account(mean: float, *, days: int, seed: int, spread: float = 0.1, growth: float = 0.02) -> list[int]:
    """Rows by day of an account with a week's rhythm, growth (a week) and restless days."""
    random = np.random.default_rng(seed)
    position = np.arange(days)
    level = mean * np.exp(growth * position / 7) * np.array(WEEK)[position % 7] / np.mean(WEEK)
    return random.poisson(level * random.gamma(1 / spread**2, spread**2, days)).tolist()


def found(rows: Sequence[int], **arguments: object) -> list[DayFinding]:
    return completeness(history(rows), DAY, settings=Monitoring(), day_end=DAY_END, **arguments)  # type: ignore[arg-type]


def kinds(findings: Sequence[DayFinding]) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.holds) for finding in findings]


def test_a_usual_day_raises_nothing() -> None:
    assert found(account(400, days=99, seed=1)) == []


@pytest.mark.parametrize("weekday", range(7))
def test_a_low_weekday_is_compared_with_itself(weekday: int) -> None:
    rows = account(400, days=99 + weekday, seed=2)[-99:]
    assert found(rows) == []


def test_half_a_day_holds_and_names_its_numbers() -> None:
    rows = account(1000, days=99, seed=3, spread=0.03)
    halved = rows[-1] // 2
    (finding,) = found([*rows[:-1], halved])
    assert (finding.table, finding.day, finding.kind, finding.holds) == ("leads", DAY, "too_few_rows", True)
    assert finding.rows == halved
    assert finding.share == pytest.approx(0.5, abs=0.06)
    assert f"leads has {halved:,} rows on 2025-06-16, where about " in finding.message
    assert finding.as_dict()["day"] == "2025-06-16"


def test_a_surely_lower_day_above_the_share_does_not_hold() -> None:
    rows = account(5000, days=99, seed=4, spread=0.02)
    assert found([*rows[:-1], int(rows[-1] * 0.7)]) == []


def test_few_rows_below_the_share_do_not_hold_where_chance_explains_them() -> None:
    rows = account(8, days=99, seed=5)
    assert found([*rows[:-1], 2]) == []


def test_a_step_down_holds_at_first_and_is_usual_within_a_week() -> None:
    rows = account(500, days=99, seed=6, spread=0.05)
    lower = [int(count * 0.35) for count in rows]
    held = [bool(found([*rows[: 99 - low], *lower[99 - low :]])) for low in range(1, 8)]
    assert held[0]
    assert not held[-1]


def test_an_account_with_low_days_of_its_own_is_spared_them() -> None:
    rows = account(300, days=99, seed=7, spread=0.05)
    for low in (66, 80):
        rows[low] = rows[low] // 4
    assert found([*rows[:-1], rows[-1] // 4]) == []
    once = account(300, days=99, seed=7, spread=0.05)
    assert kinds(found([*once[:-1], once[-1] // 4])) == [("too_few_rows", True)]


def test_an_account_younger_than_two_weeks_is_not_judged_by_counts() -> None:
    young = account(500, days=13, seed=8)
    assert found([*young, 0]) == []
    assert found([*([0] * 80), *young, 0]) == []
    assert kinds(found([*account(500, days=15, seed=8), 0])) == [("no_rows", True)]


def test_silence_of_a_small_table_adds_up_over_days() -> None:
    rows = account(4, days=99, seed=9)
    assert found([*rows[:-1], 0]) == []
    assert found([*rows[:-2], 0, 0]) == []
    (finding,) = found([*rows[:-6], 0, 0, 0, 0, 0, 0])
    assert (finding.kind, finding.holds) == ("no_rows", True)
    assert "no rows since 2025-06-11 up to 2025-06-16, where about 1" in finding.message


def test_a_long_silence_is_a_pause_that_is_told_but_does_not_hold() -> None:
    rows = account(200, days=99, seed=10)
    assert kinds(found([*rows[:-7], *[0] * 7])) == [("no_rows", True)]
    assert kinds(found([*rows[:-8], *[0] * 8])) == [("no_rows", False)]


def test_far_too_many_rows_are_told_but_do_not_hold() -> None:
    rows = account(400, days=99, seed=11)
    assert kinds(found([*rows[:-1], rows[-1] * 4])) == [("too_many_rows", False)]


def test_a_day_that_was_never_read_holds() -> None:
    rows = history(account(400, days=99, seed=12), last=DAY - timedelta(days=1))
    (finding,) = completeness(rows, DAY, settings=Monitoring(), day_end=DAY_END)
    assert (finding.kind, finding.holds) == ("not_extracted", True)


def test_later_days_do_not_change_the_verdict() -> None:
    rows = history(account(400, days=99, seed=13))
    later = history([1, 2, 3], last=DAY + timedelta(days=3))
    assert completeness(pl.concat([later, rows]), DAY, settings=Monitoring(), day_end=DAY_END) == []


def test_an_extraction_before_the_end_of_the_day_holds_whatever_it_counted() -> None:
    rows = account(400, days=99, seed=14)
    early, after = DAY_END - timedelta(minutes=1), DAY_END
    stale = found(rows, extractions={"leads": Extraction(recorded_at=early)})
    assert kinds(stale) == [("not_refreshed", True)]
    assert "2025-06-16 23:59 UTC" in stale[0].message
    assert found(rows, extractions={"leads": Extraction(recorded_at=after)}) == []
    unknown = found(rows, extractions={"ads": Extraction(recorded_at=early)})
    assert [(finding.table, finding.kind) for finding in unknown] == [("ads", "not_refreshed")]


def day_rows(*, shift: int = 0, spend: float = 2.5, rows: int = 12) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "day": [date(2025, 6, 15) + timedelta(days=shift)] * rows,
            "ad_id": [f"a{number}" for number in range(rows)],
            "spend": [spend * number for number in range(rows)],
        }
    )


def test_a_repeated_export_holds() -> None:
    yesterday, today = (
        day_content(day_rows()),
        day_content(day_rows(shift=1).sample(fraction=1.0, shuffle=True, seed=1)),
    )
    assert yesterday is not None
    content = {DAY - timedelta(days=1): yesterday, DAY: today}
    found_ = found(account(12, days=99, seed=15), extractions={"leads": Extraction(content=content)})
    assert kinds(found_) == [("repeated", True)]
    other = {**content, DAY: day_content(day_rows(shift=1, spend=2.6))}
    assert found(account(12, days=99, seed=15), extractions={"leads": Extraction(content=other)}) == []


def test_a_quiet_day_is_not_a_repeated_export() -> None:
    assert day_content(day_rows(spend=0.0)) is None
    assert day_content(day_rows(rows=9)) is None
    nothing = {DAY - timedelta(days=1): None, DAY: None}
    assert found(account(12, days=99, seed=15), extractions={"leads": Extraction(content=nothing)}) == []


def test_two_counts_of_one_day_are_refused() -> None:
    rows = history(account(400, days=99, seed=16))
    with pytest.raises(ElvError, match="table leads has more than one count for 2025-06-16"):
        completeness(pl.concat([rows, rows.tail(1)]), DAY, settings=Monitoring(), day_end=DAY_END)


def test_tables_are_judged_apart_and_what_holds_comes_first() -> None:
    leads, ads = account(400, days=99, seed=17), account(50, days=99, seed=18)
    both = pl.concat([history([*leads[:-1], leads[-1] * 4]), history([*ads[:-1], 0], table="outcomes")])
    findings = completeness(
        both.sample(fraction=1.0, shuffle=True, seed=1), DAY, settings=Monitoring(), day_end=DAY_END
    )
    assert [(finding.table, finding.kind) for finding in findings] == [
        ("outcomes", "no_rows"),
        ("leads", "too_many_rows"),
    ]


def judged(rows: list[int], *, first: int) -> int:
    """Days of an account that would have been held."""
    start = DAY - timedelta(days=len(rows) - 1)
    whole = history(rows)
    days = [start + timedelta(days=position) for position in range(first, len(rows))]
    return sum(
        any(finding.holds for finding in completeness(whole, day, settings=Monitoring(), day_end=DAY_END))
        for day in days
    )


def test_at_most_one_false_hold_in_a_thousand_days() -> None:
    accounts = [(20, 0.1, 0.03), (100, 0.15, -0.03), (1000, 0.2, 0.05), (300, 0.3, 0.0), (5, 0.2, -0.02)]
    held = sum(
        judged(account(mean, days=214, seed=100 + number, spread=spread, growth=growth), first=14)
        for number, (mean, spread, growth) in enumerate(accounts)
    )
    assert held <= 1


def caught(mean: float, *, share: float, spread: float, accounts: int = 60) -> float:
    held = 0
    for seed in range(accounts):
        rows = account(mean, days=99 + seed % 7, seed=1000 + seed, spread=spread)[-99:]
        left = int(np.random.default_rng(seed).binomial(rows[-1], share))
        held += any(finding.holds for finding in found([*rows[:-1], left]))
    return held / accounts


@pytest.mark.parametrize(
    ("mean", "share", "spread", "least"),
    [(20, 0.0, 0.1, 0.95), (100, 0.25, 0.1, 0.95), (1000, 0.5, 0.05, 0.9), (1000, 0.25, 0.2, 0.7)],
)
def test_planted_losses_are_caught_at_their_volumes(mean: float, share: float, spread: float, least: float) -> None:
    assert caught(mean, share=share, spread=spread) >= least
