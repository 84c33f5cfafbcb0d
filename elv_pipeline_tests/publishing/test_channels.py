from __future__ import annotations

import json
import random
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.publishing.alerting.channels import Delivery, channel_key, deliver, messages
from elv_pipeline.publishing.alerting.delivery import Attempts
from elv_pipeline.publishing.alerting.outbox import Outbox, Waiting
from elv_pipeline.settings_operation import Channel
from elv_pipeline_tests.publishing.receivers import MailReceiver, mail_receiver, web_receiver

NOW = datetime(2025, 6, 17, 6, tzinfo=UTC)
WEBHOOK = Channel(kind="webhook", url_variable="ELV_HOOK")
SLACK = Channel(kind="slack", url_variable="ELV_SLACK")
EMAIL = Channel(kind="email", url_variable="ELV_MAIL", sender="elv@example.org", to=("a@example.org", "b@example.org"))
DRIFT = {
    "severity": "warning",
    "code": "score_drift",
    "message": "PSI 0.400 against 0.200.",
    "action": "See which features moved.",
    "figure": 0.4,
    "threshold": 0.2,
    "money": 1200.0,
    "currency": "EUR",
}


class Sleeps(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def told(outbox: Outbox, *channels: Channel, now: datetime = NOW, alert: dict[str, Any] = DRIFT) -> int:
    found = messages([("new", alert)], channels=channels, configuration="shop", run_id="run-1", now=now)
    for message in found:
        outbox.put(message)
    return len(found)


def sent(
    outbox: Outbox, *channels: Channel, sleep: Sleeps | None = None, now: datetime = NOW, most: int = 3, **urls: str
) -> list[Delivery]:
    attempts = Attempts(
        most=most, timeout_seconds=0.5, sleep=Sleeps() if sleep is None else sleep, random=random.Random(1)
    )
    return deliver(channels=channels, outbox=outbox, environment=urls, now=now, attempts=attempts)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


def test_a_webhook_gets_the_alert_once_and_the_outbox_is_empty(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    with web_receiver(204) as receiver:
        (delivery,) = sent(outbox, WEBHOOK, ELV_HOOK=receiver.url)
        assert sent(outbox, WEBHOOK, ELV_HOOK=receiver.url) == []
    (body,) = receiver.bodies
    assert (delivery.outcome, delivery.channel, delivery.message_id) == ("delivered", "webhook-ELV_HOOK", body["id"])
    assert receiver.keys == [body["id"]]
    assert (body["configuration"], body["run_id"], body["day"]) == ("shop", "run-1", "2025-06-17")
    assert body["alerts"] == [{"change": "new", **DRIFT}]


def test_slack_gets_blocks_and_a_text(outbox: Outbox) -> None:
    told(outbox, SLACK, alert={**DRIFT, "message": "<!channel> & more"})
    with web_receiver() as receiver:
        sent(outbox, SLACK, ELV_SLACK=receiver.url)
    (body,) = receiver.bodies
    assert set(body) == {"text", "blocks"}
    assert [block["type"] for block in body["blocks"]] == ["header", "section", "context"]
    assert "shop: 1 alert (warning)" in body["text"]
    text = body["blocks"][1]["text"]["text"]
    assert "&lt;!channel&gt; &amp; more At stake: 1,200 EUR." in text
    assert "<!channel>" not in json.dumps(body)


def test_nothing_is_told_below_the_severity_of_the_channel(outbox: Outbox) -> None:
    critical = WEBHOOK.model_copy(update={"min_severity": "critical"})
    assert told(outbox, critical) == 0
    assert outbox.waiting() == []
    assert told(outbox, critical, alert={**DRIFT, "severity": "critical"}) == 1


def test_a_failing_receiver_is_tried_again_with_growing_jittered_waits(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    sleeps = Sleeps()
    with web_receiver(500, 503, 200) as receiver:
        (delivery,) = sent(outbox, WEBHOOK, sleep=sleeps, ELV_HOOK=receiver.url)
    assert delivery.outcome == "delivered"
    assert len(receiver.bodies) == 3
    assert len({json.dumps(body) for body in receiver.bodies}) == 1
    assert 0.25 <= sleeps[0] <= 0.75
    assert 0.5 <= sleeps[1] <= 1.5
    assert sleeps[1] != 2 * sleeps[0]


def test_a_receiver_that_asks_for_patience_gets_it_within_limits(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    sleeps = Sleeps()
    with web_receiver(429, 429, 200, headers={"Retry-After": "4"}) as receiver:
        (delivery,) = sent(outbox, WEBHOOK, sleep=sleeps, ELV_HOOK=receiver.url)
        receiver.answers[:] = [429, 200]
        receiver.headers["Retry-After"] = "3600"
        told(outbox, WEBHOOK)
        sent(outbox, WEBHOOK, sleep=sleeps, ELV_HOOK=receiver.url)
    assert (delivery.outcome, sleeps) == ("delivered", [4.0, 4.0, 15.0])


def test_what_is_refused_for_good_is_not_repeated_and_does_not_block_the_rest(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    told(outbox, WEBHOOK, now=NOW + timedelta(hours=1), alert={**DRIFT, "figure": 0.9})
    with web_receiver(404, 200) as receiver:
        first, second = sent(outbox, WEBHOOK, ELV_HOOK=receiver.url)
    assert (first.outcome, first.reason, second.outcome) == ("undelivered", "HTTP 404", "delivered")
    (left,) = outbox.waiting()
    assert (left.tries, left.reason) == (1, "HTTP 404")


def test_an_unreachable_channel_costs_one_message_its_attempts_and_nothing_is_lost(outbox: Outbox) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/secret"
    for hour in range(3):
        told(outbox, WEBHOOK, now=NOW + timedelta(hours=hour), alert={**DRIFT, "figure": float(hour)})
    sleeps = Sleeps()
    failed = sent(outbox, WEBHOOK, sleep=sleeps, ELV_HOOK=nobody)
    assert [delivery.outcome for delivery in failed] == ["undelivered"] * 3
    assert len(sleeps) == 2
    assert {delivery.reason for delivery in failed} == {"ConnectionRefusedError"}
    assert (outbox.stuck(), outbox.lost()) == ({"webhook-ELV_HOOK": 3}, [])
    with web_receiver() as receiver:
        arrived = sent(outbox, WEBHOOK, now=NOW + timedelta(days=1), ELV_HOOK=receiver.url)
    assert [delivery.outcome for delivery in arrived] == ["delivered"] * 3
    assert [body["alerts"][0]["figure"] for body in receiver.bodies] == [0.0, 1.0, 2.0]
    assert outbox.waiting() == []


def test_a_receiver_that_does_not_answer_times_out(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    with web_receiver(pause=1.0) as receiver:
        (delivery,) = sent(outbox, WEBHOOK, most=1, ELV_HOOK=receiver.url)
    assert (delivery.outcome, delivery.reason) == ("undelivered", "timed out")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirections_are_not_followed(outbox: Outbox, code: int) -> None:
    told(outbox, WEBHOOK)
    with web_receiver() as elsewhere, web_receiver(code, headers={"Location": elsewhere.url}) as receiver:
        (delivery,) = sent(outbox, WEBHOOK, ELV_HOOK=receiver.url)
    assert delivery.outcome == "undelivered"
    assert "redirects" in delivery.reason
    assert (len(receiver.bodies), elsewhere.bodies) == (1, [])


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "the environment variable ELV_HOOK is not set"),
        ("http://hooks.example.org/T0/very-secret", "ELV_HOOK is not encrypted"),
        ("ftp://127.0.0.1/very-secret", "ELV_HOOK does not hold an address"),
        ("https://127.0.0.1:notaport/very-secret", "ELV_HOOK does not hold an address"),
        ("https://hooks.example.org/very secret\x7f", "ELV_HOOK does not hold a usable address"),
        ("very-secret", "ELV_HOOK does not hold an address"),
    ],
)
def test_unusable_addresses_are_named_by_their_variable_only(outbox: Outbox, url: str, reason: str) -> None:
    told(outbox, WEBHOOK)
    sleeps = Sleeps()
    (delivery,) = sent(outbox, WEBHOOK, sleep=sleeps, ELV_HOOK=url)
    assert (delivery.outcome, sleeps) == ("undelivered", [])
    assert delivery.reason.startswith(reason)
    assert "very" not in delivery.reason + json.dumps([str(w) for w in outbox.waiting()])


def test_the_same_message_again_is_one_and_channels_wait_for_themselves(outbox: Outbox) -> None:
    assert told(outbox, WEBHOOK, SLACK) == 2
    told(outbox, WEBHOOK, SLACK)
    assert [waiting.channel for waiting in outbox.waiting()] == ["slack-ELV_SLACK", "webhook-ELV_HOOK"]
    with web_receiver() as receiver:
        found = sent(outbox, WEBHOOK, SLACK, ELV_HOOK=receiver.url)
    assert {d.channel: d.outcome for d in found} == {
        "slack-ELV_SLACK": "undelivered",
        "webhook-ELV_HOOK": "delivered",
    }


def test_old_messages_and_those_of_removed_channels_are_given_up_and_counted(outbox: Outbox) -> None:
    told(outbox, WEBHOOK, SLACK)
    found = sent(outbox, WEBHOOK, now=NOW + timedelta(days=30), ELV_HOOK="")
    assert sorted((d.channel, d.outcome) for d in found) == [
        ("slack-ELV_SLACK", "expired"),
        ("webhook-ELV_HOOK", "undelivered"),
    ]
    assert (outbox.stuck(), len(outbox.lost())) == ({"webhook-ELV_HOOK": 1}, 1)
    (late,) = sent(outbox, WEBHOOK, now=NOW + timedelta(days=30, seconds=1), ELV_HOOK="")
    assert (late.outcome, late.reason) == ("expired", "the environment variable ELV_HOOK is not set")
    assert (outbox.waiting(), outbox.stuck()) == ([], {})
    lost = outbox.lost()
    assert {name.split("-ELV")[0] for name in lost} == {"slack", "webhook"}
    outbox.settle(lost)
    outbox.settle(lost)
    assert (outbox.lost(), list(outbox.folder.iterdir())) == ([], [])


def test_a_broken_file_of_the_outbox_is_set_aside_and_told(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    (outbox.folder / "webhook-ELV_HOOK-0.json").write_text("{", encoding="utf-8")
    with web_receiver() as receiver:
        found = sent(outbox, WEBHOOK, ELV_HOOK=receiver.url)
    assert [delivery.outcome for delivery in found] == ["expired", "delivered"]
    assert outbox.lost() == [path.name for path in outbox.folder.iterdir()] == ["webhook-ELV_HOOK-0.unreadable"]
    outbox.settle(outbox.lost())
    assert outbox.lost() == []
    assert [path.name for path in outbox.folder.iterdir()] == ["webhook-ELV_HOOK-0.told"]  # for whoever wants to look


def test_a_message_that_comes_while_others_are_sent_is_sent_too(outbox: Outbox) -> None:
    told(outbox, WEBHOOK)
    lists = []

    def listed() -> list[Waiting]:
        lists.append(outbox.waiting())
        if len(lists) == 2:  # after the first was sent
            told(outbox, WEBHOOK, now=NOW + timedelta(minutes=1))
            return outbox.waiting()
        return lists[-1]

    with web_receiver() as receiver:
        found = deliver(
            channels=[WEBHOOK], outbox=outbox, environment={"ELV_HOOK": receiver.url}, now=NOW, listed=listed
        )
    assert [delivery.outcome for delivery in found] == ["delivered", "delivered"]
    assert len(set(receiver.keys)) == 2
    assert outbox.waiting() == []


def test_a_message_that_waits_keeps_its_id_whatever_its_content_became(outbox: Outbox) -> None:
    """A release that words messages otherwise must not send the same one under another key."""
    told(outbox, WEBHOOK)
    (file,) = outbox.folder.iterdir()
    document = json.loads(file.read_text())
    document["message"]["alerts"][0]["message"] = "Said otherwise."
    file.write_text(json.dumps(document))
    with web_receiver(503, 200) as receiver:
        sent(outbox, WEBHOOK, most=1, ELV_HOOK=receiver.url)
        sent(outbox, WEBHOOK, most=1, ELV_HOOK=receiver.url)
    assert receiver.keys == [document["message"]["id"]] * 2


def smtp(receiver: MailReceiver, *, user: str = "", host: str = "localhost", scheme: str = "smtp") -> str:
    return f"{scheme}://{user}{host}:{receiver.port}"


def test_an_email_goes_to_everybody_in_plain_text(outbox: Outbox) -> None:
    told(outbox, EMAIL)
    with mail_receiver() as receiver:
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver))
    assert (delivery.outcome, delivery.reason) == ("delivered", "")
    mail = message_from_string(receiver.mails[0], policy=policy.default)
    assert (mail["Subject"], mail["From"]) == ("shop: 1 alert (warning)", "elv@example.org")
    assert mail["To"] == "a@example.org, b@example.org"
    assert delivery.message_id in mail["Message-ID"]
    text = mail.get_content()
    assert "New, warning: score_drift" in text
    assert "See which features moved." in text
    assert "AUTH" not in receiver.commands


def test_credentials_are_never_sent_without_encryption(outbox: Outbox) -> None:
    told(outbox, EMAIL)
    with mail_receiver() as receiver:
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver, user="me:very-secret@"))
    assert delivery.outcome == "undelivered"
    assert "offers no STARTTLS, and credentials" in delivery.reason
    assert not {"AUTH", "MAIL", "DATA"} & set(receiver.commands)


