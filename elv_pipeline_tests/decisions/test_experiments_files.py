"""Files of designs and plans are read, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elv_pipeline.decisions.experiments.design import mean_baseline, rate_baseline
from elv_pipeline.decisions.experiments.files import read_design, read_plan
from elv_pipeline.decisions.experiments.plan import make_plan
from elv_pipeline.errors import ConfigError
from elv_pipeline_tests.decisions.experiment_data import plan_of

DESIGN = """
name: shorter-opener
hypothesis: A shorter first message books more calls.
control: the present first message
treatment: a first message of two sentences
unit: enrollment
allocation: {salt: shorter-opener-2026-03}
window_days: 7
primary:
  name: booked_call
  words: booked a call within 7 days
  kind: rate
  baseline: {positives: 800, units: 8000}
guardrails:
  - margin: 2
    metric:
      name: minutes
      words: minutes of talk
      kind: mean
      baseline: {mean: 20, sd: 8, units: 4000}
volume: {weekly_units: 400}
smallest_effect: 0.04
starts_at: 2026-03-02T00:00:00+00:00
"""


def saved(text: str, folder: Path) -> Path:
    file = folder / "design.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_design_may_give_its_counts(tmp_path: Path) -> None:
    design = read_design(saved(DESIGN, tmp_path))
    assert design.primary.baseline == rate_baseline(800, units=8_000)
    assert design.guardrails[0].metric.baseline == mean_baseline(20, sd=8, units=4_000)
    assert make_plan(design).enrolment_weeks == 6


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = plan_of(read_design(saved(DESIGN, tmp_path)))
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan.document()), encoding="utf-8")
    assert read_plan(file) == plan


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("smallest_effect: 0.04", "smallest_efect: 0.04", r"design\.yaml: design\.smallest_efect"),
        ("kind: mean", "kind: total", r"design\.guardrails\.0\.metric\.kind"),
        ("positives: 800", "positives: 0", "baseline: 0 positives among 8000 units"),
        ("positives: 800", "positive: 800", r"design\.primary\.baseline"),
        ("allocation: {", "allocation: [", r"design\.yaml line \d+: this is neither YAML nor JSON"),
        ("unit: enrollment", "unit:", r"design\.unit"),
    ],
)
def test_a_wrong_design_is_named(old: str, new: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        read_design(saved(DESIGN.replace(old, new), tmp_path))


def test_what_is_no_file_or_no_plan_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plan(tmp_path / "nothing.json")
    with pytest.raises(ConfigError, match="this is not JSON"):
        read_plan(saved(DESIGN, tmp_path))
    with pytest.raises(ConfigError, match="this is not a plan"):
        read_plan(saved("[1]", tmp_path))
    (tmp_path / "design.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_design(tmp_path / "design.yaml")
