"""What every `elv` command begins with: a configuration, its session, and the lines that show how far it is.

Belongs here: opening a session for a command, and progress. Does not belong here: commands (``cli.py``,
``cli_operation.py``). Heavy imports stay inside the functions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from elv_pipeline import answers
from elv_pipeline.errors import ConfigError, ElvError
from elv_pipeline.home import Home

if TYPE_CHECKING:
    from elv_pipeline.orchestration.commands import Session


@contextmanager
def session_of(config: Path, *, of_any_target: bool = False) -> Iterator[Session]:
    """The configuration of a file, opened in the home, with progress shown.

    Args:
        config: the file, with or without a target.
        of_any_target: the command is about what all targets of a file share, so the first one will do.

    Raises:
        ConfigError: the file cannot be read, or holds several targets and the command is for one.
    """
    from elv_pipeline.config_file import load_targets

    _require_yaml(config)
    found = load_targets(config)
    if len(found) > 1 and not of_any_target:
        raise ConfigError(
            f"--config {config}: the file has {len(found)} targets, and this command is for one. Append it: "
            f"{', '.join(f'{config}#{one.target}' for one in found)}"
        )
    loaded = found[0]
    with progress():
        from elv_pipeline.orchestration.commands import opened

        with opened(loaded, Home.from_environment()) as session:
            yield session


def for_each_target(command: Callable[..., None]) -> Callable[..., None]:
    """A command that does its work for every target of its configuration file, one after the other.

    A target that fails does not keep the others from theirs; the exit code is that of the gravest failure.
    """

    @wraps(command)
    def every(*args: Any, config: Path, **options: Any) -> None:
        chosen = _targets_in(config)
        if len(chosen) == 1:
            command(*args, config=config, **options)
            return
        codes = []
        for one in chosen:
            answers.out.rule(one.name.rpartition("#")[2], align="left")
            try:
                command(*args, config=one, **options)
            except typer.Exit as stopped:
                codes.append(stopped.exit_code)
            except ElvError as error:
                answers.print_error(error)
                codes.append(error.exit_code)
        if any(codes):
            raise typer.Exit(max(codes))

    return every


def _targets_in(config: Path) -> list[Path]:
    """The file with each of its targets appended; the file itself where it has but one, or names one."""
    from elv_pipeline.config_file import file_and_target, load_targets

    _require_yaml(config)
    found, file = load_targets(config), file_and_target(config)[0]
    return [config] if len(found) == 1 else [file.with_name(f"{file.name}#{one.target}") for one in found]


def _require_yaml(config: Path) -> None:
    from elv_pipeline.config_file import file_and_target

    if file_and_target(config)[0].suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--config {config}: a configuration is a .yaml file. Copy configs/lead_ads.yaml.")


@contextmanager
def progress() -> Iterator[None]:
    """Show each asset as it begins; the step before it with the time it took."""
    begun: list[tuple[str, str, float]] = []

    def finish() -> None:
        if begun:
            name, what, at = begun.pop()
            answers.out.print(f"  {name:<22} {what} [{time.monotonic() - at:.1f} s]", markup=False)

    with answers.out.status("starting") as status:

        def listener(name: str, what: str) -> None:
            finish()
            begun.append((name, what, time.monotonic()))
            status.update(f"{name}: {what}")

        from elv_pipeline.orchestration.resources import listening

        with listening(listener):
            yield
        finish()
