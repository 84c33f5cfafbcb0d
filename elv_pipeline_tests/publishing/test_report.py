from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest

from elv_pipeline.publishing.pages.content import ReportContent
from elv_pipeline.publishing.pages.page import viewer
from elv_pipeline.publishing.pages.report import render_report
from elv_pipeline.publishing.pages.report_tables import leads_table
from elv_pipeline_tests.publishing import sample_proof as proof
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


@cache
def proven_report() -> str:
    return render_report(proof.proven_content())


def text_of(document: str) -> str:
    return Page(without_viewer(document)).text


def specs(document: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figure-specs">(.*?)</script>', document, re.DOTALL)
    assert found
    return dict(json.loads(found.group(1)))


def without_viewer(document: str) -> str:
    assert document.count(viewer()) == 1, "the viewer must be inlined exactly once"
    return document.replace(viewer(), "")


NEW_FRAMES = ("reliability_curve", "segments", "capture_at_k", "grades", "insights", "factors", "partial_dependence")

PARTIAL: dict[str, ReportContent] = {
    "everything": proof.proven_content(),
    "three campaigns": proof.proven_content(campaign_leaderboard=board(3), adset_leaderboard=None),
    "empty frames": proof.proven_content(**{name: getattr(proof, name)().clear() for name in NEW_FRAMES}),
    "no judged outcomes but columns": proof.proven_content(metrics=None, **dict.fromkeys(NEW_FRAMES)),
    "null columns": proof.proven_content(
        predictions=predictions().with_columns(grade=pl.lit(None, pl.String), reason_1=pl.lit(None, pl.String))
    ),
    "no overlap yet": proof.proven_content(overlap={"leads": 0, "sentence": "No lead has been scored by both yet."}),
    "overlap without outcomes": proof.proven_content(overlap=proof.overlap() | {"proof": None}),
    "probes without outcomes": proof.proven_content(
        metrics=proof.proven_metrics(leakage={"sentence": "Too few outcomes.", "findings": [], "accepted": []})
    ),
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
    assert headings == ["h1", *["h2"] * 5]
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


def test_only_the_best_quarter_of_the_lead_ids_reaches_the_report() -> None:
    document = full_report()
    shown = set(re.findall(r"lead-\d{3}", document))
    assert shown == {f"lead-{i:03d}" for i in range(50, 60)}
    assert "Of 40 leads the best quarter; the others are in predictions.csv." in text_of(document)


def test_of_many_leads_the_best_twenty_are_called_first() -> None:
    table = leads_table(full_content(predictions=predictions(300)))
    assert table is not None
    assert (len(table.rows), table.caption) == (20, "The 20 leads to call first")
    assert table.note.startswith("Of 200 leads the best 20; the others")


@pytest.mark.parametrize(
    ("grades", "rows", "said"),
    [
        ("AABBCCCCCC", 4, "without those below grade B"),
        ("CCCCCCCCCC", 10, "none of them is of grade A or B"),
        ("ABABABABAB", 10, "the others are in predictions.csv"),
    ],
)
def test_leads_below_grade_b_are_called_first_only_where_there_is_nothing_better(
    grades: str, rows: int, said: str
) -> None:
    graded = predictions(60).with_columns(grade=pl.Series([*"D" * 50, *reversed(grades)]))
    table = leads_table(full_content(predictions=graded))
    assert table is not None
    assert [row[1].text for row in table.rows] == list(grades[:rows])
    assert said in table.note


def test_a_single_lead_is_the_one_to_call_first() -> None:
    table = leads_table(full_content(predictions=predictions(60).tail(1)))
    assert table is not None
    assert table.caption == "The lead to call first"
    assert not table.note.startswith("Of 1")


def test_an_unproven_model_is_not_praised() -> None:
    text = Page(without_viewer(render_report(full_content(metrics=metrics(lift=1.3))))).text
    assert "Not proven" in text
    assert "Not ready" in text
    alert = {"severity": "error", "code": "constant", "message": "All scores are equal.", "action": "Check the join."}
    text = Page(without_viewer(render_report(full_content(alerts=(alert,))))).text
    assert "Do not act on these scores yet" in text
    assert "All scores are equal. Check the join." in text


def test_a_proven_run_goes_from_verdict_over_money_to_proof_and_detail() -> None:
    text = text_of(proven_report())
    order = [
        "Ready The model ranks leads 2.9 times better than chance in the top tenth.",
        "By this model, put money on",
        "Outcomes, observed / expected 0.99 0.80 to 1.20; 1 is right",
        "The 10 leads to call first",
        "On the judged leads, working only the best tenth would have collected €4,176 (95% interval €3,276 to €5,076) "
        "of €14,400: 29% of the value for a tenth of the work. That is €500 more than by the campaign's past rate",
        "Promotion gates: none failed",
        "Your own rule",
        "For 96% of the leads, what happened lies where a calibrated model would put it",
        "25% of the leads graded A qualified, 8.0% of all",
        "Both segments of campaign agree",
        "What each grade means, and whether it was kept on the judged leads",
        "No probe found a leak in 2 features.",
        "Of the best tenth of 400 leads both models name 88% in common.",
        "Who was right, on 100 matured leads with 9 outcomes",
        "What the model goes by in each score band, the strongest first",
        "With hour the probability rises from 4.0% to 12.0%",
        "Leads with Hour of day: 0 to 5 qualified 0.1x as often as the average lead",
        "lgbm, version 12",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_the_leads_to_call_first_say_why_and_how_sure() -> None:
    text = text_of(proven_report())
    assert "A above 99%" in text
    assert "raises: the campaign's past outcomes are high (9.1 %) lowers: the lead came at hour 3" in text
    assert "30.5% -1.5 pts since last €54.90 €38.43 to €76.86" in text
    assert "raises:" not in text_of(full_report())


def test_bins_are_the_figure_only_where_there_is_no_reliability_curve() -> None:
    assert "of 10 groups" in text_of(full_report())
    text = text_of(proven_report())
    assert "of 10 groups" not in text
    assert "Predicted and observed rate by group" in text, "the table stays"


def test_names_of_campaigns_stand_for_their_ids() -> None:
    text = text_of(proven_report())
    assert "Campaign c1" not in text
    assert "Campaign 1 category_campaign_id" not in text
    assert "Campaign category_campaign_id Campaign 1 20.0%" in text


@pytest.mark.parametrize(
    ("changes", "word", "said"),
    [
        ({"validation": proof.validation(failing="baseline")}, "Not ready", "but failed a promotion gate."),
        (
            {"metrics": proof.proven_metrics(leakage=proof.leakage({"sentence": "won leaks", "remedy": "Drop it."}))},
            "Not ready",
            "the model may know what it cannot know. Why not ready A column may know the future: won leaks.",
        ),
        (
            {"metrics": proof.proven_metrics(prevalence=proof.prevalence(shift=True))},
            "Usable with care",
            "What to be careful about Its probabilities run high: 11.4% expected on the later leads, 8.0% observed",
        ),
    ],
)
def test_the_verdict_names_its_reasons(changes: dict[str, Any], word: str, said: str) -> None:
    text = text_of(render_report(proof.proven_content(**changes)))
    assert word in text
    assert said in text


def test_a_failed_gate_is_shown_with_its_reason() -> None:
    text = text_of(render_report(proof.proven_content(validation=proof.validation(failing="baseline"))))
    assert "Promotion gates: 1 of 3 failed, so the model is not promoted by itself" in text
    assert "failed 20.0% at least 5.0% 0.2 was measured" in text


def test_what_no_step_delivered_is_named_in_one_sentence() -> None:
    text = text_of(render_report(full_content(validation=None)))
    assert "Not part of this run: the promotion gates, grades, reasons of single leads, rates by" in text
    assert "Not part of this run" not in text_of(proven_report())


def test_hostile_text_in_explanations_stays_text() -> None:
    hostile = pl.lit(HOSTILE)
    content = proof.proven_content(
        predictions=proof.explained_predictions().with_columns(reason_1=hostile, grade=hostile),
        insights=proof.insights().with_columns(value=hostile, words=hostile),
        factors=proof.factors().with_columns(words=hostile),
        segments=proof.segments().with_columns(segment=hostile),
        grades=proof.grades().with_columns(meaning=hostile),
        partial_dependence=proof.partial_dependence().with_columns(feature=hostile),
        validation=proof.validation() | {"gates": [proof.validation()["gates"][0] | {"asks": HOSTILE}]},
        overlap=proof.overlap() | {"sentence": HOSTILE},
        metrics=proof.proven_metrics(leakage=proof.leakage({"sentence": HOSTILE, "remedy": HOSTILE})),
    )
    document = render_report(content)
    page = Page(without_viewer(document))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "<!--" not in without_viewer(document)
    assert page.text.count(HOSTILE) > 10


def test_a_large_account_stays_small_and_loads_nothing() -> None:
    many = pl.concat([proof.segments().with_columns(segment=pl.lit(f"c{i}")) for i in range(500)])
    content = proof.proven_content(
        predictions=proof.explained_predictions(20_000),
        campaign_leaderboard=board(2_000),
        adset_leaderboard=board(2_000).with_columns(adset_id="campaign_id", adset_name="campaign_name"),
        segments=many,
        insights=pl.concat([proof.insights()] * 200),
    )
    document = render_report(content)
    assert len(document.encode()) < 1_500_000
    assert "the first 40 of 2,500" in document
    assert "http" not in json.dumps(specs(document))


def test_on_paper_nothing_stays_folded() -> None:
    assert 'addEventListener("beforeprint"' in proven_report()
    style = proven_report().split("@media print", 1)[1].split("</style>", 1)[0]
    assert "max-height: none" in style
