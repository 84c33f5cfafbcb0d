"""A receiver of alerts that may be down, and remembers what it took.

Belongs here: the HTTP server. Does not belong here: what messages should say.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came in: ``taken`` messages, and how many were ``refused`` while it was down."""

    url: str = ""
    down: bool = False
    refused: int = 0
    taken: list[dict[str, Any]] = field(default_factory=list)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Day, change and code of every alert that was told, in order."""
        return sorted(
            (message["day"], alert["change"], alert["code"]) for message in self.taken for alert in message["alerts"]
        )


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of this machine, for as long as the block lasts."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found.down:
                found.refused += 1
            else:
                found.taken.append(json.loads(body))
            self.send_response(503 if found.down else 204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the tests look at what was taken."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/alerts"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
