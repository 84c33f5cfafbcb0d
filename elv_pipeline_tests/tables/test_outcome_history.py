"""Volume and matured rate as known at each lead's own moment. Exact agreement at random is in ``test_features.py``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.problems.feature_specs import OutcomeHistory
from elv_pipeline.tables.outcome_history import OutcomeHistories, OutcomeLog
from elv_pipeline.tables.prefix_sums import Codes, code_of
from elv_pipeline_tests.tables.world import HISTORY_SCHEMA, LEVELS, Row, frame

AD, ADSET, CAMPAIGN = LEVELS
SPEC = OutcomeHistory(levels=LEVELS, lookback_days=10, prior_leads=4)
NOW = datetime(2024, 6, 20, 12, tzinfo=UTC)
DAY, MILLISECOND, MICROSECOND = timedelta(days=1), timedelta(milliseconds=1), timedelta(microseconds=1)
LOG = OutcomeLog(window_days=3, observed_from=None, observed_until=None)


def lead(
    name: str,
    before: timedelta,
    *,
    outcome: timedelta | None = None,
    recorded: timedelta | None = None,
    withdrawn: timedelta | None = None,
    **ids: Any,
) -> Row:
    """A lead ``before`` NOW; its outcome, the record of it and its withdrawal also as time before NOW."""
    happened = None if outcome is None else NOW - outcome
    return {
        "lead_id": name,
        "created_time": NOW - before,
        "day": (NOW - before).date(),
        **{"ad_id": "a", "adset_id": "s", "campaign_id": "c", **ids},
        "outcome_time": happened,
        "outcome_recorded_time": happened if recorded is None else NOW - recorded,
        "outcome_withdrawn_time": None if withdrawn is None else NOW - withdrawn,
        "outcome_observed": True,
    }


def known(*history: Row, log: OutcomeLog | None = LOG, base: datetime = NOW - 60 * DAY, **ids: Any) -> dict[str, Any]:
    """What a lead at NOW knows of the given history."""
    me, rows = frame([lead("me", timedelta(0), **ids)], HISTORY_SCHEMA), frame(list(history), HISTORY_SCHEMA)
    everyone = pl.concat([rows, me]).lazy()
    codes = {level.key: Codes.of([me.lazy(), everyone], level.key) for level in LEVELS}
    compiled = OutcomeHistories.of(everyone, spec=SPEC, levels=LEVELS, codes=codes, log=log, base=base)
    coded = me.with_columns(known.code(key).alias(code_of(key)) for key, known in codes.items())
    return compiled.for_leads(coded)(coded).row(0, named=True)


def test_volume_counts_earlier_leads_of_the_lookback_only() -> None:
    history = [
        lead("older", 10 * DAY + MILLISECOND),
        lead("oldest counted", 10 * DAY),
        lead("newest counted", MILLISECOND),
        lead("same moment", timedelta(0)),
        lead("later", -MICROSECOND),
    ]
    assert known(*history)["all_leads_10d"] == 2
    assert known(*history)["ad_leads_10d"] == 2
    assert known(*history, ad_id="b")["ad_leads_10d"] == 0
    assert known(*history, ad_id=None)["ad_leads_10d"] is None


@pytest.mark.parametrize(
    ("before", "matured"),
    [(3 * DAY, 0), (3 * DAY + MILLISECOND, 1), (13 * DAY, 1), (13 * DAY + MILLISECOND, 0), (2 * DAY, 0)],
)
def test_a_lead_counts_once_its_window_has_passed_and_for_the_lookback(before: timedelta, matured: int) -> None:
    witness = lead("witness", 5 * DAY, outcome=4 * DAY)
    rate = known(witness, lead("x", before))["all_qualified_rate_10d"]
    assert rate == 1 / (1 + matured)


@pytest.mark.parametrize(
    ("outcome", "recorded", "counts"),
    [
        (5 * DAY, 5 * DAY, True),
        (2 * DAY, 2 * DAY, True),  # the very end of the window
        (2 * DAY - MICROSECOND, 2 * DAY - MICROSECOND, False),
        (4 * DAY, MILLISECOND, True),  # recorded after the lead matured, just before this moment
        (4 * DAY, timedelta(0), False),
        (4 * DAY, -DAY, False),
    ],
)
def test_an_outcome_counts_if_it_is_in_the_window_and_was_recorded_before(
    outcome: timedelta, recorded: timedelta, counts: bool
) -> None:
    assert known(lead("x", 5 * DAY, outcome=outcome, recorded=recorded))["all_qualified_rate_10d"] == float(counts)


def test_an_outcome_recorded_late_leaves_with_its_lead() -> None:
    # Matured 11 days ago, so no longer in the rate; recorded yesterday. It once made rates above one.
    late = lead("late", 14 * DAY, outcome=12 * DAY, recorded=DAY)
    assert known(late)["all_qualified_rate_10d"] is None
    assert known(late, lead("x", 5 * DAY))["all_qualified_rate_10d"] == 0.0
    assert known(late, lead("y", 5 * DAY, outcome=4 * DAY))["all_qualified_rate_10d"] == 1.0


def test_rates_are_shrunk_from_the_root_to_the_leaf() -> None:
    history = [
        lead("1", 5 * DAY, outcome=4 * DAY),
        lead("2", 5 * DAY, ad_id="b"),
        lead("3", 5 * DAY, ad_id="b2", adset_id="s2"),
        lead("4", 5 * DAY, ad_id="z", adset_id="z", campaign_id="z"),
    ]
    row = known(*history)
    everything = 1 / 4
    campaign = (1 + 4 * everything) / (3 + 4)
    adset = (1 + 4 * campaign) / (2 + 4)
    assert row["all_qualified_rate_10d"] == everything
    assert row["campaign_qualified_rate_10d"] == campaign
    assert row["adset_qualified_rate_10d"] == adset
    assert row["ad_qualified_rate_10d"] == (1 + 4 * adset) / (1 + 4)
    # A segment nobody has seen falls back to its parent; a lead without the id has no rate at that level.
    assert known(*history, ad_id="new")["ad_qualified_rate_10d"] == adset
    assert known(*history, ad_id=None)["ad_qualified_rate_10d"] is None


def test_leads_outside_the_outcome_record_are_volume_without_a_verdict() -> None:
    early, positive = lead("early", 6 * DAY), lead("positive", 5 * DAY, outcome=5 * DAY)
    log = OutcomeLog(window_days=3, observed_from=NOW - 5 * DAY, observed_until=None)
    assert known(early, positive, log=log)["all_qualified_rate_10d"] == 1.0
    assert known(early, positive, log=log)["all_leads_10d"] == 2
    ends = OutcomeLog(window_days=3, observed_from=None, observed_until=NOW - 3 * DAY)
    assert known(early, positive, log=ends)["all_qualified_rate_10d"] == 0.0
    unobserved = {**early, "outcome_observed": False}
    assert known(unobserved, positive)["all_qualified_rate_10d"] == 1.0
    assert known(unobserved, positive)["all_leads_10d"] == 2


def test_without_outcomes_there_is_volume_and_an_empty_rate() -> None:
    row = known(lead("x", DAY), log=None)
    assert row == {
        "all_leads_10d": 1,
        "ad_leads_10d": 1,
        "adset_leads_10d": 1,
        "campaign_leads_10d": 1,
        **dict.fromkeys(f"{level}_qualified_rate_10d" for level in ("all", "ad", "adset", "campaign")),
    }


def test_the_base_is_only_an_origin_of_counting() -> None:
    history = [lead("x", MICROSECOND), lead("y", 5 * DAY, outcome=4 * DAY), lead("z", 900 * MICROSECOND)]
    expected = known(*history)
    for offset in (MICROSECOND, 501 * MICROSECOND, 999 * MICROSECOND, 17 * DAY + 3 * MICROSECOND):
        assert known(*history, base=NOW - 60 * DAY + offset) == expected


def test_a_withdrawn_outcome_leaves_the_rate_when_that_is_known() -> None:
    old, stands = 5 * DAY, lead("other", 5 * DAY)
    outcome = {"outcome": 4 * DAY}
    assert known(lead("x", old, **outcome), stands)["all_qualified_rate_10d"] == 0.5
    assert known(lead("x", old, withdrawn=MILLISECOND, **outcome), stands)["all_qualified_rate_10d"] == 0.0
    assert known(lead("x", old, withdrawn=timedelta(0), **outcome), stands)["all_qualified_rate_10d"] == 0.5
    # Taken back before its lead had matured, it never counts; and leaving twice would make the rate negative.
    assert known(lead("x", old, withdrawn=3.5 * DAY, **outcome), stands)["all_qualified_rate_10d"] == 0.0
