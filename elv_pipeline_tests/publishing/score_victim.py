"""A process that writes scores and is killed, as by ``kill -9``, in the middle: run as ``python -m``, with its address
in the environment. The kill is arranged here, from outside; nothing in the product knows of it.

Arguments: phase, rows (JSON: lead to score), run id. Without a phase it lives, and prints the counts.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import Any

from sqlalchemy import Connection as Session
from sqlalchemy import event

from elv_pipeline.databases.connections import Connection, open_engine
from elv_pipeline.publishing.scores import filling as score_filling
from elv_pipeline.publishing.scores import staging as score_staging
from elv_pipeline.publishing.scores.writing import upsert_scores
from elv_pipeline_tests.publishing.score_samples import predictions, rows_of, told

URL_VARIABLE = "SCORE_VICTIM_URL"
STATEMENTS = {
    "after the history": r"INSERT INTO \S+lead_score_history",
    "after the update": r"UPDATE \S+lead_scores ",
    "after the insert": r"INSERT INTO \S+lead_scores ",
    "before the commit": r"INSERT INTO \S+score_runs",
}
PHASES = ("while staging", *STATEMENTS)
FILLED = {"in the history": "dbo.lead_score_history", "in the table": "dbo.lead_scores"}
"""Phases of a write without a stage, each with the table that has got half of its rows."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Write, and die at the phase."""
    phase, scores, run_id = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    engine = open_engine(Connection(url=os.environ[URL_VARIABLE]), purpose="victim")

    def after(_session: Session, _cursor: Any, statement: str, *_rest: Any) -> None:
        if phase in STATEMENTS and re.match(STATEMENTS[phase], statement):
            die()

    event.listen(engine, "after_cursor_execute", after)
    if phase == "while staging":
        load = score_staging._LOADERS[engine.dialect.name]

        def load_half_and_die(session: Any, table: Any, rows: Any) -> None:
            load(session, table, rows.head(rows.height // 2))
            die()

        score_staging._LOADERS[engine.dialect.name] = load_half_and_die
    if phase in FILLED:
        send = score_filling.send_rows

        def send_half_and_die(session: Any, table: str, rows: Any, **constants: Any) -> None:
            at_last = table == FILLED[phase]
            send(session, table, rows.head(rows.height // 2) if at_last else rows, **constants)
            if at_last:
                die()

        score_filling.send_rows = send_half_and_die
    counts = upsert_scores(engine, rows_of(told(predictions(scores, run_id=run_id))))
    print(counts.line())


if __name__ == "__main__":
    main()
