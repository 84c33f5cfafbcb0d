"""Commands and files with several targets: which run for each, which once, and which ask for one."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer

from elv_pipeline.cli_session import for_each_target, session_of
from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ConfigError, ScoringRefusedError
from elv_pipeline.orchestration import commands


@pytest.fixture
def file(tmp_path: Path) -> Path:
    paths = ", ".join(f"{table}_path: {table}.csv" for table in CANONICAL)
    found = tmp_path / "crm.yaml"
    found.write_text(
        f"name: crm\nproblem: outreach\ntargets: [booked_call, qualified, converted]\npaths: {{{paths}}}\n",
        encoding="utf-8",
    )
    return found


def test_every_target_has_its_turn_and_the_gravest_failure_is_the_exit_code(file: Path) -> None:
    asked = []

    @for_each_target
    def command(config: Path, *, seed: int) -> None:
        asked.append((config.name, seed))
        if config.name.endswith("#booked_call"):
            raise ScoringRefusedError("there is no model yet. Train first.")
        if config.name.endswith("#qualified"):
            raise typer.Exit(1)

    with pytest.raises(typer.Exit) as stopped:
        command(config=file, seed=7)
    assert asked == [(f"crm.yaml#{target}", 7) for target in ("booked_call", "qualified", "converted")]
    assert stopped.value.exit_code == max(1, ScoringRefusedError("x").exit_code)


def test_one_target_by_name_is_asked_alone(file: Path) -> None:
    asked: list[str] = []
    for_each_target(lambda config: asked.append(config.name))(config=file.with_name("crm.yaml#qualified"))
    assert asked == ["crm.yaml#qualified"]


def test_a_command_about_one_model_asks_for_the_target_and_one_about_what_they_share_takes_the_first(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(commands, "opened", lambda config, _: nullcontext(opened.append(config.target)))
    with (
        pytest.raises(ConfigError, match=r"3 targets, and this command is for one.*crm.yaml#qualified"),
        session_of(file),
    ):
        pass
    with session_of(file, of_any_target=True):
        assert opened == ["booked_call"]
