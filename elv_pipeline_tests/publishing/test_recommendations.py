"""Files of recommendations: same input, same bytes; a plan that a person approved stays."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from elv_pipeline.decisions.recommend.lifecycle import LifecycleError, State
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home
from elv_pipeline.publishing.kept_proposals import find_proposal, kept_in, kept_proposals, log_of
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.proposals_log import record_transition
from elv_pipeline.publishing.recommendations import recommendation_tables, write_recommendations
from elv_pipeline.publishing.run_registry import list_runs
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.publishing.sample_recommendations import recommendations_document
from elv_pipeline_tests.publishing.test_recommend_page import CASES

CONFIG = PipelineConfig.model_validate({"name": "outreach", "org_id": "acme", "paths": {"leads_path": "leads.csv"}})
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
EDIT, WAIT, _ = (entry["proposal"]["id"] for entry in recommendations_document()["proposals"])
EXPECTED = ("campaigns", "changes", "edits", "experiments", "findings", "proposals", "steps")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.runs.mkdir(parents=True)
    return made


def written(
    home: Home, document: dict[str, Any] | None = None, *, run: str = "r1", config: PipelineConfig = CONFIG
) -> Path:
    facts = RunFacts(run_id=run, kind="recommend", started_at=NOW, as_of_date="2026-03-01", observed_until=None)
    return write_recommendations(home, facts, config=config, document=document or recommendations_document())


def told(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "recommendations.json").read_text(encoding="utf-8")))


def move(home: Home, key: str, *states: State, name: str = "outreach") -> None:
    for number, state in enumerate(states, start=1):
        now = NOW + timedelta(hours=number)
        record_transition(log_of(home.proposals(name)), key, state=state, who="Ada", why="worth a try", now=now)


def with_gain(gain: float, *, as_of: str = "2026-03-09") -> dict[str, Any]:
    """The next run: every estimate and with it every plan has moved."""
    document = recommendations_document(as_of=as_of)
    for entry in document["proposals"]:
        entry["proposal"] |= {"gain": gain, "plan": None, "remark": "No experiment is proposed."}
    return document


def test_a_bundle_has_the_document_the_tables_and_the_page(home: Home) -> None:
    bundle = written(home)
    files = {file.name for file in bundle.iterdir()}
    assert {
        "recommendations.json",
        "recommendations.html",
        "metadata.json",
        *(f"{name}.csv" for name in EXPECTED),
    } <= files
    document = told(bundle)
    assert [entry["state"] for entry in document["proposals"]] == ["draft"] * 3
    assert document["earlier"] == []
    assert pl.read_csv(bundle / "findings.csv").height == 6
    proposals = pl.read_csv(bundle / "proposals.csv")
    assert proposals["proposal_id"].to_list()[:2] == [EDIT, WAIT]
    row = proposals.row(1, named=True)
    assert (row["gain"], row["gain_low"], row["value"], row["value_low"], row["state"]) == (
        0.04,
        0.015,
        624,
        234,
        "draft",
    )
    experiments = pl.read_csv(bundle / "experiments.csv")
    assert (experiments["total_weeks"][1], experiments["guardrails"][1]) == (12, "unsubscribed")
    [run] = list_runs(home)
    assert (run["run_id"], run["kind"], run["name"]) == ("r1", "recommend", "outreach")


def test_same_input_gives_the_same_bytes_and_no_second_draft(home: Home) -> None:
    first = {file.name: file.read_bytes() for file in written(home).iterdir()}
    log = log_of(home.proposals("outreach")).read_bytes()
    again = {file.name: file.read_bytes() for file in written(home).iterdir()}
    assert again == first
    assert log_of(home.proposals("outreach")).read_bytes() == log


def test_types_of_tables_are_the_same_without_rows() -> None:
    full, empty = recommendation_tables(CASES["everything"]), recommendation_tables(CASES["nothing"])
    assert tuple(sorted(full)) == EXPECTED
    assert {name: frame.schema for name, frame in full.items()} == {name: frame.schema for name, frame in empty.items()}
    assert full["campaigns"].height == 2
    assert all(frame.is_empty() for frame in empty.values())


def test_what_was_approved_stays_as_it_was_and_a_draft_moves_with_the_data(home: Home) -> None:
    before = {entry["proposal"]["id"]: entry for entry in told(written(home))["proposals"]}
    move(home, WAIT, "approved")
    after = {entry["proposal"]["id"]: entry for entry in told(written(home, with_gain(0.001), run="r2"))["proposals"]}
    assert after[WAIT]["proposal"] == before[WAIT]["proposal"]
    assert (after[WAIT]["value"], after[WAIT]["as_of"], after[WAIT]["rank"]) == (before[WAIT]["value"], "2026-03-02", 2)
    assert after[WAIT]["moved"] == {"who": "Ada", "why": "worth a try", "at": "2026-03-02T10:00:00+00:00"}
    assert (after[EDIT]["proposal"]["plan"], after[EDIT]["as_of"]) == (None, "2026-03-09")
    kept = {entry.id: entry for entry in kept_proposals(home.proposals("outreach"))}
    assert (kept[WAIT].proposal, kept[WAIT].as_of) == (before[WAIT]["proposal"], "2026-03-02")
    assert (kept[EDIT].proposal["gain"], kept[EDIT].as_of) == (0.001, "2026-03-09")
    assert "shown as it was recommended on 2026-03-02" in (home.runs / "r2" / "recommendations.html").read_text()


def test_looking_back_does_not_replace_what_is_known_later(home: Home) -> None:
    written(home)
    written(home, with_gain(0.5, as_of="2025-12-01"), run="r2")
    assert find_proposal(home, EDIT).proposal["gain"] != 0.5


def test_an_experiment_that_runs_stays_in_the_document_when_nothing_suggests_it_any_more(home: Home) -> None:
    written(home)
    move(home, WAIT, "approved", "running")
    move(home, EDIT, "rejected")
    document = told(written(home, recommendations_document(as_of="2026-03-09", proposals=[]), run="r2"))
    assert document["proposals"] == []
    assert [(entry["proposal"]["id"], entry["state"]) for entry in document["earlier"]] == [(WAIT, "running")]
    assert "Under way, and not proposed any more" in (home.runs / "r2" / "recommendations.html").read_text()
    assert pl.read_csv(home.runs / "r2" / "proposals.csv")["proposal_id"].to_list() == [WAIT]


def test_a_proposal_is_found_by_the_start_of_its_id_in_any_configuration(home: Home) -> None:
    written(home)
    assert find_proposal(home, WAIT[:6].upper()).id == WAIT
    assert len(kept_in(home)) == 3
    with pytest.raises(ConfigError, match=r"no proposal 'ffff' among the 3 on record.*elv proposals list"):
        find_proposal(home, "ffff")
    for short in ("", WAIT[:1], WAIT[:3]):
        with pytest.raises(ConfigError, match="there is no proposal"):
            find_proposal(home, short)
    written(home, run="r2", config=CONFIG.model_copy(update={"name": "other"}))
    with pytest.raises(ConfigError, match=f"{WAIT} of other, {WAIT} of outreach"):
        find_proposal(home, WAIT)
    assert find_proposal(home, WAIT, name="other").name == "other"
    with pytest.raises(ConfigError, match=r"there are those of: other, outreach"):
        kept_in(home, name="othr")


def test_two_configurations_decide_for_themselves(home: Home) -> None:
    written(home)
    written(home, run="r2", config=CONFIG.model_copy(update={"name": "other"}))
    move(home, WAIT, "approved", name="other")
    assert find_proposal(home, WAIT, name="outreach").last.state == "draft"
    assert find_proposal(home, WAIT, name="other").last.state == "approved"


def test_a_home_without_proposals_has_none(home: Home) -> None:
    assert kept_in(home) == []
    with pytest.raises(ConfigError, match="none yet"):
        kept_in(home, name="outreach")


def test_a_lost_or_edited_file_is_named_and_the_next_run_writes_a_lost_draft_again(home: Home) -> None:
    written(home)
    file = home.proposals("outreach") / f"{WAIT}.json"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(LifecycleError, match=rf"{WAIT}\.json: the proposal is in the log"):
        kept_in(home)
    written(home, run="r2")
    assert file.read_bytes() == content
    for broken in (b"{", b"[]", b'{"schema": 99, "as_of": "2026-03-02", "entry": {}}'):
        file.write_bytes(broken)
        with pytest.raises(LifecycleError, match="no proposal of this version"):
            kept_in(home)
