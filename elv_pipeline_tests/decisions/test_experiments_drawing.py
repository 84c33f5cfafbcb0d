"""Units get their arms by the plan's salt, in the file's order, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from elv_pipeline.decisions.experiments.allocation import Allocation, arm_of
from elv_pipeline.decisions.experiments.drawing import drawn, drawn_lines
from elv_pipeline.errors import ConfigError, ContractError
from elv_pipeline_tests.decisions.experiment_data import clustered, design_of, plan_of

PLAN = plan_of()


def units(folder: Path, text: str) -> Path:
    file = folder / "units.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_unit_has_the_arm_of_its_hash_in_the_order_of_the_file(tmp_path: Path) -> None:
    ids = [f"e{number}" for number in range(300, 0, -1)]
    file = units(tmp_path, "email,unit_id\n" + "".join(f"someone@example.org,{unit}\n" for unit in ids))
    found = drawn(file, PLAN)
    assert found.columns == ["unit_id", "arm"]  # what is not needed is not read
    assert found["unit_id"].to_list() == ids
    assert found["arm"].to_list() == [arm_of(unit, allocation=PLAN.design.allocation) for unit in ids]
    [line] = drawn_lines(found, PLAN)
    treated = found["arm"].to_list().count("treatment")
    assert line == f"control: {300 - treated}, treatment: {treated}."


def test_members_of_a_cluster_share_its_arm(tmp_path: Path) -> None:
    file = units(tmp_path, "unit_id,cluster_id\n" + "".join(f"e{n},c{n % 7}\n" for n in range(70)))
    found = drawn(file, plan_of(clustered()))
    assert found.group_by("cluster_id").agg(pl.col("arm").n_unique())["arm"].to_list() == [1] * 7


def test_strata_that_are_far_off_are_told(tmp_path: Path) -> None:
    ids = [f"e{number}" for number in range(400)]
    arms = [arm_of(unit, allocation=PLAN.design.allocation) for unit in ids]
    fair = "unit_id,stratum\n" + "".join(f"{unit},{'call' if n % 2 else 'mail'}\n" for n, unit in enumerate(ids))
    assert "within what chance allows" in drawn_lines(drawn(units(tmp_path, fair), PLAN), PLAN)[1]
    unfair = "unit_id,stratum\n" + "".join(f"{unit},{arm}\n" for unit, arm in zip(ids, arms, strict=True))
    assert "further off than chance allows" in drawn_lines(drawn(units(tmp_path, unfair), PLAN), PLAN)[1]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("id\ne1\n", r"units\.csv: column unit_id is missing"),
        ("unit_id,x\ne1,1\n,2\n", r"units\.csv row 3: unit_id is empty; it must not be empty"),
        ("unit_id,x\ne1,1\ne1,2\n", r"units\.csv row 2: unit_id is 'e1' \(and 1 more row\); each unit is one row"),
    ],
)
def test_a_file_that_cannot_be_drawn_is_refused(text: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=match):
        drawn(units(tmp_path, text), PLAN)


def test_what_another_tool_draws_is_not_drawn_here(tmp_path: Path) -> None:
    plan = plan_of(design_of(allocation=Allocation(salt="s", method="elsewhere")))
    with pytest.raises(ConfigError, match="another tool draws"):
        drawn(units(tmp_path, "unit_id\ne1\n"), plan)
