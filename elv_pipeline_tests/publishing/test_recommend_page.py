"""A campaign manager finds what to test first, how sure that is, and never a claim that was not shown."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from elv_pipeline.decisions.recommend.template_edits import diff_of
from elv_pipeline.publishing.pages.recommend.cards import moves_of, proposal_card
from elv_pipeline.publishing.pages.recommend.charts import MOST_ELEMENTS, weak_elements
from elv_pipeline.publishing.pages.recommend.diffs import diff_lines
from elv_pipeline.publishing.pages.recommend.names import Names, names_of
from elv_pipeline.publishing.pages.recommend.page import OPEN_CARDS, render_recommendations
from elv_pipeline.publishing.pages.recommend.words import outcome_words
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.publishing.pictures import size_of_still
from elv_pipeline_tests.publishing.sample_recommendations import (
    CAMPAIGNS,
    STEPS,
    WEAK_TEXT,
    recommendations_document,
)
from elv_pipeline_tests.publishing.test_report import HOSTILE, Page, specs, without_viewer

CONFIG = PipelineConfig.model_validate({"name": "outreach", "org_id": "acme", "paths": {"leads_path": "leads.csv"}})
_, WAIT, _ = (entry["proposal"]["id"] for entry in recommendations_document()["proposals"])
NOTHING: dict[str, Any] = {
    key: [] for key in ("campaigns", "steps", "findings", "changes", "edits", "proposals", "notes")
}
CLAIMS = re.compile(
    r"\b(is|are|was|were|does|do) (better|worse|best)\b|\b(causes?|proves?|increases|decreases|improves|will)\b|"
    r"(?<!not )\b(shows|shown) that\b",
    re.IGNORECASE,
)


def without_plans(document: dict[str, Any]) -> dict[str, Any]:
    remark = "No experiment is proposed: too few enrollments come."
    entries = [
        {**entry, "proposal": {**entry["proposal"], "plan": None, "remark": remark}} for entry in document["proposals"]
    ]
    return {**document, "proposals": entries}


def moved(state: str, *, who: str = "Ada", why: str = "worth a try") -> dict[str, Any]:
    return {"state": state, "moved": {"who": who, "why": why, "at": "2026-03-03T10:00:00+00:00"}, "as_of": "2026-03-02"}


def many(count: int) -> dict[str, Any]:
    document = recommendations_document()
    [first, *_] = document["proposals"]
    entries = [
        {**first, "rank": rank, "proposal": {**first["proposal"], "id": f"{rank:016x}"}} for rank in range(1, count + 1)
    ]
    return document | {"proposals": entries}


CASES: dict[str, dict[str, Any]] = {
    "everything": recommendations_document(),
    "nothing": recommendations_document(**NOTHING),
    "no plans": without_plans(recommendations_document()),
    "every state": recommendations_document(states=("running", "approved", "rejected")),
    "all decided": recommendations_document(states=("adopted", "rejected", "stopped")),
    "twenty proposals": many(20),
    "nothing judged": recommendations_document(
        findings=[row for row in recommendations_document()["findings"] if row["shrunk"] is None], edits=[], changes=[]
    ),
    "a campaign without steps": recommendations_document(steps=[]),
    "an experiment that is not proposed any more": recommendations_document(
        proposals=[], earlier=[recommendations_document()["proposals"][0] | moved("running")]
    ),
}


def text_of(document: dict[str, Any]) -> str:
    return Page(without_viewer(render_recommendations(document, config=CONFIG))).text


@pytest.mark.parametrize("name", CASES)
def test_every_document_renders_and_leaves_no_figure_without_a_place(name: str) -> None:
    document = render_recommendations(CASES[name], config=CONFIG)
    page = Page(without_viewer(document))
    assert [tag for tag, _ in page.tags if tag in {"h1", "h2"}] == ["h1", *["h2"] * 6]
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {key for key in ids if key.startswith("figure-")} == {f"figure-{key}" for key in specs(document)} | {
        "figure-specs"
    }
    assert {str(attributes["href"]) for tag, attributes in page.tags if tag == "a"} <= {f"#{key}" for key in ids}
    assert "None" not in page.text
    assert " nan" not in page.text
    assert "_within_" not in page.text.replace("booked_call_within_7d", "")
    assert len(document.encode()) < 1_500_000


def test_what_to_do_first_why_and_how_sure_come_first() -> None:
    text = text_of(CASES["everything"])
    order = [
        "What to do first Test this first: template weak_opener is replaced by the proposed edit.",
        "Why: it may bring 1,375 more with 'booked call within 7 days' (95% interval 1,006 to 1,744) in 26 weeks;",
        "How sure: not yet; this is observational, and those who got it may have differed from the others (n = 1,000).",
        "An experiment of 3 weeks with 1,200 enrollments would find a change of 5.4 per 100 or more in 80% of cases.",
        "Two words matter on this page.",
        "Proposals Ordered by",
        "Weak elements What was sent",
        "Funnel How many came",
        "Sequence Steps left out",
        "Template edits Proposed texts",
        "What could not be judged Elements without",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_a_proposal_has_its_evidence_its_experiment_and_the_commands_that_move_it() -> None:
    text = text_of(CASES["everything"])
    start = text.index("Test: in Spring webinar (spring) step 2 (email) comes after 5 days instead of 1")
    card = text[start : text.index("Test: in Spring webinar (spring) step 2 (email) comes at once")]
    for part in (
        "Observational Draft Observational: who got it was not drawn by lot",
        "+4.0 with 'booked call within 30 days' 95% interval +1.5 to +6.5, n = 900",
        "half a day of work",
        "This holds only if: Those who waited longer",
        "each enrollment, 50% get the change",
        "a change of +2.80 points or more in 80% of experiments",
        "4,200 enrollments 7 weeks of enrolment, the answer after 12 weeks",
        "Must not get worse asked not to be written to (+2.00 points)",
        "Sample-ratio check p below",
        "25%, then 50%, then 100%",
        "O'Brien-Fleming",
        "Stop for harm: at a look",
        "Roll back at once",
        f"elv proposals approve {WAIT} --who 'Your name' --reason 'Why'",
        f"elv proposals reject {WAIT}",
    ):
        assert part in card, part


def test_an_interval_that_reaches_nothing_says_so() -> None:
    text = text_of(CASES["everything"])
    card = text[text.index("Test: in Spring webinar (spring) step 2 (email) comes at once") :]
    assert "95% interval -2.0 to +4.0, n = 900; the interval reaches no effect or less" in card


@pytest.mark.parametrize("name", ["no plans", "nothing", "nothing judged", "all decided"])
def test_nothing_that_was_only_observed_is_called_better(name: str) -> None:
    """Rules of experiments speak of 'better' by a boundary; they are left out here."""
    found = CLAIMS.search(text_of(without_plans(CASES[name])))
    assert found is None, found


def test_the_commands_follow_the_state() -> None:
    entry = recommendations_document()["proposals"][0]
    commands = {
        state: [
            command.split(" --")[0]
            for _, command in proposal_card(
                entry | moved(state), document=CASES["everything"], names=Names(), currency="EUR"
            ).moves
        ]
        for state in ("draft", "approved", "running", "adopted", "rejected", "stopped")
    }
    key = entry["proposal"]["id"]
    assert commands == {
        "draft": [f"elv proposals approve {key}", f"elv proposals reject {key}"],
        "approved": [
            f"elv proposals plan {key}",
            "elv experiment allocate units.csv",
            f"elv proposals start {key}",
            f"elv proposals reject {key}",
        ],
        "running": ["elv experiment analyse result.csv", f"elv proposals decide {key}"],
        "adopted": [],
        "rejected": [],
        "stopped": [],
    }
    without = {
        state: [command.split(" --")[0] for _, command in moves_of(key, state=state, has_plan=False)]
        for state in ("draft", "approved", "running", "adopted")
    }
    assert without == {
        "draft": [f"elv proposals approve {key}", f"elv proposals reject {key}"],
        "approved": ["elv experiment plan design.yaml", f"elv proposals start {key}", f"elv proposals reject {key}"],
        "running": ["elv experiment analyse result.csv", f"elv proposals decide {key}"],
        "adopted": [],
    }


def test_the_first_thing_to_do_is_what_still_waits() -> None:
    text = text_of(CASES["every state"])
    assert "Test this first: in Spring webinar (spring) step 2 (email) comes after 5 days instead of 1." in text
    assert "Proposals 3 1 approved, 1 running and 1 rejected" in text
    assert (
        text.index("Test: template weak_opener")
        < text.index("1 decided")
        < text.index("step 2 (email) comes at once Observational Rejected")
    )
    assert "Nothing waits for you Every proposal is decided." in text_of(CASES["all decided"])
    told = text_of(CASES["an experiment that is not proposed any more"])
    assert "Nothing waits for you Every proposal is running or decided." in told
    assert "Under way, and not proposed any more" in told
    assert "by Ada on 2026-03-03: worth a try" in told


def test_empty_parts_are_sentences() -> None:
    text = text_of(CASES["nothing"])
    for part in (
        "There is nothing to test now.",
        "There is no proposal: no change",
        "No element could be compared",
        "There is no campaign with an enrollment yet.",
        "No change of a sequence could be estimated",
        "No edit is proposed",
        "Every element could be compared with others.",
        "Nothing else is missing",
    ):
        assert part in text, part


def test_what_has_no_estimate_or_no_experiment_says_why() -> None:
    text = text_of(CASES["no plans"])
    assert "The groups have nothing in common. template nobody_else" in text
    assert "Proposals 1, 2, 3 have no experiment yet; the reason stands on each card." in text
    assert text.count("No experiment is proposed: too few enrollments come.") == 4  # on top, too
    assert "elv experiment plan" not in text  # a draft is approved first
    assert "Channels could not be compared: each step has one." in text


def test_later_proposals_are_folded() -> None:
    document = without_viewer(render_recommendations(CASES["twenty proposals"], config=CONFIG))
    assert document.count('class="card proposal"') == 20
    assert document.index(f"{20 - OPEN_CARDS} more proposals") > document.index(f'id="proposal-{OPEN_CARDS:016x}"')
    assert document.count("<details open>") == 1


def test_an_edit_can_be_read_without_colour() -> None:
    document = without_viewer(render_recommendations(CASES["everything"], config=CONFIG))
    text = Page(document).text
    assert "- removed: Our services include planning and controlling." in text
    assert "+ added: Shall we compare notes this week?" in text
    assert "Our company was founded in 1987." in text
    tags = [tag for tag, _ in Page(document).tags]
    assert tags.count("ins") == 2 * 3  # in the proposal and among the edits
    assert tags.count("del") == 2 * 3


def test_a_diff_keeps_every_line_whatever_it_begins_with() -> None:
    before, after = "-- our offer\n++ our price\n\nBye.", "- our offer\n\nBye."
    lines = diff_lines(diff_of(before, after, name="t"))
    assert [(line.change, line.text) for line in lines] == [
        ("removed", "-- our offer"),
        ("removed", "++ our price"),
        ("added", "- our offer"),
        ("same", ""),
        ("same", "Bye."),
    ]
    far = diff_of("A.\n" + "Same.\n" * 12 + "B.", "C.\n" + "Same.\n" * 12 + "D.", name="t")
    assert [line.change for line in diff_lines(far)].count("gap") == 1
    assert diff_lines("") == ()


def test_weak_elements_are_lowest_first_and_told_apart_by_shape() -> None:
    rows = [row for row in recommendations_document()["findings"] if row["shrunk"] is not None]
    chart = weak_elements(rows, kind="template", names=Names())
    spec = chart.to_dict()
    assert spec["title"]["text"] == "2 of 5 templates seem weak: weak_opener and long_story, by lot"
    assert "drawn by lot for 1 of them only" in spec["title"]["subtitle"]
    [marks] = (
        [values for values in spec["datasets"].values() if len(values) > 1]
        if "datasets" in spec
        else [spec["layer"][1]["data"]["values"]]
    )
    assert [mark["element"] for mark in marks[::2]][:2] == ["weak_opener", "long_story, by lot"]
    assert {mark["estimate"] for mark in marks if mark["element"] == "weak_opener"} == {"alone", "the same, weak"}
    shapes = spec["layer"][2]["encoding"]["shape"]["scale"]["range"]
    assert len(set(shapes)) == len(shapes) == 3
    assert size_of_still(chart)[0] > 600


def test_one_wide_interval_does_not_squeeze_the_others_and_many_elements_are_cut() -> None:
    [row, *_] = [row for row in recommendations_document()["findings"] if row["element"] == "question"]
    rows = [{**row, "element": f"t{number:02d}", "shrunk": row["shrunk"] + number / 1000} for number in range(40)]
    rows[0] |= {"difference_low": -5.0, "difference_high": 5.0}
    spec = weak_elements(rows, kind="template", names=Names()).to_dict()
    assert "none is weak" in spec["title"]["text"]
    assert f"The {MOST_ELEMENTS} lowest of 40 are shown." in spec["title"]["subtitle"]
    limit = spec["layer"][1]["encoding"]["x"]["scale"]["domain"][1]
    assert limit < 30
    assert f'"until": {limit}' in str(spec).replace("'", '"')


def test_campaigns_and_steps_go_by_the_names_that_people_know() -> None:
    names = names_of(CASES["everything"])
    assert names.element("campaign", "spring") == "Spring webinar (spring)"
    assert names.element("step", "spring-2") == "Spring webinar 2 (spring-2)"
    assert names.element("template", "spring") == "spring"
    assert names.campaign("unknown") == "unknown"
    assert names_of({"campaigns": [CAMPAIGNS[0] | {"name": "spring"}], "steps": []}).campaign("spring") == "spring"
    told = {
        ("timing", "at weekends", "at weekends is replaced by another"): "timing 'at weekends' is replaced by another",
        ("step", "spring-2", "spring-2 is replaced"): "step 'Spring webinar 2 (spring-2)' is replaced",
        ("drop", "spring/s2", "in spring step 2 is left out"): "in Spring webinar (spring) step 2 is left out",
        ("template", "t", "template t is replaced"): "template t is replaced",
    }
    for (kind, element, change), words in told.items():
        assert names.change({"kind": kind, "element": element, "change": change}) == words


def test_an_experiment_that_cannot_find_what_is_expected_says_so_on_top() -> None:
    document = recommendations_document()
    document["proposals"] = document["proposals"][2:]
    text = text_of(document)
    assert "1.0 are expected, so that 'not shown' would mean little." in text
    assert "are expected, so that" not in text_of(CASES["everything"])


def test_what_was_drawn_by_lot_is_said_to_be() -> None:
    document = recommendations_document()
    document["proposals"][0]["proposal"]["label"] = "randomised"
    text = text_of(document)
    assert (
        "How sure: fairly; who got it was drawn by lot, and the test repeats it on today's volume (n = 1,000)." in text
    )
    assert "Randomised Draft Randomised: who got it was drawn by lot" in text
    card = text[: text.index("Test: in Spring webinar")]
    assert "is counted because it is observational" not in card


def test_campaigns_show_how_many_came_to_each_step() -> None:
    text = text_of(CASES["everything"])
    assert text.index("Spring webinar (spring) partly") < text.index(
        "Autumn (autumn) 900 enrollments; no outcome can be"
    )
    assert "partly drawn by lot 5,000 enrollments; 11.0% had the outcome (95% interval 10.0% to 12.0%)" in text
    assert "2. email question 3,800 10.0% 4.0%" in text
    assert "Nobody has come to a step of it yet." in text_of(CASES["a campaign without steps"])


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = recommendations_document()
    rng = random.Random(3)
    for part in ("findings", "changes", "campaigns", "steps"):
        rng.shuffle(shuffled[part])
    assert render_recommendations(shuffled, config=CONFIG) == render_recommendations(CASES["everything"], config=CONFIG)


def test_names_and_texts_from_data_stay_text_and_nothing_is_loaded() -> None:
    document = recommendations_document(
        campaigns=[CAMPAIGNS[0] | {"name": HOSTILE}],
        steps=[STEPS[0] | {"template_id": HOSTILE}],
        notes=[HOSTILE],
    )
    document["findings"][0] |= {"element": HOSTILE, "sentence": HOSTILE}
    document["edits"][0] |= {"template_id": HOSTILE, "diff": diff_of(WEAK_TEXT, HOSTILE, name=HOSTILE)}
    document["proposals"][0]["proposal"] |= {"change": HOSTILE, "hypothesis": HOSTILE, "content": HOSTILE}
    page = Page(without_viewer(render_recommendations(document, config=CONFIG.model_copy(update={"name": HOSTILE}))))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not {"src", "srcset", "action"} & {name for _, attributes in page.tags for name in attributes}
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    assert str(policy).startswith("default-src 'none'")
    assert "unsafe-inline" not in str(policy).split("script-src")[1]
    assert page.text.count(HOSTILE) >= 6


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("booked_call_within_7d", "booked call within 7 days"),
        ("booked_call", "booked call"),
        ("sent_within_reach", "sent within reach"),
    ],
)
def test_outcomes_are_called_as_people_call_them(column: str, words: str) -> None:
    assert outcome_words(column) == words
