from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from elv_pipeline.publishing.content import ReportContent
from elv_pipeline.publishing.page import viewer
from elv_pipeline.publishing.report import render_report
from elv_pipeline_tests.publishing.sample_content import (
    MANIFEST,
    bare_content,
    board,
    figure,
    full_content,
    metrics,
    predictions,
)

HOSTILE = "</script><script>alert(1)</script><!-- \" & '"


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text outside scripts and styles."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._inside[-1:]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@cache
def full_report() -> str:
    return render_report(full_content())


def specs(document: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figure-specs">(.*?)</script>', document, re.DOTALL)
    assert found
    return dict(json.loads(found.group(1)))


def without_viewer(document: str) -> str:
    assert document.count(viewer()) == 1, "the viewer must be inlined exactly once"
    return document.replace(viewer(), "")


PARTIAL: dict[str, ReportContent] = {
    "bare": bare_content(),
    "no ads": full_content(campaign_leaderboard=board(8, with_spend=False), adset_leaderboard=None),
    "no metrics": full_content(metrics=None, gains=None, calibration_bins=None, truth=None),
    "one campaign": full_content(campaign_leaderboard=board(1)),
    "only few leads": full_content(campaign_leaderboard=board(4).filter(pl.col("low_volume"))),
    "empty boards": full_content(campaign_leaderboard=board(2).clear(), adset_leaderboard=None),
    "no predictions": full_content(predictions=predictions().clear()),
    "null metrics": full_content(metrics={"test": {}, "models": {"model": {"roc_auc": None}}}),
    "no names": full_content(campaign_leaderboard=board(5).with_columns(campaign_name=pl.lit(None, pl.String))),
    "null campaign": full_content(
        campaign_leaderboard=board(5).with_columns(
            campaign_id=pl.lit(None, pl.String), campaign_name=pl.lit(None, pl.String)
        )
    ),
    "empty weeks": full_content(label_counts_by_week=full_content().label_counts_by_week.clear()),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("name", PARTIAL)
def test_partial_content_renders_and_says_what_is_missing(name: str) -> None:
    document = render_report(PARTIAL[name])
    page = Page(without_viewer(document))
    headings = [tag for tag, _ in page.tags if tag in {"h1", "h2"}]
    assert headings == ["h1", "h2", "h2", "h2", "h2"]
    assert "NaN" not in json.dumps(specs(document))
    assert " nan" not in page.text
    assert "None" not in page.text
    places = {str(attributes["id"]) for _, attributes in page.tags if str(attributes.get("id")).startswith("figure-")}
    assert places == {f"figure-{key}" for key in specs(document)} | {"figure-specs"}


def test_absent_parts_are_named_with_their_reason() -> None:
    text = Page(without_viewer(render_report(bare_content()))).text
    assert "Calibration: not available Because: this run judged no outcomes." in text
    assert "Split boundaries: not available" in text
    assert "These scores come without a proof of their own." in text
    without_spend = Page(without_viewer(render_report(PARTIAL["no ads"]))).text
    assert "not available, because this run has no spend" in without_spend
    assert "spent" not in without_spend


def test_key_facts_are_in_plain_sight() -> None:
    text = Page(without_viewer(full_report())).text
    for fact in (
        "The model ranks leads 2.9 times better than chance in the top tenth.",
        "as of 13 Jul 2025",
        "14 Jul 2025, 00:00 Europe/Berlin",
        "feature_lag_days 1",
        "14 days",
        "6 Jan 2025 to 20 Apr 2025",
        "5 May 2025 to 25 May 2025",
        "9 Jun 2025 to 29 Jun 2025",
        "lgbm, version 12",
        "No placements: paths.ads_placement_path is null.",
        "Log starts late. Set it.",
        "By this model, put money on “Campaign 6” (€35.00)",
        "ROC AUC is 0.730 here and 0.760 for a perfect model",
    ):
        assert fact in text


def test_differences_are_put_in_words_only_beyond_chance_and_lower_losses_are_better() -> None:
    judged = metrics()
    judged["differences"]["logistic_regression"]["log_loss"] = figure(0.02, 0.01)
    document = render_report(full_content(metrics=judged))
    row = re.search(r"Log loss.*?</tr>", document, re.DOTALL)
    assert row
    assert [word for word in re.findall(r"model better|model worse|no clear difference", row.group())] == [
        "model better",
        "model worse",
    ]
    row = re.search(r"ROC AUC<small>.*?</tr>", document, re.DOTALL)
    assert row
    assert re.findall(r"model better|model worse|no clear difference", row.group()) == [
        "model better",
        "no clear difference",
    ]


def test_hostile_names_stay_text() -> None:
    content = full_content(
        manifest={**MANIFEST, "name": HOSTILE, "org_id": HOSTILE},
        campaign_leaderboard=board(6, name=HOSTILE + " {}"),
        absent=(HOSTILE,),
        importance=pl.DataFrame({"feature": [HOSTILE], "importance": [1.0]}),
    )
    document = render_report(content)
    page = Page(without_viewer(document))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "<!--" not in without_viewer(document)
    assert f"{HOSTILE} 5" in page.text
    assert HOSTILE in json.dumps(specs(document), ensure_ascii=False).replace('\\"', '"')


def test_nothing_is_loaded_from_anywhere() -> None:
    page = Page(without_viewer(full_report()))
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert tag not in {"link", "iframe", "img", "object", "embed"}
        assert str(attributes.get("href", "#")).startswith("#")
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    assert str(policy).startswith("default-src 'none'")
    assert "unsafe-inline" not in str(policy).split("script-src")[1]
    assert "http" not in json.dumps(specs(full_report()))


def test_same_content_gives_the_same_bytes_and_row_order_does_not_matter() -> None:
    first = full_report()
    shuffled = full_content(
        predictions=predictions().reverse(),
        campaign_leaderboard=board(8).reverse(),
        label_counts_by_week=full_content().label_counts_by_week.reverse(),  # type: ignore[union-attr]
    )
    assert render_report(full_content()) == first
    assert render_report(shuffled) == first


def test_size_does_not_grow_with_the_data() -> None:
    small = full_report()
    large = render_report(full_content(predictions=predictions(20_000), campaign_leaderboard=board(2_000)))
    assert len(large) < len(small) + 30_000
    assert len(large.encode()) < 1_200_000


def test_only_the_top_twenty_lead_ids_reach_the_report() -> None:
    document = full_report()
    shown = set(re.findall(r"lead-\d{3}", document))
    assert shown == {f"lead-{i:03d}" for i in range(40, 60)}


def test_an_unproven_model_is_not_praised() -> None:
    text = Page(without_viewer(render_report(full_content(metrics=metrics(lift=1.3))))).text
    assert "Not proven" in text
    assert "Not ready" in text
    alert = {"severity": "error", "code": "constant", "message": "All scores are equal.", "action": "Check the join."}
    text = Page(without_viewer(render_report(full_content(alerts=(alert,))))).text
    assert "Do not act on these scores yet" in text
    assert "All scores are equal. Check the join." in text
