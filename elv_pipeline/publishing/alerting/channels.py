"""Telling people what changed: through every configured channel, never at the cost of the run.

Belongs here: which message goes to which channel, and what becomes of it. Does not belong here: what changed
(``monitoring/alert_state.py``), the words (``alert_message.py``) or the protocols (``delivery_*.py``).

Addresses and credentials come from the environment variables that the configuration names. Nothing here raises because
of a channel: what was not delivered waits in the outbox and is an alert of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

from elv_pipeline.publishing.alerting.alert_message import alert_message
from elv_pipeline.publishing.alerting.delivery import Attempts, DeliveryError, PassingDeliveryError
from elv_pipeline.publishing.alerting.delivery_email import send_email
from elv_pipeline.publishing.alerting.delivery_http import post_json
from elv_pipeline.publishing.alerting.outbox import Outbox, Waiting
from elv_pipeline.settings_operation import Channel


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of one message.

    Attributes:
        channel: key of the channel.
        message_id: the message.
        outcome: ``delivered``; ``undelivered``: it waits for the next run; ``expired``: given up.
        reason: why not, or a remark about what was delivered; no address and no credential.
    """

    channel: str
    message_id: str
    outcome: Literal["delivered", "undelivered", "expired"]
    reason: str = ""


def channel_key(channel: Channel) -> str:
    """Name of a channel in files and reports: its kind and the variable that holds its address."""
    return f"{channel.kind}-{channel.url_variable}"


def messages(
    changes: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    channels: Sequence[Channel],
    configuration: str,
    run_id: str,
    now: datetime,
) -> list[Waiting]:
    """What each channel is to be told; none for a channel that asks for graver alerts.

    Args:
        changes: ``AlertChanges.to_tell()``.
        channels: of the configuration.
        configuration: its name.
        run_id: the run that found the changes.
        now: moment of the run (UTC).
    """
    found = []
    for channel in channels:
        message = alert_message(
            changes, configuration=configuration, run_id=run_id, now=now, min_severity=channel.min_severity
        )
        if message is not None:
            found.append(Waiting(channel=channel_key(channel), message=message, since=now))
    return found


def deliver(
    *,
    channels: Sequence[Channel],
    outbox: Outbox,
    environment: Mapping[str, str],
    now: datetime,
    attempts: Attempts | None = None,
    listed: Callable[[], list[Waiting]] | None = None,
) -> list[Delivery]:
    """Send everything that waits, also what is put there meanwhile; for one process at a time.

    A channel that cannot be reached is not bothered again by this call.

    Args:
        channels: of the configuration.
        outbox: where messages wait.
        environment: the environment variables.
        now: moment of the run (UTC).
        attempts: how often and how patiently.
        listed: lists what waits; ``outbox.waiting`` where nobody else puts anything there.

    Returns:
        What became of each message, the oldest first.
    """
    known, down, tried = {channel_key(channel): channel for channel in channels}, dict[str, str](), set[str]()
    found = [
        Delivery(channel=name, message_id="", outcome="expired", reason="its file in the outbox is not readable")
        for name in outbox.set_aside()
    ]
    while fresh := [waiting for waiting in (listed or outbox.waiting)() if waiting.name not in tried]:
        for waiting in fresh:
            tried.add(waiting.name)
            channel = known.get(waiting.channel)
            if channel is None or waiting.is_expired(now=now):
                reason = waiting.reason if channel else "the channel is no longer configured"
                outbox.give_up(waiting)
                found.append(_end(waiting, "expired", reason=reason))
            else:
                send = partial(_send, channel, waiting, environment, attempts=attempts or Attempts())
                found.append(_tried(waiting, send, outbox=outbox, down=down))
    return found


def _tried(waiting: Waiting, send: Callable[[], str], *, outbox: Outbox, down: dict[str, str]) -> Delivery:
    try:
        if waiting.channel in down:
            raise DeliveryError(down[waiting.channel])
        remark = send()
    except DeliveryError as error:
        if isinstance(error, PassingDeliveryError):
            down[waiting.channel] = str(error)
        outbox.failed(waiting, reason=str(error))
        return _end(waiting, "undelivered", reason=str(error))
    outbox.remove(waiting)
    return _end(waiting, "delivered", reason=remark)


def _send(channel: Channel, waiting: Waiting, environment: Mapping[str, str], *, attempts: Attempts) -> str:
    """Send one message; a remark about its delivery, mostly empty.

    Raises:
        DeliveryError: it was not taken.
    """
    url, message = environment.get(channel.url_variable, ""), waiting.message
    if not url.strip():
        raise DeliveryError(f"the environment variable {channel.url_variable} is not set")

    def once() -> str:
        if channel.kind == "email":
            return send_email(
                message,
                url=url,
                variable=channel.url_variable,
                sender=channel.sender or "",
                to=channel.to,
                timeout_seconds=attempts.timeout_seconds,
            )
        post_json(
            message.as_slack() if channel.kind == "slack" else message.as_dict(),
            url=url,
            variable=channel.url_variable,
            message_id=message.id,
            timeout_seconds=attempts.timeout_seconds,
        )
        return ""

    return attempts.run(once)


def _end(waiting: Waiting, outcome: Literal["delivered", "undelivered", "expired"], *, reason: str = "") -> Delivery:
    return Delivery(channel=waiting.channel, message_id=waiting.message.id, outcome=outcome, reason=reason)
