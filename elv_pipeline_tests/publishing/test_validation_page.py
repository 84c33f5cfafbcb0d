from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.ingest.review.profile import profile_of
from elv_pipeline.ingest.sources import examine
from elv_pipeline.publishing.pages.page import viewer
from elv_pipeline.publishing.pages.validation.page import render_validation
from elv_pipeline_tests.ingest.exports import make_config, write

HOSTILE = "</script><img src=x onerror=alert(1)>"
FIRST = datetime(2025, 1, 6, 12)  # noqa: DTZ001 - written to a file as a naive time


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


def write_exports(folder: Path, *, lost_weeks: range = range(0)) -> None:
    """Twenty weeks of 20 leads a day on one ad; a tenth qualifies after two days; no ids in the lost weeks."""
    ads = ["date,campaign_id,adset_id,ad_id,impressions,clicks,spend"]
    leads, outcomes = ["lead_id,created_time,ad_id,Email"], ["lead_id,qualified_time"]
    for day in range(140):
        at = FIRST + timedelta(days=day)
        ads.append(f"{at:%Y-%m-%d},C1,S1,A1,100,10,5.5")
        for number in range(20):
            ad = "" if day // 7 in lost_weeks else "A1"
            leads.append(f"L{day:03d}{number:02d},{at:%Y-%m-%d %H:%M:%S},{ad},eve@example.com")
            if number < 2 and day < 138:
                outcomes.append(
                    f"L{day:03d}{number:02d},{at + timedelta(days=2, minutes=number + day):%Y-%m-%d %H:%M:%S}"
                )
    for name, lines in (("ads", ads), ("leads", leads), ("outcomes", outcomes)):
        write(folder, f"{name}.csv", "\n".join(lines) + "\n")


def profiled(folder: Path, **keys: Any) -> dict[str, Any]:
    config = make_config(folder, **keys)
    return profile_of(examine(config), config)


def body(document: str) -> str:
    assert document.count(viewer()) == 1, "the viewer must be inlined exactly once"
    return document.replace(viewer(), "")


def test_the_verdict_and_what_to_fix_come_first(tmp_path: Path) -> None:
    write_exports(tmp_path, lost_weeks=range(8, 11))
    document = body(render_validation(profiled(tmp_path)))
    text = Page(document).text
    assert text.index("Ready with warnings") < text.index("Fix first") < text.index("Two questions")
    assert "In 3 of 20 weeks far fewer leads than usual match" in text
    assert "420 leads" in text
    assert "at least 90% · minimum_data.match_rate" in text


def test_ready_exports_have_nothing_to_fix(tmp_path: Path) -> None:
    write_exports(tmp_path)
    text = Page(body(render_validation(profiled(tmp_path)))).text
    assert "Are the data ready? Ready These exports can train a model and be scored." in text
    assert "Fix first" not in text
    assert "Columns never loaded: Email." in text
    assert "None" not in text


def test_realised_values_stand_with_the_outcomes_as_aggregates(tmp_path: Path) -> None:
    write_exports(tmp_path)
    assert "With a value" not in Page(body(render_validation(profiled(tmp_path)))).text
    header, *rows = (tmp_path / "outcomes.csv").read_text(encoding="utf-8").splitlines()
    valued = [f"{row},{'' if at % 4 == 0 else 120}" for at, row in enumerate(rows)]
    write(tmp_path, "outcomes.csv", "\n".join([f"{header},value", *valued[:-1], f"{rows[-1]},98765.43"]) + "\n")
    profile = profiled(tmp_path)
    text = Page(body(render_validation(profile))).text
    assert "With a value 207 of 276 mean 596.55 EUR, median 120.00 EUR, 0.0 % worth nothing, the largest" in text
    assert "98,765" not in text
    assert "98765" not in text
    del profile["values"]  # as a home of an earlier version has it
    assert "With a value" not in Page(body(render_validation(profile))).text


def test_every_figure_has_its_place_and_its_data(tmp_path: Path) -> None:
    write_exports(tmp_path, lost_weeks=range(8, 11))
    document = body(render_validation(profiled(tmp_path)))
    found = re.search(r'<script type="application/json" id="figure-specs">(.*?)</script>', document, re.DOTALL)
    assert found
    specs = json.loads(found.group(1))
    assert set(specs) == {"outcomes", "matches", "rows_ads", "rows_leads", "rows_outcomes"}
    places = {str(attributes["id"]) for _, attributes in Page(document).tags if "id" in attributes}
    assert {f"figure-{key}" for key in specs} <= places


@pytest.mark.parametrize("removed", [("ads",), ("outcomes",), ("ads", "outcomes")])
def test_absent_exports_leave_a_whole_page(tmp_path: Path, removed: tuple[str, ...]) -> None:
    write_exports(tmp_path)
    for name in removed:
        (tmp_path / f"{name}.csv").unlink()
    text = Page(body(render_validation(profiled(tmp_path)))).text
    assert "Exports that are not given" in text
    assert ("Not ready" in text) == ("outcomes" in removed)


def test_broken_exports_get_a_page_of_their_own(tmp_path: Path) -> None:
    write_exports(tmp_path)
    lines = (tmp_path / "ads.csv").read_text(encoding="utf-8").splitlines()
    write(tmp_path, "ads.csv", "\n".join([lines[0], lines[1].replace("5.5", "-5.5"), *lines[2:]]) + "\n")
    text = Page(body(render_validation(profiled(tmp_path)))).text
    assert "Are the data ready? Not ready One export breaks its contract, so nothing was loaded." in text
    assert "ads.csv row 2: spend is -5.5" in text
    assert "read, not judged" in text
    assert "nothing suspicious" not in text


def test_nothing_is_loaded_from_anywhere_and_names_stay_text(tmp_path: Path) -> None:
    write_exports(tmp_path)
    profile = profiled(tmp_path)
    profile["tables"]["leads"] = {**profile["tables"]["leads"], "file": HOSTILE, "dropped_columns": [HOSTILE]}
    profile["name"] = HOSTILE
    document = body(render_validation(profile))
    page = Page(document)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "img" not in [tag for tag, _ in page.tags]
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert str(attributes.get("href", "#")).startswith("#")
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    assert str(policy).startswith("default-src 'none'")
    assert "unsafe-inline" not in str(policy).split("script-src")[1]
    assert HOSTILE in page.text


def test_same_profile_same_bytes_and_no_person(tmp_path: Path) -> None:
    write_exports(tmp_path)
    document = render_validation(profiled(tmp_path))
    lines = (tmp_path / "leads.csv").read_text(encoding="utf-8").splitlines()
    shuffled = "\n".join([lines[0], *reversed(lines[1:])]) + "\n"
    write(tmp_path, "leads.csv", shuffled)
    assert render_validation(profiled(tmp_path)) == document
    assert "eve@example.com" not in document
