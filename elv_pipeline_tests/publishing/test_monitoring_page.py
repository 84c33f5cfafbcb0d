from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from elv_pipeline.monitoring.alert import SEVERITIES
from elv_pipeline.monitoring.alert_rules_inputs import TableAge
from elv_pipeline.publishing.pages.monitoring.content import MonitoringContent
from elv_pipeline.publishing.pages.monitoring.page import (
    FIGURES,
    monitoring_metadata,
    render_monitoring,
)
from elv_pipeline_tests.publishing import sample_monitoring as sample
from elv_pipeline_tests.publishing.sample_monitoring import AS_OF, LAST, alert, monitoring_charts, monitoring_content
from elv_pipeline_tests.publishing.test_report import HOSTILE, Page, specs, without_viewer

CASES: dict[str, MonitoringContent] = {
    "all is well": monitoring_content(),
    "trouble": sample.troubled_content(),
    "one day": sample.young_content(),
    "nothing": sample.empty_content(),
    "no outcomes": monitoring_content(performance=sample.performance_frame(3, waiting=4), reconciled=None),
    "too few leads to estimate": monitoring_content(
        performance=sample.performance_frame(2).with_columns(
            pl.lit(None, pl.Float64).alias(name)
            for name in ("estimated", "estimated_low", "estimated_high", "realised", "realised_low", "realised_high")
        )
    ),
    "no value": monitoring_content(
        days=sample.days_frame().with_columns(pl.lit(None, pl.Float64).alias("expected_value")),
        drift=sample.drift_frame().with_columns(pl.lit(None, pl.Float64).alias("money_at_stake")),
    ),
    "only held days": monitoring_content(days=sample.days_frame(3, held=3), performance=None, drift=None),
    "one day of drift": monitoring_content(drift=sample.drift_frame(1)),
    "no comparison possible": monitoring_content(
        drift=sample.drift_frame(2).with_columns(
            pl.lit(None, pl.Float64).alias(name) for name in ("psi", "threshold", "effect", "expected", "observed")
        )
    ),
    "tables without rows": monitoring_content(
        rows=None, freshness=(TableAge(table="leads", newest_day=None), TableAge(table="ads", newest_day=LAST))
    ),
}


def text_of(content: MonitoringContent) -> str:
    return Page(without_viewer(render_monitoring(content))).text


@pytest.mark.parametrize("name", CASES)
def test_every_state_of_an_account_renders_and_leaves_no_figure_without_a_place(name: str) -> None:
    document = render_monitoring(CASES[name])
    page = Page(without_viewer(document))
    assert [tag for tag, _ in page.tags if tag in {"h1", "h2"}] == ["h1", *["h2"] * 6]
    places = {str(attributes["id"]) for _, attributes in page.tags if str(attributes.get("id")).startswith("figure-")}
    assert places == {f"figure-{key}" for key in specs(document)} | {"figure-specs"}
    missing = set(FIGURES) - set(specs(document))
    assert page.text.count("not available Because:") == len(missing)
    assert "None" not in page.text.replace("None of", "")
    assert " nan" not in page.text


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_valid_and_its_title_is_a_sentence(name: str) -> None:
    for chart in monitoring_charts(CASES[name]).values():
        assert len(chart.to_dict()["title"]["text"].split()) > 4


