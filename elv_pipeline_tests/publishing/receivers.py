"""Local receivers of alerts: an HTTP server and a small SMTP server, each in a thread."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class WebReceiver:
    """Answers with the given codes, the last one for ever; keeps what it was sent."""

    answers: list[int]
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def web_receiver(*answers: int, headers: dict[str, str] | None = None, pause: float = 0.0) -> Iterator[WebReceiver]:
    receiver = WebReceiver(answers=list(answers or (200,)), headers=headers or {}, pause=pause)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.bodies.append(json.loads(body))
            receiver.paths.append(self.path)
            receiver.keys.append(self.headers["Idempotency-Key"])
            time.sleep(receiver.pause)
            code = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
            self.send_response(code)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook/very-secret"
    with _running(server):
        yield receiver


@dataclass
class MailReceiver:
    """Takes mail; with ``tls`` it offers STARTTLS, with ``refuse`` it refuses these recipients."""

    tls: ssl.SSLContext | None = None
    refuse: Sequence[str] = ()
    login_code: int = 235
    port: int = 0
    mails: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    encrypted: bool = False


@contextmanager
def mail_receiver(
    *, tls: ssl.SSLContext | None = None, refuse: Sequence[str] = (), login_code: int = 235
) -> Iterator[MailReceiver]:
    receiver = MailReceiver(tls=tls, refuse=refuse, login_code=login_code)

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")
            self.wfile.flush()

        def handle(self) -> None:
            try:
                self.converse()
            except (OSError, ValueError):  # the client hung up
                return

        def converse(self) -> None:
            encrypted = False
            self.say("220 local")
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                receiver.commands.append(word)
                if word in ("EHLO", "HELO"):
                    offers = ["local", *(["STARTTLS"] if receiver.tls and not encrypted else []), "AUTH PLAIN"]
                    for offer in offers[:-1]:
                        self.say(f"250-{offer}")
                    self.say(f"250 {offers[-1]}")
                elif word == "STARTTLS":
                    assert receiver.tls is not None
                    self.say("220 go ahead")
                    self.connection = receiver.tls.wrap_socket(self.connection, server_side=True)
                    self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                    receiver.encrypted = encrypted = True
                elif word == "AUTH":
                    self.say(f"{receiver.login_code} login")
                elif word == "RCPT" and any(address in line for address in receiver.refuse):
                    self.say("550 unknown")
                elif word == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                    receiver.mails.append("\n".join(lines))
                    self.say("250 taken")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    with _running(server):
        yield receiver


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