def test_mail_leaves_this_machine_only_encrypted(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    told(outbox, EMAIL)
    real = socket.create_connection
    with mail_receiver() as receiver:
        monkeypatch.setattr(socket, "create_connection", lambda address, *rest: real(("127.0.0.1", address[1]), *rest))
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver, host="mail.example.org"))
    assert "mail leaves this machine only encrypted" in delivery.reason
    assert receiver.mails == []


def test_a_recipient_that_is_refused_is_a_remark_and_the_others_are_not_written_to_twice(outbox: Outbox) -> None:
    told(outbox, EMAIL)
    with mail_receiver(refuse=["b@example.org"]) as receiver:
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver))
        assert sent(outbox, EMAIL, ELV_MAIL=smtp(receiver)) == []
    assert (delivery.outcome, delivery.reason) == ("delivered", "the mail server refuses 1 of 2 recipients")
    assert len(receiver.mails) == 1
    told(outbox, EMAIL)
    with mail_receiver(refuse=["example.org"]) as receiver:
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver))
    assert delivery.outcome == "undelivered"
    assert "example.org" not in delivery.reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that nobody trusts by itself; key and certificate in one file."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(made), *names]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    both = folder / "both.pem"
    both.write_text(key.read_text() + made.read_text())
    return both


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_credentials_are_sent_after_starttls(
    outbox: Outbox, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    told(outbox, EMAIL)
    with mail_receiver(tls=server_side(certificate)) as receiver:
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver, user="me:very%2Dsecret@"))
    assert (delivery.outcome, delivery.reason) == ("delivered", "")
    assert receiver.encrypted
    assert receiver.commands.index("STARTTLS") < receiver.commands.index("AUTH") < receiver.commands.index("DATA")


