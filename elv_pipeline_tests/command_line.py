"""The `elv` command as the tests call it: inside this process, so that heavy imports are paid once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from elv_pipeline.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command left behind for the person who called it."""

    code: int
    out: str
    err: str

    @property
    def run_id(self) -> str:
        """Run named in the last line."""
        return self.out.strip().splitlines()[-1].removeprefix("Run ").split(":")[0]


def elv(*arguments: object, home: Path) -> Answer:
    """Run one command as the shell would; an exception that is not an exit reaches the test as what it is."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"ELV_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "COLUMNS": "100"}),
        mock.patch.object(sys, "argv", ["elv", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Answer(code, out.getvalue(), err.getvalue())


def outputs(home: Path) -> dict[str, str]:
    """Digest of every output of a home; Dagster's records and the remembered configuration are none."""
    places = ("lake", "models", "runs", "runs.db", "scores.db")
    files = [file for place in places for file in ((home / place), *(home / place).rglob("*")) if file.is_file()]
    return {str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
