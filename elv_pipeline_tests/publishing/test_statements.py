from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.publishing.pages.statements import compared, how_sure, money_advice, verdict
from elv_pipeline_tests.publishing.sample_content import MANIFEST, board, figure, full_content, metrics


def test_a_difference_counts_only_when_its_interval_excludes_zero() -> None:
    assert compared({"value": 0.1, "low": 0.05, "high": 0.15}, name="roc_auc") == "model better"
    assert compared({"value": 0.1, "low": 0.05, "high": 0.15}, name="log_loss") == "model worse"
    assert compared({"value": 0.1, "low": -0.05, "high": 0.15}, name="roc_auc") == "no clear difference"
    assert compared({"value": 0.1, "low": None, "high": None}, name="roc_auc") == ""
    assert compared(None, name="roc_auc") == ""


def test_verdict_follows_the_interval_not_the_value() -> None:
    assert verdict(full_content(findings=())).tone == "good"
    assert verdict(full_content()).tone == "care"
    assert verdict(full_content(metrics=metrics(lift=1.45))).tone == "stop"
    assert verdict(full_content(metrics=None)).tone == "unknown"


def level(*, predicted: float, low: float, high: float) -> str:
    """What is said of the mean probability, beside an observed rate of 8 %."""
    judged = metrics()
    judged["models"]["model"]["mean_prediction"]["value"] = predicted
    judged["test"] |= {"base_rate_low": low, "base_rate_high": high}
    found = verdict(full_content(metrics=judged, findings=()))
    return found.why[0] if found.why else found.reasons[-1]


def test_the_level_of_the_probabilities_is_judged_by_what_the_interval_can_tell() -> None:
    figures = "expected 8.1%, observed 8.0% (95% interval 6.5% to 9.8%, 80 qualified)"
    assert level(predicted=0.081, low=0.0648, high=0.0985) == (
        f"On average its probabilities can be taken at face value: {figures}, no clear difference."
    )
    assert "run high: 20.0% expected on the later leads" in level(predicted=0.2, low=0.0648, high=0.0985)
    assert "run low: 3.0% expected on the later leads" in level(predicted=0.03, low=0.0648, high=0.0985)


def test_four_qualified_leads_do_not_prove_any_level() -> None:
    """7.0 % expected and 3.3 % observed differ by half without being clearly different."""
    said = level(predicted=0.07, low=0.013, high=0.083)
    assert "face value" not in said
    assert "no clear difference, but too few qualified to rule one out" in said


def test_probabilities_that_are_off_ask_for_care() -> None:
    high = metrics()
    high["models"]["model"]["mean_prediction"]["value"] = 0.2
    assert verdict(full_content(metrics=high, findings=())).tone == "care"


@pytest.mark.parametrize(
    ("metric", "difference", "said"),
    [
        ("roc_auc", -0.05, "It ranks worse than the campaign's past rate: use the simpler rule."),
        ("lift_at_10pct", -0.7, "In the top tenth, the campaign's past rate does better."),
        ("log_loss", 0.02, "Its probabilities are further from what happened than those of the campaign's past rate."),
    ],
)
def test_a_simpler_rule_that_is_clearly_better_is_said_first(metric: str, difference: float, said: str) -> None:
    beaten = metrics()
    beaten["differences"]["campaign_rate"][metric] = figure(difference, 0.01)
    found = verdict(full_content(metrics=beaten, findings=()))
    assert found.tone == "care"
    assert found.headline == "The model beats chance (2.9x in the top tenth), but not the campaign's past rate."
    assert said in found.reasons[1]


def test_money_advice_names_only_campaigns_with_volume_clearly_off_the_average() -> None:
    advice = money_advice(full_content())
    assert advice[0].startswith(
        "By this model, put money on “Campaign 6” (€35.00), “Campaign 5” (€30.00) and “Campaign 4” (€25.00)"
    )
    assert "Campaign 7" not in " ".join(advice), "the best has too few leads"
    assert advice[1].startswith("By this model, think twice about “Campaign 0”")
    wide = board(8).with_columns(elv_per_spend_low=pl.lit(0.0), elv_per_spend_high=pl.lit(99.0))
    assert money_advice(full_content(campaign_leaderboard=wide)) == [
        "By this model, no campaign with enough leads is clearly above the average of €20.00 per €1 spent."
    ]
    assert money_advice(full_content(campaign_leaderboard=board(1))) == [
        "Campaigns with enough leads to judge: 1 of 1. Nothing to compare yet."
    ]


def test_default_value_is_called_out() -> None:
    content = full_content(manifest={**MANIFEST, "value_per_qualified": 1.0})
    assert "A qualified lead is valued at €1, the default: read money figures as counts of leads." in how_sure(content)


def test_a_model_that_is_not_fit_to_act_on_gives_no_advice() -> None:
    unproven = full_content(metrics=metrics(lift=1.45))
    assert money_advice(unproven) == ["No advice: first the model has to be fit to act on."]


def test_what_is_clearly_below_is_named_even_where_nothing_is_clearly_above() -> None:
    wide = board(8).with_columns(elv_per_spend_low=pl.lit(0.0))
    advice = money_advice(full_content(campaign_leaderboard=wide))
    assert "no campaign with enough leads is clearly above" in advice[0]
    assert advice[1].startswith("By this model, think twice about “Campaign 0”")


def test_what_the_intervals_hold_is_said() -> None:
    said = " ".join(how_sure(full_content()))
    assert "resample whole days" in said
    assert "sums over a campaign were off by 30% beyond chance" in said
    single = metrics()
    single["test"]["resampled"] = "leads"
    assert "they may be too narrow" in " ".join(how_sure(full_content(metrics=single)))


def test_a_warning_that_the_page_lists_is_not_quoted_in_the_verdict() -> None:
    finding = {"severity": "warning", "code": "x", "message": "23 of 334 times are midnights.", "remedy": ""}
    one, two = (verdict(full_content(findings=(finding,) * count)).why for count in (1, 2))
    assert one[-1] == "A warning is open: it is told below, with what to do."
    assert two[-1] == "A warning is open (1 more): they are told below."
