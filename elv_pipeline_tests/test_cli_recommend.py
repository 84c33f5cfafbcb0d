"""From a proposal to a decision by the commands that its page shows, and what is refused on the way."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import typer

from elv_pipeline import cli_recommend
from elv_pipeline.cli import app
from elv_pipeline.home import Home
from elv_pipeline.orchestration.instance import FinishedRun
from elv_pipeline.orchestration.workspace import CommandResult
from elv_pipeline.publishing.kept_proposals import find_proposal
from elv_pipeline.publishing.manifest import RunFacts
from elv_pipeline.publishing.pages.recommend.cards import moves_of
from elv_pipeline.publishing.recommendations import write_recommendations
from elv_pipeline.settings import PipelineConfig
from elv_pipeline_tests.command_line import Answer, elv
from elv_pipeline_tests.publishing.sample_recommendations import recommendations_document

CONFIG = PipelineConfig.model_validate({"name": "outreach", "org_id": "acme", "paths": {"leads_path": "leads.csv"}})
EDIT, WAIT, _ = (entry["proposal"]["id"] for entry in recommendations_document()["proposals"])
SIGNED = ("--who", "Ada", "--reason", "worth a try")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.runs.mkdir(parents=True)
    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    facts = RunFacts(run_id="r1", kind="recommend", started_at=now, as_of_date="2026-03-01", observed_until=None)
    write_recommendations(made, facts, config=CONFIG, document=recommendations_document())
    return made


def proposals(home: Home, *arguments: object) -> Answer:
    return elv("proposals", *arguments, home=home.root)


def done(answer: Answer) -> str:
    assert answer.code == 0, answer
    return answer.out


def result(folder: Path, plan: dict[str, Any], *, better_by: int) -> Path:
    """Of every hundred enrollments of an arm ten have the outcome, and so many more of the treated."""
    drawn = pl.read_csv(folder / "allocated.csv").with_row_index("at")
    within = pl.int_range(pl.len()).over("arm") % 100
    treated = (pl.col("arm") == "treatment").cast(pl.Int64)
    primary, *_ = [plan["design"]["primary"]["name"]]
    guards = [guard["metric"]["name"] for guard in plan["design"]["guardrails"]]
    rows = drawn.select(
        "unit_id",
        "arm",
        assigned_at=pl.format("2026-03-{}T10:00:00Z", (pl.col("at") // 600 + 2).cast(pl.String).str.zfill(2)),
        observed_at=pl.lit("2026-09-01T06:00:00Z"),
        **{primary: (within < 10 + better_by * treated).cast(pl.Int64)},
        **{name: (within >= 98).cast(pl.Int64) for name in guards},
    )
    rows.write_csv(folder / "result.csv")
    return folder / "result.csv"


@pytest.mark.parametrize(("better_by", "decision"), [(8, "adopted"), (0, "rejected")])
def test_an_approved_proposal_leads_to_a_decision_without_retyping(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better_by: int, decision: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "draft -> approved, by Ada: worth a try" in done(proposals(home, "approve", EDIT[:6], *SIGNED))
    assert f"Written: proposal-{EDIT}.json" in done(proposals(home, "plan", EDIT))
    plan_file = tmp_path / f"proposal-{EDIT}.json"
    plan = json.loads(plan_file.read_text(encoding="utf-8"))
    pl.DataFrame({"unit_id": [f"e{number}" for number in range(1_200)]}).write_csv("units.csv")
    done(elv("experiment", "allocate", "units.csv", "--plan", plan_file, "--out", "allocated.csv", home=home.root))
    assert "approved -> running" in done(proposals(home, "start", EDIT, *SIGNED))
    rows = result(tmp_path, plan, better_by=better_by)
    done(elv("experiment", "analyse", rows, "--plan", plan_file, "--out", "analysis.json", home=home.root))
    if decision == "rejected":
        refused = proposals(home, "decide", EDIT, "--as", "adopted", "--analysis", "analysis.json", *SIGNED)
        assert refused.code == 2
        assert "the experiment says 'not shown'; only 'better' shows" in refused.err
    told = done(proposals(home, "decide", EDIT, "--as", decision, "--analysis", "analysis.json", *SIGNED))
    assert f"running -> {decision}, by Ada: Plan {plan['plan_key']}: " in told
    shown = done(proposals(home, "show", EDIT))
    assert [line.split()[2] for line in shown.split("Life:")[1].strip().splitlines()] == [
        "draft",
        "approved",
        "running",
        decision,
    ]
    assert "Next:" not in shown


def test_the_list_has_every_proposal_and_can_be_narrowed(home: Home) -> None:
    done(proposals(home, "approve", WAIT, *SIGNED))
    told = done(proposals(home, "list"))
    assert told.count("observational") == 3
    assert told.index(EDIT) < told.index(WAIT)  # what waits for a person comes first
    assert "in spring step 2 (email) comes after 5 days instead of 1" in told
    narrowed = done(proposals(home, "list", "--state", "approved", "--name", "outreach"))
    assert WAIT in narrowed
    assert EDIT not in narrowed
    assert "None of 3 proposals is running." in done(proposals(home, "list", "--state", "running"))
    assert "there is no such state" in proposals(home, "list", "--state", "dreft").err
    assert "No proposal yet." in done(elv("proposals", "list", home=home.root / "empty"))


def test_a_proposal_is_shown_with_its_experiment_and_what_comes_next(home: Home) -> None:
    told = done(proposals(home, "show", WAIT))
    for part in (
        f"Proposal {WAIT} of outreach, as of 2026-03-02: draft",
        "Observation suggests it and does not show it",
        "It would have to be true that: Those who waited longer",
        f"Experiment proposal-{WAIT} (plan ",
        "Looks (nobody decides between them):",
        "draft by (automatic): recommended as of 2026-03-02 by run r1",
        f"elv proposals approve {WAIT}",
    ):
        assert part in told, part
    assert "+Shall we compare notes this week?" in done(proposals(home, "show", EDIT))


def test_the_plan_of_a_draft_is_shown_and_not_written(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    told = done(proposals(home, "plan", WAIT, "--out", out))
    assert "Not written: it is a draft" in told
    assert not out.exists()
    done(proposals(home, "approve", WAIT, *SIGNED))
    done(proposals(home, "plan", WAIT, "--out", out))
    first = out.read_bytes()
    done(proposals(home, "plan", WAIT, "--out", out))
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("approve", "ffffffff", *SIGNED), 2, "there is no proposal 'ffffffff' among the 3"),
        (("approve", WAIT, "--name", "other", *SIGNED), 2, "there are those of: outreach"),
        (
            ("start", WAIT, *SIGNED),
            1,
            f"proposal {WAIT} is draft and cannot be running. It can be approved or rejected",
        ),
        (("decide", WAIT, "--as", "adopted", *SIGNED), 1, "is draft and cannot be adopted"),
        (("approve", WAIT, "--reason", "worth a try"), 2, "Give --who."),
        (("approve", WAIT, "--who", "Ada"), 2, "--reason"),
        (("decide", WAIT, "--as", "adopted", "--analysis", "no.json", *SIGNED), 2, "no.json: it cannot be read"),
    ],
)
def test_what_is_refused_is_told_and_changes_nothing(
    home: Home, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = {file.name: file.read_bytes() for file in home.proposals("outreach").iterdir()}
    answer = proposals(home, *arguments)
    assert (answer.code, message in " ".join(answer.err.split())) == (code, True), answer
    assert {file.name: file.read_bytes() for file in home.proposals("outreach").iterdir()} == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "this is not JSON"),
        ('{"decision": "better"}', "this is no analysis"),
        ('{"decision": "better", "plan_key": "0123"}', "it was read by plan 0123"),
    ],
)
def test_an_analysis_of_something_else_decides_nothing(home: Home, tmp_path: Path, content: str, message: str) -> None:
    done(proposals(home, "approve", WAIT, *SIGNED))
    done(proposals(home, "start", WAIT, *SIGNED))
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    answer = proposals(home, "decide", WAIT, "--as", "adopted", "--analysis", tmp_path / "a.json", *SIGNED)
    assert (answer.code, message in answer.err) == (2, True), answer
    assert find_proposal(home, WAIT).last.state == "running"


def test_a_proposal_without_a_plan_is_decided_by_the_plan_that_a_person_made(home: Home, tmp_path: Path) -> None:
    document = recommendations_document(as_of="2026-03-09")
    for entry in document["proposals"]:
        entry["proposal"] |= {"plan": None, "remark": "No experiment is proposed: too few enrollments come."}
    facts = RunFacts(
        run_id="r2", kind="recommend", started_at=datetime.now(UTC), as_of_date="2026-03-08", observed_until=None
    )
    write_recommendations(home, facts, config=CONFIG, document=document)
    assert "It has no plan. No experiment is proposed: too few enrollments come." in done(
        proposals(home, "approve", WAIT, *SIGNED)
    )
    refused = proposals(home, "plan", WAIT)
    assert (refused.code, "too few enrollments come. Write a design" in refused.err) == (2, True)
    assert "There is no experiment for it." in done(proposals(home, "show", WAIT))
    assert "--plan plan.json" in done(proposals(home, "start", WAIT, *SIGNED))
    (tmp_path / "a.json").write_text('{"decision": "better", "plan_key": "0123"}', encoding="utf-8")
    told = done(proposals(home, "decide", WAIT, "--as", "adopted", "--analysis", tmp_path / "a.json", *SIGNED))
    assert "Plan 0123: better. worth a try" in told


def test_a_draft_can_be_turned_down_and_stays_so(home: Home) -> None:
    assert "draft -> rejected" in done(proposals(home, "reject", WAIT, *SIGNED))
    again = proposals(home, "approve", WAIT, *SIGNED)
    assert again.code == 1
    assert "What was decided stays" in again.err


def test_every_command_of_the_page_exists_with_its_options() -> None:
    group: Any = typer.main.get_command(app)
    for state in ("draft", "approved", "running"):
        for _, line in (*moves_of(WAIT, state=state, has_plan=True), *moves_of(WAIT, state=state, has_plan=False)):
            words = shlex.split(line)[1:]
            context = group.make_context("elv", list(words))
            name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
            inner = command.make_context(name, rest, parent=context)
            name, command, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])
            assert command.make_context(name, rest, parent=inner).args == []


class Recommended:
    """A session whose recommendations are at hand."""

    def __init__(self, home: Home) -> None:
        self.asked: list[date | None] = []
        self.deployment = SimpleNamespace(config=CONFIG)
        self._result = CommandResult(
            run=FinishedRun(run_id="r1", warnings=("a step has no template",)), bundle=home.runs / "r1"
        )

    def recommend(self, *, as_of: date | None = None) -> CommandResult:
        self.asked.append(as_of)
        return self._result


def test_the_answer_has_what_to_do_first_three_proposals_and_the_page(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Recommended(home)
    monkeypatch.setattr(cli_recommend, "session_of", lambda config: nullcontext(session))
    config = home.root / "outreach.yaml"
    config.write_text("name: outreach\npaths: {leads_path: leads.csv}\n", encoding="utf-8")
    told = done(elv("recommend", "--config", config, "--as-of", "2026-03-01", home=home.root))
    assert session.asked == [date(2026, 3, 1)]
    for part in (
        "warning a step has no template",
        "Test this first: template weak_opener is replaced by the proposed edit.",
        "How sure: not yet; this is observational",
        "2. in Spring webinar (spring) step 2 (email) comes after 5 days instead of 1 (draft, observational)",
        "+4.0 per 100 (+1.5 to +6.5; n = 900), may bring 624 more with 'booked call within 30 days'",
        f"elv proposals show {WAIT}",
    ):
        assert part in told, part
    page = told.strip().splitlines()[-1].removeprefix("Run r1: ")
    assert Path(page).read_text(encoding="utf-8").startswith("<!doctype html>")
