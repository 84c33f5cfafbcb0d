from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from elv_pipeline.ingest.review.profile import profile_of
from elv_pipeline.ingest.sources import examine
from elv_pipeline.terminal import print_validation
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write


@pytest.fixture
def profile(tmp_path: Path) -> dict[str, Any]:
    write(tmp_path, "ads.csv", ADS)
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    config = make_config(tmp_path, name="tiny")
    return profile_of(examine(config), config)


def printed(profile: dict[str, Any], *, width: int = 120, terminal: bool = False, **keys: Any) -> str:
    text = StringIO()
    console = Console(file=text, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    print_validation(profile, console=console, **keys)
    return text.getvalue()


def test_the_verdict_comes_first_and_each_purpose_has_its_own(profile: dict[str, Any]) -> None:
    lines = printed(profile).splitlines()
    assert lines[0] == "tiny: not ready"
    assert "to train: not ready. 2 mature labelled leads; at least 200 are needed (model.min_labelled_rows)" in (
        "\n".join(lines)
    )
    assert "to score: ready with warnings" in lines


def test_every_finding_keeps_its_code_and_is_told_once(profile: dict[str, Any]) -> None:
    text = printed(profile)
    for finding in profile["findings"]:
        assert f"{finding['severity']:<8}{finding['code']}: " in text
    ads_end_early = next(finding for finding in profile["findings"] if finding["code"] == "ads_end_early")
    flat = " ".join(text.split())
    assert flat.count(ads_end_early["message"]) == 1
    assert "warning ads_end_early: see " in text


def test_names_in_the_data_are_no_markup(profile: dict[str, Any]) -> None:
    finding = {**profile["findings"][0], "message": "[/x] [bold]Germany[/bold]", "severity": "warning"}
    hostile = {**profile, "name": "[/red]", "findings": [finding]}
    text = printed(hostile, terminal=True)
    assert "[/x] [bold]Germany[/bold]" in text
    assert "[/red]: not ready" in text


def test_a_terminal_wraps_and_a_file_keeps_sentences_whole(profile: dict[str, Any]) -> None:
    narrow = printed(profile, width=60, terminal=True)
    plain = [line for line in narrow.splitlines() if "\x1b" not in line]
    assert max(map(len, plain)) <= 60
    assert "at least 200 are needed (model.min_labelled_rows)" in printed(profile, width=60)


def test_a_narrow_terminal_shows_fewer_columns(profile: dict[str, Any]) -> None:
    assert "read as" in printed(profile, width=120)
    assert "read as" not in printed(profile, width=70)


def test_without_details_only_what_asks_for_care_is_shown(profile: dict[str, Any]) -> None:
    text = printed(profile, details=False)
    assert "Exports" not in text.splitlines()
    assert "info    " not in text
    assert "Fix first" in text


def test_the_days_of_an_extract_are_those_of_its_rows_and_what_it_covers_stands_apart(profile: dict[str, Any]) -> None:
    assert "read up to" not in printed(profile)
    leads = {**profile["tables"]["leads"], "last_day": "2025-02-20", "covered_until": "2025-02-20"}
    text = printed({**profile, "tables": {**profile["tables"], "leads": leads}}, width=200)
    (row,) = [line for line in text.splitlines() if line.strip().startswith("leads ")]
    assert "2025-01-02 to 2025-01-20" in row
    assert "2025-02-20" in row
    assert "read up to" in text
