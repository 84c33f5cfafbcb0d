"""The commands for experiments, from a design to a decision, with the files that a person would have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from elv_pipeline_tests.command_line import Answer, elv

DOCS = Path(__file__).resolve().parent.parent / "docs" / "EXPERIMENTS.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The design that the documentation shows, and units to draw."""
    [design] = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "design.yaml").write_text(design, encoding="utf-8")
    pl.DataFrame({"unit_id": [f"e{number}" for number in range(2_400)]}).write_csv(tmp_path / "units.csv")
    return tmp_path


def experiment(folder: Path, *arguments: object) -> Answer:
    return elv("experiment", *arguments, home=folder / "home")


def result(folder: Path, *, better_by: int) -> Path:
    """Of every hundred enrollments of an arm ten book a call, and so many more of the treated."""
    drawn = (
        pl.read_csv(folder / "allocated.csv")
        .with_row_index("at")
        .with_columns(within=pl.int_range(pl.len()).over("arm") % 100)
    )
    rows = drawn.select(
        "unit_id",
        "arm",
        assigned_at=pl.format("2026-03-{}T10:00:00Z", (pl.col("at") // 400 + 2).cast(pl.String).str.zfill(2)),
        observed_at=pl.lit("2026-05-01T06:00:00Z"),
        booked_call=(pl.col("within") < 10 + better_by * (pl.col("arm") == "treatment").cast(pl.Int64)).cast(pl.Int64),
        unsubscribed=(pl.col("within") >= 98).cast(pl.Int64),
    )
    rows.write_csv(folder / "result.csv")
    return folder / "result.csv"


@pytest.mark.parametrize(("better_by", "decision"), [(8, "better"), (0, "not shown"), (-8, "worse")])
def test_from_a_design_to_a_decision(folder: Path, better_by: int, decision: str) -> None:
    plan, out = folder / "plan.json", folder / "analysis.json"
    planned = experiment(folder, "plan", folder / "design.yaml", "--out", plan)
    assert planned.code == 0, planned
    assert "Experiment shorter-opener" in planned.out
    first = plan.read_bytes()
    assert experiment(folder, "plan", folder / "design.yaml", "--out", plan).code == 0
    assert plan.read_bytes() == first
    drawn = experiment(folder, "allocate", folder / "units.csv", "--plan", plan, "--out", folder / "allocated.csv")
    assert drawn.code == 0, drawn
    rows = result(folder, better_by=better_by)
    told = experiment(folder, "analyse", rows, "--plan", plan, "--out", out)
    assert told.code == 0, told
    assert json.loads(out.read_text(encoding="utf-8"))["decision"] == decision
    assert "booked_call: control 10." in told.out


def test_what_is_wrong_is_named_and_nothing_is_written(folder: Path) -> None:
    plan = folder / "plan.json"
    missing = experiment(folder, "plan", folder / "no.yaml", "--out", plan)
    assert (missing.code, plan.exists()) == (2, False)
    assert "no.yaml: it cannot be read" in missing.err
    experiment(folder, "plan", folder / "design.yaml", "--out", plan)
    out = folder / "allocated.csv"
    (folder / "units.csv").write_text("unit_id,x\ne1,1\ne1,2\n", encoding="utf-8")
    twice = experiment(folder, "allocate", folder / "units.csv", "--plan", plan, "--out", out)
    assert (twice.code, out.exists()) == (3, False)
    plan.write_text(plan.read_text(encoding="utf-8").replace("shorter-opener", "other"), encoding="utf-8")
    edited = experiment(folder, "allocate", folder / "units.csv", "--plan", plan, "--out", out)
    assert (edited.code, out.exists()) == (2, False)
    assert "plan.json" in edited.err


def test_a_look_that_was_not_planned_is_refused(folder: Path) -> None:
    plan = folder / "plan.json"
    experiment(folder, "plan", folder / "design.yaml", "--out", plan)
    experiment(folder, "allocate", folder / "units.csv", "--plan", plan, "--out", folder / "allocated.csv")
    rows = result(folder, better_by=0)
    answer = experiment(folder, "analyse", rows, "--plan", plan, "--week", 99)
    assert answer.code == 2
    assert "weeks [99] are no looks of this plan" in answer.err
