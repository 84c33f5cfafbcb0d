"""What a person reads of outreach speaks of moments, enrollments and steps, and nowhere of leads or ads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import polars as pl
import pytest

from elv_pipeline.contracts.leaderboards import SPEND_COLUMNS
from elv_pipeline.problems.words import words_of
from elv_pipeline.publishing.pages.backtest.page import render_backtest
from elv_pipeline.publishing.pages.cards import data_card, model_card
from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline.publishing.pages.monitoring.page import monitoring_metadata, render_monitoring
from elv_pipeline.publishing.pages.report import render_report
from elv_pipeline_tests.publishing import sample_monitoring
from elv_pipeline_tests.publishing import sample_proof as proof
from elv_pipeline_tests.publishing.sample_backtest import backtest_document
from elv_pipeline_tests.publishing.sample_content import MANIFEST, board
from elv_pipeline_tests.publishing.test_backtest_page import CONFIG
from elv_pipeline_tests.publishing.test_report import Page, specs, without_viewer

TARGETS = ("booked_call", "qualified", "converted")
OF_LEAD_ADS = re.compile(r"\b(leads?|qualif(y|ies|ied)|ads?|ad sets?|spend|spent)\b", re.IGNORECASE)
SAYS = frozenset({"title", "text", "subtitle", "description"})


def outreach_content(target: str = "booked_call") -> ReportContent:
    """A run of outreach from the samples of lead ads, without the texts that those bring themselves."""
    probability = f"p_{target}_7d"
    manifest = {**MANIFEST, "problem": "outreach", "target": target, "name": "outreach", "join_strategy": None}
    moments = proof.explained_predictions().rename({"p_qualified_14d": probability})
    campaigns = board(8).drop(SPEND_COLUMNS, strict=False)
    judged = proof.proven_metrics(
        models={name: found for name, found in proof.proven_metrics()["models"].items() if name != "cost_per_lead"}
    )
    return proof.proven_content(
        manifest={**manifest, "probability_column": probability},
        metrics=judged,
        predictions=moments.with_columns(
            enrollment_id=pl.col("lead_id").str.replace("lead-", "e"),
            lead_id=pl.col("lead_id").str.replace("lead-", "e") + "@1",
            step_id=pl.lit("s1"),
            template_id=pl.lit("t1"),
            reason_2=pl.lit("lowers: no reply yet after 3 messages"),
        ),
        campaign_leaderboard=campaigns,
        adset_leaderboard=None,
        further_leaderboards={
            "template": campaigns.drop("campaign_name").rename({"campaign_id": "template_id"}),
            "step": campaigns.with_columns(step_id=pl.col("campaign_id"), step_name=pl.lit("2. email")),
        },
        join_statistics=None,
        features=({"name": "hour", "definition": "Hour", "sources": ("moments.prediction_time",), "lag_days": 0},),
        absent=(),
        overlap={**proof.overlap(), "sentence": ""},
    )


@cache
def report(target: str) -> str:
    return render_report(outreach_content(target))


def read(document: str) -> str:
    return Page(without_viewer(document)).text


def drawn_texts(part: Any) -> Iterator[str]:
    """Titles, texts and subtitles of figures; not their data."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in SAYS and isinstance(value, str):
                yield value
            elif key != "datasets":
                yield from drawn_texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from drawn_texts(value)


def about_leads(text: str, *, allowed: str = "") -> list[str]:
    """Where a text speaks of leads or ads, with what stands around it."""
    found = [match for match in OF_LEAD_ADS.finditer(text) if match.group().lower() not in allowed.split()]
    return [text[max(0, match.start() - 40) : match.end() + 40] for match in found]


@pytest.mark.parametrize("target", TARGETS)
def test_no_word_of_the_report_and_its_figures_is_of_leads(target: str) -> None:
    document = report(target)
    allowed = "qualified" if target == "qualified" else ""
    assert about_leads(read(document), allowed=allowed) == []
    assert about_leads(" | ".join(drawn_texts(specs(document))), allowed=allowed) == []


@pytest.mark.parametrize("target", TARGETS)
def test_no_word_of_the_cards_is_of_leads(target: str) -> None:
    content = outreach_content(target)
    for card in (model_card(content), data_card(content)):
        assert about_leads(card, allowed="qualified" if target == "qualified" else "") == []


def test_the_report_says_what_a_moment_is_and_what_happened() -> None:
    text = read(report("booked_call"))
    for said in (
        "A moment is an enrollment as it stood when it began",
        "The best tenth of the moments held 29% (95% interval 24% to 34%) of all that ended in a booked call.",
        "Judged on 1,000 moments reached 9 Jun 2025 to 29 Jun 2025, of which 80 ended in a booked call.",
        "Value per booked call",
        "Where value is expected",
        "This says who was enrolled where, not what a campaign causes",
        "Campaigns by rank",
        "Templates by rank",
        "Steps by rank",
        "lowers: no reply yet after 3 messages",
    ):
        assert said in text, said
    assert "conversion rate of the best tenth" in read(report("converted"))


def test_an_enrollment_stands_once_in_the_list_with_its_newest_moment() -> None:
    content = outreach_content()
    again = content.predictions.head(1).with_columns(
        lead_id=pl.lit("e-000@2"), created_time=pl.col("created_time") + pl.duration(days=90), split=pl.lit("score")
    )
    twice = ReportContent(
        manifest=content.manifest,
        predictions=pl.concat([content.predictions.with_columns(split=pl.lit("score")), again]),
    )
    open_rows = twice.open_leads()
    assert open_rows["enrollment_id"].n_unique() == open_rows.height == content.predictions.height
    newest = open_rows.filter(pl.col("enrollment_id") == again["enrollment_id"].item())
    assert newest["lead_id"].to_list() == ["e-000@2"]


def test_no_word_of_the_monitoring_page_is_of_leads() -> None:
    content = sample_monitoring.monitoring_content(
        words=words_of("outreach"), freshness=(), rows=None, calibration=None, reconciled=None, held=None
    )
    document = render_monitoring(content)
    assert about_leads(read(document)) == []
    assert about_leads(" | ".join(drawn_texts(specs(document)))) == []
    pieces = monitoring_metadata(content)
    assert about_leads(" ".join(pieces[name] for name in ("verdict", "numbers"))) == []
    assert "Moments" in pieces["numbers"]


def test_no_word_of_the_backtest_is_of_leads() -> None:
    config = CONFIG.model_copy(update={"problem": "outreach", "target": "booked_call"})
    document = render_backtest({**backtest_document(), "sentence": ""}, config=config)
    assert about_leads(read(document)) == []
    assert about_leads(" | ".join(drawn_texts(specs(document)))) == []
    assert "Whether as many moments ended in a booked call as the probabilities" in read(document)
