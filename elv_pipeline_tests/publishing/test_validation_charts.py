from __future__ import annotations

from typing import Any

import altair as alt
import pytest

from elv_pipeline.publishing.pages.validation.charts import match_chart, outcome_chart, rows_chart

METHODS = ("ad_id", "adset_id", "campaign_id", "map", "name")
WEEKS = [
    {"week": f"2025-01-{day:02d}", "leads": 40, "matched": matched, **dict.fromkeys(METHODS, 0), "ad_id": matched}
    for day, matched in ((6, 40), (13, 38), (20, 10))
]
MATURITY: dict[str, Any] = {
    **{"window_days": 14, "observed_from": None, "observed_until": "2025-02-02", "mature_until": "2025-01-19"},
    **{"leads": 120, "unrecorded": 0, "young": 40, "unclear": 0, "positive": 8, "negative": 72},
    "weeks": [
        {"week": "2025-01-06", "unrecorded": 0, "young": 0, "unclear": 0, "positive": 0, "negative": 40},
        {"week": "2025-01-13", "unrecorded": 0, "young": 0, "unclear": 0, "positive": 8, "negative": 32},
        {"week": "2025-01-20", "unrecorded": 0, "young": 40, "unclear": 0, "positive": 0, "negative": 0},
    ],
}
CHARTS = {
    "rows": rows_chart({"unit": "week", "rows": [["2025-01-06", 5], ["2025-01-13", 0], ["2025-01-20", 9]]}),
    "days": rows_chart({"unit": "day", "rows": [["2025-01-06", 5], ["2025-01-07", 6]]}),
    "matches": match_chart(WEEKS, threshold=0.9, overall=0.73),
    "outcomes": outcome_chart(MATURITY),
}


def texts(chart: alt.LayerChart) -> list[str]:
    rows = [row for data in chart.to_dict()["datasets"].values() for row in data]
    return [row["text"] for row in rows if "text" in row]


@pytest.mark.parametrize("name", CHARTS)
def test_every_figure_is_valid_and_has_a_sentence_for_screen_readers(name: str) -> None:
    spec = CHARTS[name].to_dict()  # validates against the schema of Vega-Lite
    assert len(spec["title"]["text"].split()) > 3
    assert spec["description"].startswith(spec["title"]["text"])


def test_weeks_without_rows_are_counted_in_the_title() -> None:
    assert CHARTS["rows"].to_dict()["title"]["text"] == "Usually 5 rows a week, 1 week without any (orange)"
    assert "no day without any" in CHARTS["days"].to_dict()["title"]["text"]


def test_weeks_below_the_threshold_are_counted() -> None:
    assert (
        "73.0% of all leads are matched; below the threshold in 1 of 3 weeks"
        in CHARTS["matches"].to_dict()["title"]["text"]
    )


def test_both_ends_of_the_outcome_log_are_marked_inside_the_picture() -> None:
    assert texts(CHARTS["outcomes"]) == ["too young after 19 Jan 2025"]  # type: ignore[arg-type]
    late = outcome_chart(MATURITY, suggested_from="2025-01-13")
    assert texts(late) == ["outcomes seem to begin 13 Jan 2025", "too young after 19 Jan 2025"]
    assert "Shaded" in late.to_dict()["title"]["subtitle"]
    known = outcome_chart({**MATURITY, "observed_from": "2025-01-13"}, suggested_from="")
    assert "outcomes recorded from 13 Jan 2025" in texts(known)
    assert texts(outcome_chart({**MATURITY, "mature_until": "2024-12-01"})) == []
