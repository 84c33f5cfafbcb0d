"""A process that tells alerts and is killed, as by ``kill -9``, before one of the steps that leave something behind.

Run as ``python -m``; each line of its input is a task, done by a child of its own: JSON with ``folder``, ``url``,
``codes`` (open alerts), ``now``, and ``step``: the child kills itself before that step (0: it lives). A step is any
renaming or removing of a file, and any connection. The answer to a task is a line: ``killed`` or ``lived``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from elv_pipeline.publishing.alerting.delivery import Attempts
from elv_pipeline.publishing.alerting.telling import Teller
from elv_pipeline.settings_operation import Channel

STEPS = ("os.rename", "os.remove", "socket.connect")


def dies_before(step: int) -> None:
    """Kill this process before its ``step``-th step, wherever in the program that is."""
    left = [step]

    def count(event: str, _arguments: Any) -> None:
        if event in STEPS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def tell(task: dict[str, Any]) -> None:
    channels = [Channel(kind="webhook", url_variable=name) for name in ("ELV_HOOK", "ELV_OTHER")]
    teller = Teller(configuration="shop", place=Path(task["folder"]) / "shop.json", channels=channels)
    found = [
        {"severity": "warning", "code": code, "message": f"{code}: {task['now']}.", "action": "Look."}
        for code in task["codes"]
    ]
    now = datetime.fromisoformat(task["now"])
    teller.remember(found, run_id="", now=now)
    environment = {name: task["url"] + f"/{name}" for name in ("ELV_HOOK", "ELV_OTHER")}
    teller.send(environment=environment, now=now, attempts=Attempts(most=1, timeout_seconds=10))


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            if task["step"]:
                dies_before(task["step"])
            tell(task)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer = "killed" if killed else f"lived {os.waitstatus_to_exitcode(status)}"
        sys.stdout.write(answer.removesuffix(" 0") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
