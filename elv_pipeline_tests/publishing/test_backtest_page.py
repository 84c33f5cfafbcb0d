from __future__ import annotations

import json
from datetime import date
from typing import Any

import polars as pl
import pytest

from elv_pipeline.publishing.pages.backtest.page import backtest_charts, backtest_table, render_backtest
from elv_pipeline.publishing.pages.stills import still_picture
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.publishing.sample_backtest import (
    backtest_document,
    nothing_pooled,
    origin,
    pooled,
    ratio,
    stability,
    unjudged,
)
from elv_pipeline_tests.publishing.test_report import HOSTILE, Page, specs, without_viewer

CONFIG = PipelineConfig.model_validate(
    {"name": "lead_ads", "org_id": "acme", "value_per_qualified": 180, "paths": {"leads_path": "leads.csv"}}
)
CASES: dict[str, dict[str, Any]] = {
    "three origins": backtest_document(),
    "sixty origins": backtest_document(60),
    "one origin": backtest_document(1, stability=stability(origins=1, excess_share=None, p_value=None)),
    "one of three judged": backtest_document(
        3, origins=[unjudged(date(2025, 1, 27)), origin(date(2025, 2, 3)), unjudged(date(2025, 2, 10))]
    ),
    "none pooled": nothing_pooled(),
    "all refused but one": backtest_document(
        1, refused=[{"origin": f"2025-01-{day:02d}", "reason": "too few outcomes"} for day in (6, 13, 20, 27)]
    ),
    "no baselines": backtest_document(pooled={**pooled(), "differences": {}}, wins={}),
    "no intervals": backtest_document(stability=stability(excess_share=None, p_value=None)),
}


def text_of(document: dict[str, Any]) -> str:
    return Page(without_viewer(render_backtest(document, config=CONFIG))).text


@pytest.mark.parametrize("name", CASES)
def test_every_backtest_renders_and_leaves_no_figure_without_a_place(name: str) -> None:
    document = render_backtest(CASES[name], config=CONFIG)
    page = Page(without_viewer(document))
    assert [tag for tag, _ in page.tags if tag in {"h1", "h2"}] == ["h1", *["h2"] * 5]
    places = {str(attributes["id"]) for _, attributes in page.tags if str(attributes.get("id")).startswith("figure-")}
    assert places == {f"figure-{key}" for key in specs(document)} | {"figure-specs"}
    assert "None" not in page.text
    assert " nan" not in page.text
    assert len(document.encode()) < 1_500_000


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_a_valid_still(name: str) -> None:
    for chart in backtest_charts(CASES[name], currency="EUR").values():
        assert len(chart.to_dict()["title"]["text"].split()) > 3
    if name == "three origins":
        for chart in backtest_charts(CASES[name], currency="EUR").values():
            assert still_picture(chart).startswith("data:image/png")


def test_the_verdict_comes_first_then_money_then_proof() -> None:
    text = text_of(backtest_document())
    order = [
        "It held up",
        "€21,600 came where €21,600 were promised (within chance)",
        "Each lead counted once, by the newest model before it: 1,500 leads",
        "After 2 of 3 origins the promise lies within what chance allows",
        "The model has the best ROC AUC after 3 of 3 origins",
        "After how many origins the model was better than each simpler rule",
        "ROC AUC lay between 0.660 and 0.730, 0.700 on average of 3 origins: 10% of the spread is more than chance",
        "so the models were stable",
        "What was expected is surely off after 1 of 3 origins",
        "27 Jan 2025 14 positives, at least 30 are needed",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        ({}, "It held up", "The best tenth of the leads qualifies 2.5 times as often"),
        ({"pooled": pooled(observed=1.3)}, "It held up, with care", "156 outcomes came where 120.0 were expected"),
        ({"pooled": pooled(lift=1.2)}, "It did not hold up", "not shown to rank better than chance"),
        ({"stability": stability(excess_share=0.8, p_value=0.001)}, "with care", "differs between origins by more"),
        ({"pooled": None}, "Not judged yet", "3 origin(s) with a model, 1 refused."),
    ],
)
def test_the_verdict_follows_what_is_sure(changes: dict[str, Any], word: str, reason: str) -> None:
    text = text_of(backtest_document(**changes))
    assert word in text
    assert reason in text


def test_what_could_not_be_judged_is_said() -> None:
    text = text_of(CASES["one of three judged"])
    assert "Only one origin has enough outcomes after it to be judged alone" in text
    assert "Figures of 2 origin(s) alone: too few outcomes followed 27 Jan 2025, 10 Feb 2025" in text
    assert "The outcome of 940 leads of the judged weeks" in text
    text = text_of(nothing_pooled())
    assert "No lead after these origins has matured enough to judge them." in text
    assert "Stability: not available" in text


def test_the_table_has_a_row_an_origin_and_fixed_types_even_when_nothing_is_known() -> None:
    full, empty = backtest_table(backtest_document()), backtest_table(nothing_pooled())
    assert full.schema == empty.schema
    assert set(full.schema.values()) == {pl.String(), pl.Int64(), pl.Float64()}
    first = full.row(2, named=True)
    assert first["origin"] == "2025-02-17"
    assert (first["roc_auc_low"], first["roc_auc"], first["pr_auc_high"]) == (0.70 - 0.03, 0.70, 0.2 + 0.03)
    assert (first["observed_over_expected"], first["realised_value"]) == (1.5, 10800.0)
    assert empty.row(0, named=True)["waiting"] == 470
    assert empty["roc_auc"].null_count() == 1
    assert backtest_table(backtest_document(origins=[])).schema == full.schema


def test_a_wide_interval_does_not_squeeze_the_others() -> None:
    wide = [origin(date(2025, 2, 3)), origin(date(2025, 2, 10), calibration=ratio(1.2, half=9.0))]
    spec = backtest_charts(backtest_document(origins=wide), currency="EUR")["observed_over_expected"].to_dict()
    rows = max(spec["datasets"].values(), key=len)
    assert max(row["end"] for row in rows) == 1.6
    assert max(row["high"] for row in rows) == 10.2


def test_names_and_reasons_from_data_stay_text() -> None:
    document = backtest_document(
        refused=[{"origin": "2025-01-27", "reason": HOSTILE}], origins=[origin(date(2025, 2, 3), version=HOSTILE)]
    )
    page = Page(without_viewer(render_backtest(document, config=CONFIG.model_copy(update={"name": HOSTILE}))))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert HOSTILE in page.text


def test_same_document_gives_the_same_page_after_a_round_trip_through_json() -> None:
    document = backtest_document()
    again = json.loads(json.dumps(document))
    assert render_backtest(document, config=CONFIG) == render_backtest(again, config=CONFIG)


def test_the_default_value_is_called_out() -> None:
    config = CONFIG.model_copy(update={"value_per_qualified": 1.0})
    page = Page(without_viewer(render_backtest(backtest_document(), config=config)))
    assert "the default of €1 is used, so read money as counts of leads" in page.text
