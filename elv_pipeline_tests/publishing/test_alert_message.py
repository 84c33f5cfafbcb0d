from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from elv_pipeline.publishing.alerting.alert_message import AlertMessage, alert_message, message_of, without_private

NOW = datetime(2025, 6, 17, 6, tzinfo=UTC)
ALERT: dict[str, Any] = {
    "severity": "critical",
    "code": "constant_scores",
    "message": "All 40 leads have the same probability.",
    "action": "Look at the features.",
}
PLANTED = ("lead-0815", "jane@example.org", "Jane Doe")


def message(*alerts: dict[str, Any], change: str = "new", **arguments: Any) -> AlertMessage:
    found = alert_message(
        [(change, alert) for alert in alerts or (ALERT,)],
        **{"configuration": "shop", "run_id": "run-1", "now": NOW, "min_severity": "info", **arguments},
    )
    assert found is not None
    return found


def every_format(said: AlertMessage) -> str:
    return json.dumps([said.as_dict(), said.as_slack()]) + said.as_text()


def test_only_allowed_fields_leave_and_only_in_their_shape() -> None:
    planted = {
        **ALERT,
        "lead_id": PLANTED[0],
        "email": PLANTED[1],
        "cause": PLANTED[2],
        "subject": PLANTED[0],
        "examples": list(PLANTED),
        "figure": PLANTED[0],
        "threshold": True,
        "money": float("nan"),
        "currency": PLANTED[1],
        "day": PLANTED[2],
    }
    said = message(planted)
    assert said.changes == ({"change": "new", **ALERT},)
    assert not [secret for secret in PLANTED if secret in every_format(said)]
    assert "unnamed" in every_format(message({**ALERT, "code": "jane@example.org"}, configuration=PLANTED[1]))
    assert PLANTED[1] not in every_format(message({**ALERT, "code": PLANTED[1]}, configuration=PLANTED[1]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("write to Jane.Doe+x@mail.example.org now", "write to [address] now"),
        ("see postgresql://me:secret@db/x for it", "see [link] for it"),
        ("call +49 (170) 1234567 soon", "call [number] soon"),
        ("call 0049 171 1234567 soon", "call [number] soon"),
        ("call 020 7946 0958.", "call [number]."),
        ("call (0171) 1234567, or 0171/1234567", "call [number], or [number]"),
        ("Tel.01711234567", "Tel.[number]"),
        ("lead 212-555-0123 or (212) 555.0123", "lead [number] or [number]"),
        ("login failed: password=hunter2-SECRET host=db", "login failed: password=*** host=db"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("ads end 7 days ago, on 2025-06-10. It was last read on 2025-06-10 03:00 UTC.", None),
        ("from 01/02/2025 to 03-04-2025, 08:00:00", None),
        ("run 01234567-1234-1234-1234-123456789012 and 0171abcd-0123-4567-8901-0a1b2c3d4e5f", None),
        ("run 01234567-0123-4abc-8def-012345678901 of demo_daily failed", None),
        ("0.0171234567 against 0.2, 1,020,794,609 of 12345678901 rows, -0.0123456789, 1e-05", None),
        ("3 of 0 rows, version 0.1.0, 0 0 0, 08 10 12", None),
        ("2025-06-17T06:00:00+00:00 and 20250617T060000", None),
        ("log loss differs by +0.0123456789 (from -0.02 to +0.03)", None),
        ("PSI 0.400 on 2025-06-16, 1,234,567 rows, 50 %", None),
        ("two\nlines", "two lines"),
    ],
)
def test_texts_lose_what_looks_private_and_keep_their_numbers(text: str, said: str | None) -> None:
    assert without_private(text) == (said or text)


def test_long_texts_end_and_many_alerts_are_counted() -> None:
    assert len(without_private("x" * 5000)) == 600
    said = message(*({**ALERT, "code": f"code_{number}"} for number in range(25)))
    assert len(said.as_slack()["blocks"]) <= 50
    assert "5 more: see alerts.json of the run." in said.as_text()
    assert len(said.as_dict()["alerts"]) == 25


def test_a_message_is_known_by_moment_and_content_and_not_by_its_run() -> None:
    assert message().id == message(run_id="run-2").id
    # The same alert may come, go, and come again on one day.
    others = (message(now=NOW + timedelta(hours=2)), message(change="resolved"), message(configuration="other"))
    assert len({message().id, *(other.id for other in others)}) == 4
    assert message_of(json.loads(json.dumps(message().as_dict()))) == message()


def test_the_title_names_the_gravest_or_that_all_is_settled() -> None:
    assert message({**ALERT, "severity": "info"}, ALERT).title == "shop: 2 alerts (critical)"
    settled = message(change="resolved")
    assert settled.title == "shop: 1 alert resolved"
    assert ALERT["action"] not in settled.as_text()


def test_below_the_asked_severity_there_is_no_message() -> None:
    changes = [("new", {**ALERT, "severity": "info"})]
    arguments: dict[str, Any] = {"configuration": "shop", "run_id": "run-1", "now": NOW}
    assert alert_message(changes, min_severity="warning", **arguments) is None
    assert alert_message(changes, min_severity="info", **arguments) is not None


def test_where_no_run_told_it_the_message_names_none() -> None:
    said = message(run_id="")
    assert said.as_dict()["run_id"] == ""
    assert said.as_text().endswith(f"\n\nMessage {said.id[:8]}")
    assert "unnamed" not in every_format(said)
    assert f"Run run-1, message {said.id[:8]}" in message().as_text()
