"""What is said of a value, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from elv_pipeline.decisions.reason_words import MOST_CHARACTERS, Facts
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.reason_phrases import reason_phrases
from elv_pipeline.problems.sensitive import SENSITIVE

PHRASES = reason_phrases(LEAD_ADS)


def facts(column: str, *, usual: tuple[float, float, float] | None = None, common: tuple[str, ...] = ()) -> Facts:
    reference = ExplanationReference(
        quartiles={} if usual is None else {column: usual}, values={column: common}, encoded_means=None
    )
    return Facts.of(PHRASES[column], reference=reference, denied=SENSITIVE, currency="EUR")


def test_amounts_are_compared_with_the_frozen_quartiles() -> None:
    clicks = facts("campaign_clicks_7d", usual=(5.0, 8.0, 20.0))
    assert clicks.about(1) == "low clicks of the campaign over 7 days (1; usually 8)"
    assert clicks.about(5) == "usual clicks of the campaign over 7 days (5)"
    assert clicks.about(2345) == "high clicks of the campaign over 7 days (2,345; usually 8)"
    assert clicks.about(None) == clicks.about(float("nan")) == "no clicks of the campaign over 7 days"
    assert facts("campaign_clicks_7d").about(3) == "usual clicks of the campaign over 7 days (3)"


def test_money_shares_and_estimates_are_shown_as_such() -> None:
    assert facts("ad_spend_3d").about(3.5) == "usual spend of the ad over 3 days (3.50 EUR)"
    assert facts("ad_cpc_3d", usual=(1.0, 1.5, 2.0)).about(12_345.6).endswith("(12,346 EUR; usually 1.50 EUR)")
    assert facts("adset_ctr_3d").about(0.0123).endswith("(1.2 %)")
    rate = facts("campaign_qualified_rate_90d", usual=(0.05, 0.08, 0.1))
    assert rate.about(0.1234, 1340) == (
        "the campaign's leads qualified more often than usual (est. 12 %; usually 8.0 %; 1,340 leads in 90 days)"
    )
    assert rate.about(0.003) == "the campaign's leads qualified less often than usual (est. 0.30 %; usually 8.0 %)"


def test_trends_and_times_have_words_of_their_own() -> None:
    trend = facts("campaign_clicks_trend_7d", usual=(-1.0, -0.9, -0.8))
    assert [trend.about(value) for value in (1.0, 0.05, -1.0)] == [
        "clicks of the campaign rose over 7 days",
        "clicks of the campaign were steady over 7 days",
        "clicks of the campaign fell over 7 days",
    ]
    weekday = facts("created_weekday")
    assert weekday.about(1) == "the lead was created on a Monday"
    assert weekday.about(7) == "the lead was created on a Sunday"
    assert facts("created_hour").about(3) == "the lead was created at 3 to 4 o'clock"
    assert facts("created_month_day").about(12) == "day of the month on which the lead was created: 12"


@pytest.mark.parametrize("value", ["video ad", "fb", "instagram_stories"])
def test_a_plain_common_value_is_shown(value: str) -> None:
    assert facts("category_platform", common=(value,)).about(value) == f"the platform is {value}"


@pytest.mark.parametrize(
    "value",
    ["mara@example.org", "0049 170 123", "id 12345", "age 30-40", "only gender=f", "x" * 60, "=CMD(1)", "-1+1", "  "],
)
def test_what_may_be_personal_sensitive_or_a_formula_is_not_shown(value: str) -> None:
    assert facts("category_platform", common=(value,)).about(value) == "platform"


def test_a_rare_value_is_not_shown_and_an_id_never_is() -> None:
    assert facts("category_platform", common=("fb",)).about("Mara Muster") == "platform"
    assert facts("category_campaign_id", common=("c1",)).about("c1") == "the campaign itself, beyond its figures"
    assert "too small or new" in facts("category_campaign_id", common=("c1",)).about("c2")
    assert "not known" in facts("category_creative_type").about(None)


def test_every_fact_fits_whatever_its_figures() -> None:
    for column, phrase in PHRASES.items():
        say = facts(column, usual=(0.0, 1e11, 2e11), common=("x" * 40,))
        values: tuple[object, ...] = ("x" * 40, "y") if phrase.unit in ("value", "silent") else (9.9e11, 1e10, -4.0)
        for value in (*values, None):
            assert 0 < len(say.about(value, 10**9)) <= MOST_CHARACTERS
    long = replace(PHRASES["ad_spend_3d"], high="a" * 125)
    assert replace(facts("ad_spend_3d", usual=(0, 1, 2)), phrase=long).about(123_456.0) == "a" * 125


def test_values_that_repeat_are_said_alike() -> None:
    clicks = facts("campaign_clicks_7d", usual=(5.0, 8.0, 20.0))
    assert clicks.all([1, 30, 1], None) == [clicks.about(1), clicks.about(30), clicks.about(1)]
    assert clicks.all([], None) == []


def test_one_lead_is_one_lead_and_none_is_said_to_be_none() -> None:
    rate = facts("ad_qualified_rate_90d", usual=(0.05, 0.08, 0.1))
    assert rate.about(0.02, 1).endswith("(est. 2.0 %; usually 8.0 %; 1 lead in 90 days)")
    assert rate.about(0.02, 2).endswith("; 2 leads in 90 days)")
    assert rate.about(0.071, 0) == "no lead of the ad in 90 days yet (est. 7.1 %)"
    assert rate.about(0.2, 0) == "no lead of the ad in 90 days yet (est. 20 %; usually 8.0 %)"


def test_only_measures_that_everybody_reads_alike_have_a_direction() -> None:
    directed = {phrase.group for phrase in PHRASES.values() if phrase.higher_is_better}
    assert directed == {
        *(f"{level}_qualified_rate" for level in ("campaign", "adset", "ad", "all")),
        *(f"{level}_ctr" for level in ("campaign", "adset", "ad")),
    }
