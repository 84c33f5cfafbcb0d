"""What every `elv` command begins with: a configuration, its session, and the lines that show how far it is.

Belongs here: opening a session for a command, and progress. Does not belong here: commands (``cli.py``,
``cli_operation.py``). Heavy imports stay inside the functions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from elv_pipeline import answers
from elv_pipeline.errors import ConfigError
from elv_pipeline.home import Home

if TYPE_CHECKING:
    from elv_pipeline.orchestration.commands import Session


@contextmanager
def session_of(config: Path) -> Iterator[Session]:
    """The configuration of a file, opened in the home, with progress shown."""
    from elv_pipeline.config_file import load_config

    if config.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--config {config}: a configuration is a .yaml file. Copy configs/lead_ads.yaml.")
    loaded = load_config(config)
    with progress():
        from elv_pipeline.orchestration.commands import opened

        with opened(loaded, Home.from_environment()) as session:
            yield session


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
