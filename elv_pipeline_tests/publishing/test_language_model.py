"""The model is off by default, is told templates and aggregates only, and every failure has its remedy."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_args, get_type_hints

import pytest

from elv_pipeline.decisions.recommend.template_edits import (
    PropertyDifference,
    TemplateEvidence,
    TemplateRequest,
    edit_of,
)
from elv_pipeline.errors import ConfigError
from elv_pipeline.publishing.language_model import (
    ChatModel,
    LanguageModelError,
    LanguageModelSettings,
    language_model,
    payload,
)

KEY = "sk-very-secret-0123456789"
REQUEST = TemplateRequest(
    channel="email",
    outcome="booked call",
    weak="We offer many things.",
    strong=("Hi {first_name}, shall we talk?",),
    differences=(PropertyDifference(name="questions", weak=0.0, strong=1.0, low=None, high=None, templates=1, n=120),),
)


@dataclass
class Endpoint:
    """Answers with the given codes and bodies, the last for ever; keeps what it was sent."""

    answers: list[tuple[int, bytes]]
    headers: dict[str, str]
    pause: float
    drip: bool
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


def completion(text: object, *, finish: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": finish}]}).encode()


GOOD = completion("Hi {first_name}, we offer many things. Shall we talk?")


@contextmanager
def endpoint(
    *answers: tuple[int, bytes], headers: dict[str, str] | None = None, pause: float = 0.0, drip: bool = False
) -> Iterator[Endpoint]:
    made = Endpoint(answers=list(answers or ((200, GOOD),)), headers=headers or {}, pause=pause, drip=drip)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            made.keys.append(self.headers["Authorization"])
            time.sleep(made.pause)
            code, body = made.answers.pop(0) if len(made.answers) > 1 else made.answers[0]
            self.send_response(code)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.give(body)

        def give(self, body: bytes) -> None:
            try:
                for start in range(0, len(body), 1 if made.drip else len(body)):
                    self.wfile.write(body[start : start + 1] if made.drip else body)
                    self.wfile.flush()
                    time.sleep(0.03 if made.drip else 0)
            except OSError:  # the client hung up
                return

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Sleeps(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def model(url: str, *, sleep: Sleeps | None = None, **changes: Any) -> ChatModel:
    settings = LanguageModelSettings(
        **{"enabled": True, "url": url, "model": "small", "timeout_seconds": 0.4, **changes}
    )
    made = language_model(settings, environment={"ELV_LANGUAGE_MODEL_KEY": KEY})
    assert isinstance(made, ChatModel)
    return ChatModel(made.settings, made.key, sleep=Sleeps() if sleep is None else sleep)


def test_it_is_off_by_default() -> None:
    assert language_model(LanguageModelSettings(), environment={"ELV_LANGUAGE_MODEL_KEY": KEY}) is None


def test_it_proposes_what_the_model_answers() -> None:
    with endpoint() as server:
        assert model(server.url).propose(REQUEST) == "Hi {first_name}, we offer many things. Shall we talk?"
    assert server.keys == [f"Bearer {KEY}"]
    (body,) = server.bodies
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("small", 1_000, 0)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert KEY not in json.dumps(body)


def test_it_serves_as_the_writer_of_an_edit() -> None:
    def evidence(name: str, text: str, rate: float) -> TemplateEvidence:
        return TemplateEvidence(
            template_id=name, text=text, channel="email", rate=rate, low=rate - 0.01, high=rate + 0.01, n=300
        )

    weak, strong = evidence("weak", REQUEST.weak, 0.02), evidence("strong", REQUEST.strong[0], 0.1)
    with endpoint() as server:
        edit = edit_of(weak, [strong], outcome="booked call", writer=model(server.url))
    assert edit is not None
    assert "+Shall we talk?" in edit.diff


def test_only_templates_and_aggregates_are_sent() -> None:
    """The types hold no row, no id of a person and no free container; the payload names each part."""
    told = payload(REQUEST, settings=LanguageModelSettings(model="small"))
    assert set(told) == {"model", "messages", "temperature", "max_tokens"}
    user = json.loads(told["messages"][1]["content"])
    assert set(user) == {
        "channel",
        "wanted_outcome",
        "template_to_edit",
        "stronger_templates",
        "differences",
        "most_characters",
    }
    assert user["differences"] == [REQUEST.differences[0].sentence]
    leaves = list(_leaves(TemplateRequest))
    assert {name for name, _ in leaves} == {
        "channel",
        "outcome",
        "weak",
        "strong",
        "name",
        "low",
        "high",
        "templates",
        "n",
    }
    for name, kind in leaves:
        assert kind in (str, float, int, type(None)), f"{name} may hold {kind}"


def _leaves(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Names and plain types of all that an instance can hold, a union giving several."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        for part in _plain(hints[entry.name]):
            if is_dataclass(part):
                yield from _leaves(part)  # type: ignore[arg-type]
            else:
                yield entry.name, part


def _plain(kind: Any) -> Iterator[Any]:
    parts = [part for part in get_args(kind) if part is not Ellipsis]
    if not parts:
        yield kind
    for part in parts:
        yield from _plain(part)


def test_contact_details_cannot_be_put_into_a_request() -> None:
    with pytest.raises(ConfigError, match="not shown"):
        TemplateRequest(channel="email", outcome="x", weak="Write to ada@example.org", strong=(), differences=())


@pytest.mark.parametrize(
    ("code", "reason", "asked"),
    [
        (401, "HTTP 401: the key is not accepted. Check the environment variable ELV_LANGUAGE_MODEL_KEY", 1),
        (404, "HTTP 404: the endpoint does not take the request. Check recommend.language_model.url", 1),
        (429, "HTTP 429: too many requests", 3),
        (500, "HTTP 500: the endpoint has a fault. Try again later, or use the proposals made by rules", 3),
    ],
)
def test_a_refusal_is_one_sentence_with_a_remedy(code: int, reason: str, asked: int) -> None:
    echo = b'{"error": "' + KEY.encode() + b'"}'
    with endpoint((code, echo)) as server, pytest.raises(LanguageModelError) as refused:
        model(server.url).propose(REQUEST)
    assert str(refused.value).startswith(reason)
    assert KEY not in str(refused.value)
    assert "127.0.0.1" not in str(refused.value)
    assert len(server.bodies) == asked


def test_a_fault_that_passes_costs_a_wait() -> None:
    sleeps = Sleeps()
    with endpoint((429, b""), (503, b""), (200, GOOD), headers={"Retry-After": "4"}) as server:
        assert model(server.url, sleep=sleeps).propose(REQUEST).startswith("Hi")
    assert sleeps == [4.0, 4.0]
    impatient = Sleeps()
    with endpoint((429, b""), (200, GOOD), headers={"Retry-After": "9999"}) as server:
        model(server.url, sleep=impatient).propose(REQUEST)
    assert impatient == [15.0]


def test_an_answer_that_does_not_come_or_only_drips_times_out() -> None:
    with endpoint(pause=1.0) as server, pytest.raises(LanguageModelError, match="timed out"):
        model(server.url, attempts=1).propose(REQUEST)
    began = time.monotonic()
    with endpoint(drip=True) as server, pytest.raises(LanguageModelError, match="timed out"):
        model(server.url, attempts=1).propose(REQUEST)
    assert time.monotonic() - began < 3


def test_nobody_at_the_address_is_told_without_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(LanguageModelError, match=r"did not answer \(ConnectionRefusedError\)"):
        model(nobody).propose(REQUEST)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "has not the form of a chat completion"),
        (b"[]", "has not the form"),
        (b'{"choices": []}', "has not the form"),
        (b'{"choices": [{"message": "x"}]}', "has not the form"),
        (b"\xff\xfe", "has not the form"),
        (completion("  "), "holds no text"),
        (completion(None), "holds no text"),
        (completion(["x"]), "holds no text"),
        (completion("cut", finish="length"), "was cut off. Raise recommend.language_model.most_tokens"),
        (completion("long " * 1_000), "at most 4,000 are accepted"),
        (b" " * 300_000 + GOOD, "longer than 262,144 bytes"),
    ],
)
def test_a_malformed_answer_is_told_and_not_repeated(body: bytes, reason: str) -> None:
    with endpoint((200, body)) as server, pytest.raises(LanguageModelError) as refused:
        model(server.url).propose(REQUEST)
    assert reason in str(refused.value)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_the_key_is_not_sent_on(code: int) -> None:
    with (
        endpoint() as elsewhere,
        endpoint((code, b""), headers={"Location": elsewhere.url}) as server,
        pytest.raises(LanguageModelError, match="redirects"),
    ):
        model(server.url).propose(REQUEST)
    assert elsewhere.keys == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": " "}, "recommend.language_model.model is empty"),
        ({"url": ""}, "recommend.language_model.url does not hold an address"),
        ({"url": "ftp://host/x"}, "does not hold an address"),
        ({"url": "http://models.example.org/v1"}, "not encrypted"),
        ({"url": "https://ada:hunter2@models.example.org/v1"}, "not shown"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"attempts": 0}, "attempts"),
        ({"most_tokens": 0}, "most_tokens"),
        ({"key_variable": ""}, "key_variable"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        LanguageModelSettings(**{"enabled": True, "url": "https://models.example.org/v1", "model": "small", **changes})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("key", "state"), [("", "is not set"), ("two words", "does not hold a key"), ("a\nb", "hold")])
def test_a_missing_or_broken_key_is_told_and_never_shown(key: str, state: str) -> None:
    settings = LanguageModelSettings(enabled=True, url="https://models.example.org/v1", model="small")
    with pytest.raises(ConfigError, match=f"ELV_LANGUAGE_MODEL_KEY .*{state}") as refused:
        language_model(settings, environment={"ELV_LANGUAGE_MODEL_KEY": key})
    assert "two words" not in str(refused.value)
    made = language_model(settings, environment={"ELV_LANGUAGE_MODEL_KEY": KEY})
    assert KEY not in repr(made)