def test_a_quiet_account_reads_well_from_the_top() -> None:
    text = text_of(monitoring_content())
    order = [
        "Nothing to do",
        "All is well: 119 leads yesterday, worth €1,675 by expectation, and outcomes come as promised.",
        "Leads yesterday 119",
        "would be usual",
        "Observed / expected 1.06",
        "95% interval 0.97 to 1.16; 1 is right",
        "Age of the model 29 days version 6 learned until 1 Jun 2025 and scores since 2 Jun 2025",
        "Open alerts 0 none",
        "The 119 leads yesterday are within the",
        "In none of 22 complete weeks did surely more or fewer outcomes come than promised",
        "came in 22 complete weeks where €440,352 were promised",
        "Version 6 scores since 2 Jun 2025; the model changed 4 times in this time, 1 of them back to an earlier one",
        "Over 22 complete cohorts the estimates held",
        "None of 17 comparisons with the model's reference is called out on 29 Jun 2025",
        "No day waits for its inputs.",
        "What was written to the score database",
        "Nothing is missing from this page.",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_the_alert_that_matters_most_comes_first_with_number_money_and_action() -> None:
    text = text_of(sample.troubled_content())
    order = [
        "Needs attention",
        "Look at this: fewer outcomes come than the scores promised (6.1% of the leads, not 8.0%); €14,200 at stake.",
        "Do: Check that outcomes are recorded completely.",
        "Open since 27 Jun 2025, 07:00 Europe/Berlin.",
        "Below: 1 more to look into and 1 thing to know.",
        "Also open",
        "1 day is held back because inputs are incomplete",
        "To know · open since 27 Jun 2025, 07:00 Europe/Berlin · €1,900 at stake",
        "In 19 of 22 complete weeks the outcomes surely missed the promise; the newest brought surely fewer",
        "1 of 17 comparisons called out on 28 Jun 2025: ad_clicks_1d",
        "1 day waits for complete inputs.",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count("Fewer outcomes came than the scores promised") == 1


TOO_FEW = sample.reconciled("too few")


@pytest.mark.parametrize(
    ("changes", "word", "headline"),
    [
        ({"alerts": [alert("info", "new_categories")]}, "Nothing to do", "All is well: 119 leads yesterday"),
        (
            {
                "alerts": [
                    alert("critical", "run_failed", money=None, message="Run 7 of daily failed. Nothing is lost.")
                ]
            },
            "Needs attention now",
            "Look at this: Run 7 of daily failed. Do:",
        ),
        (
            {"days": sample.days_frame(leads=20)},
            "Nothing to do",
            "No alert is open: 20 leads yesterday, fewer than usual",
        ),
        (
            {"days": sample.days_frame(leads=900)},
            "Nothing to do",
            "No alert is open: 900 leads yesterday, more than usual",
        ),
        (
            {"performance": sample.performance_frame(came=0.6)},
            "Nothing to do",
            "No alert is open: 119 leads yesterday, worth €1,675 by expectation, and outcomes come 0.64 times as often",
        ),
        ({"days": sample.days_frame(held=1)}, "Needs attention", "Look at this: 29 Jun 2025 waits for complete inputs"),
        (
            {"days": sample.days_frame(last=LAST - timedelta(days=5))},
            "Needs attention",
            "Look at this: nothing was scored after 24 Jun 2025, 6 days ago.",
        ),
        ({"performance": None}, "Too early to say", "Nothing is wrong so far: 119 leads yesterday"),
        (
            {"reconciled": {**TOO_FEW, "figures": {"value": {**TOO_FEW["figures"]["value"], "cohorts": 2}}}},
            "Too early to say",
            "Nothing is wrong so far: 119 leads yesterday, worth €1,675 by expectation; whether promises are kept "
            "cannot be judged yet (2 of 3 complete weeks of this model).",
        ),
        (
            {"reconciled": None},
            "Too early to say",
            "Nothing is wrong so far: 119 leads yesterday, worth €1,675 by expectation; whether promises are kept "
            "cannot be judged yet (0 of 3 complete weeks of this model).",
        ),
    ],
)
def test_the_verdict_says_no_more_than_is_known(changes: dict[str, Any], word: str, headline: str) -> None:
    text = text_of(monitoring_content(**changes))
    assert f"{word} {headline}" in text
    assert ("All is well" in text) == headline.startswith("All is well")


def test_nothing_scored_is_said_plainly() -> None:
    text = text_of(sample.empty_content())
    assert "Nothing has been scored yet, so there is nothing to watch." in text
    assert "Drift: no day was compared with the model's reference yet." in text
    assert "Inputs: row counts and freshness of the tables are not known." in text


@pytest.mark.parametrize("severity", SEVERITIES)
def test_every_severity_has_words(severity: str) -> None:
    text = text_of(monitoring_content(alerts=[alert(severity), alert(severity, "day_held", money=None)]))
    assert "Open alerts 2" in text


def test_an_alert_in_the_words_of_its_rule_is_not_said_twice() -> None:
    said = "The registry is full. Version 7 could not be kept."
    text = text_of(monitoring_content(alerts=[alert("warning", "some_rule", message=said, money=None)]))
    assert "Look at this: The registry is full. Do:" in text
    assert "Version 7 could not be kept. Open since" in text
    assert text.count("The registry is full") == 1


def test_inputs_and_held_days_tell_what_is_late_and_what_was_missing() -> None:
    late = TableAge(table="ads", newest_day=LAST - timedelta(days=4), recorded_at=datetime(2025, 6, 26, 4, tzinfo=UTC))
    text = text_of(monitoring_content(freshness=(late,)))
    assert "ads 25 Jun 2025 5 days" in text
    assert "26 Jun 2025, 06:00 Europe/Berlin" in text
    assert "10 Jun 2025 released by hand" in text
    assert "leads has 21 rows on 2025-06-10" in text


def test_a_day_that_was_scored_before_it_was_complete_says_so() -> None:
    entry = {"since": "2025-06-16T04:00:00+00:00", "status": "complete", "findings": []}
    times = {"scored_at": "2025-06-19T04:00:00+00:00", "complete_at": "2025-06-20T04:00:00+00:00"}
    late = text_of(monitoring_content(held={"2025-06-15": {**entry, **times}}))
    assert "15 Jun 2025 scored incomplete, complete later" in late
    assert "Nothing since 20 Jun 2025, 06:00 Europe/Berlin." in late
    early = {"scored_at": times["complete_at"], "complete_at": times["scored_at"]}
    for known in (early, {"scored_at": times["scored_at"]}):
        assert "15 Jun 2025 became complete" in text_of(monitoring_content(held={"2025-06-15": {**entry, **known}}))


def test_no_name_of_a_person_is_shown() -> None:
    document = render_monitoring(monitoring_content())
    assert "Zoe" not in document


def test_names_and_messages_from_data_stay_text() -> None:
    day = LAST - timedelta(days=1)
    hostile = monitoring_content(
        name=HOSTILE,
        alerts=[alert("warning", "some_rule", message=HOSTILE, action=HOSTILE, cause=HOSTILE)],
        drift=pl.concat(
            [
                sample.drift_frame(1),
                pl.DataFrame([sample.drift_row(HOSTILE, LAST, share=3.0)], schema=sample.drift_frame(1).schema),
            ]
        ),
        audit=[sample.audit_entry(day, reason=HOSTILE)],
        writes=[sample.write(day, run_id=HOSTILE)],
    )
    page = Page(without_viewer(render_monitoring(hostile)))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert HOSTILE in page.text
    pieces = monitoring_metadata(replace(hostile, drift=None, performance=None, days=sample.days_frame(2)))
    assert "<script>" not in pieces["verdict"] + pieces["open_alerts"]


def test_the_page_loads_nothing_and_only_its_own_scripts_may_run() -> None:
    page = Page(without_viewer(render_monitoring(sample.troubled_content())))
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert str(attributes.get("href", "#")).startswith("#")
    policy = next(str(attributes["content"]) for _, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_the_order_of_rows_does_not_matter() -> None:
    content = sample.troubled_content()
    shuffled = list(content.alerts)
    random.Random(3).shuffle(shuffled)
    assert content.rows is not None
    assert content.drift is not None
    assert content.performance is not None
    again = replace(
        content,
        days=content.days.reverse(),
        rows=content.rows.reverse(),
        drift=content.drift.sample(fraction=1.0, shuffle=True, seed=1),
        performance=content.performance.reverse(),
        alerts=shuffled,
        audit=list(reversed(content.audit)),
        writes=list(reversed(content.writes)),
    )
    assert render_monitoring(again) == render_monitoring(content)


@pytest.mark.parametrize("seed", range(3))
def test_comparisons_that_moved_as_far_are_told_in_one_order(seed: int) -> None:
    drift = sample.troubled_content().drift
    assert drift is not None
    tied = drift.with_columns(
        *(pl.lit(0.5).alias(name) for name in ("psi", "effect")), pl.lit(0.1).alias("threshold"), drifted=pl.lit(True)
    )
    content = replace(sample.troubled_content(), drift=tied)
    again = replace(content, drift=tied.sample(fraction=1.0, shuffle=True, seed=seed))
    assert render_monitoring(again) == render_monitoring(content)


def test_a_year_with_thirty_features_stays_small() -> None:
    content = monitoring_content(
        365,
        rows=sample.rows_frame(365),
        drift=sample.drift_frame(365, features=30),
        performance=sample.performance_frame(53),
        writes=[sample.write(LAST - timedelta(days=at)) for at in range(365)],
    )
    document = render_monitoring(content)
    assert len(document.encode()) < 1_500_000
    rows = (
        [row for data in specs(document)["drift"]["datasets"].values() for row in data]
        if "datasets" in specs(document)["drift"]
        else specs(document)["drift"]["data"]["values"]
    )
    assert len(rows) == 30 * 53
    assert "Days: the newest 92 of 365" in document


def test_the_ui_gets_small_pieces_of_markdown() -> None:
    pieces = monitoring_metadata(sample.troubled_content())
    assert list(pieces) == ["verdict", "numbers", "open_alerts", "volume", "calibration", "value", "drift"]
    assert pieces["verdict"].startswith("**Look at this: fewer outcomes come than the scores promised")
    assert "Do: Check that outcomes are recorded completely." in pieces["verdict"]
    assert pieces["numbers"].count("\n") == 6
    assert pieces["open_alerts"].count("\n") == 4
    for name in ("volume", "calibration", "value", "drift"):
        assert pieces[name].split("](")[1].startswith("data:image/png;base64,")
        assert len(pieces[name]) < 61_000
    assert list(monitoring_metadata(sample.empty_content())) == ["verdict", "numbers", "open_alerts"]
    assert monitoring_metadata(sample.empty_content())["open_alerts"] == "none"


def test_as_of_is_shown_in_the_zone_of_the_configuration() -> None:
    assert "as of 30 Jun 2025, 07:00 Europe/Berlin" in text_of(monitoring_content())
    late = datetime(2025, 6, 29, 22, 30, tzinfo=UTC)
    assert replace(monitoring_content(), as_of=late).today == date(2025, 6, 30)
    assert replace(monitoring_content(), timezone="UTC", as_of=late).today == AS_OF.date() - timedelta(days=1)


def test_the_page_says_how_many_comparisons_could_be_called_out() -> None:
    drift = sample.drift_frame(1, features=2).with_columns(drifted=False)
    assert "7 of the 7 comparisons can be judged" in text_of(monitoring_content(drift=drift))
    wandering = drift.with_columns(
        pl.when(pl.col("kind") == "domain")
        .then(0.97)
        .when(pl.col("column") == "ad_clicks_1d")
        .then(2.1)
        .otherwise(pl.col("threshold"))
        .alias("threshold")
    )
    text = text_of(monitoring_content(drift=wandering))
    assert "5 of the 7 comparisons can be judged" in text
    said = "None of the 5 comparisons that can be judged is called out (2 others cannot) on"
    assert said in text
    young = drift.with_columns(pl.col("psi", "effect").cast(pl.Float64) * None)
    assert "Drift cannot be judged: none of 7 comparisons can be called out" in text_of(monitoring_content(drift=young))