def test_a_mail_server_that_cannot_prove_who_it_is_gets_nothing(outbox: Outbox, certificate: Path) -> None:
    told(outbox, EMAIL)
    with mail_receiver(tls=server_side(certificate)) as receiver:
        (delivery,) = sent(outbox, EMAIL, ELV_MAIL=smtp(receiver, user="me:very-secret@"))
    assert delivery.reason == "the mail server's certificate is not trusted"
    assert not {"AUTH", "DATA"} & set(receiver.commands)


@pytest.mark.parametrize(("code", "outcome"), [(535, 0), (454, 2)])
def test_a_refused_login_is_final_and_a_busy_server_is_asked_again(
    outbox: Outbox, certificate: Path, monkeypatch: pytest.MonkeyPatch, code: int, outcome: int
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    told(outbox, EMAIL)
    sleeps = Sleeps()
    with mail_receiver(tls=server_side(certificate), login_code=code) as receiver:
        (delivery,) = sent(outbox, EMAIL, sleep=sleeps, ELV_MAIL=smtp(receiver, user="me:very-secret@"))
    assert (delivery.outcome, delivery.reason, len(sleeps)) == ("undelivered", f"SMTP {code}", outcome)


def test_the_key_of_a_channel_names_no_address() -> None:
    assert channel_key(EMAIL) == "email-ELV_MAIL"
