"""Sending a message by e-mail.

Belongs here: one SMTP conversation and what its end means. Does not belong here: the text (``alert_message.py``) or
when it is tried again (``delivery.py``).

``smtps://`` speaks TLS from the start; ``smtp://`` asks for STARTTLS and goes on without it only to this machine and
only without credentials, which never leave unencrypted.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote

from elv_pipeline.publishing.alerting.alert_message import AlertMessage
from elv_pipeline.publishing.alerting.delivery import DeliveryError, PassingDeliveryError, address, is_local

_PORTS = {"smtp": 587, "smtps": 465}


def send_email(
    message: AlertMessage,
    *,
    url: str,
    variable: str,
    sender: str,
    to: Sequence[str],
    timeout_seconds: float,
    allow_plain: bool = False,
) -> str:
    """Send once.

    Args:
        message: what to say.
        url: ``smtp://user:password@host:port`` or ``smtps://``; a secret; user and password percent-encoded.
        variable: environment variable that holds it, for errors.
        sender: address of the sender.
        to: addresses of the recipients.
        timeout_seconds: of the connection and of each answer.
        allow_plain: without credentials, go on unencrypted to other machines, too.

    Returns:
        What is to be said about a message that was taken: recipients that the server refused; empty for none. The
        others have it, so it is not sent again.

    Raises:
        DeliveryError: it was not accepted; ``PassingDeliveryError`` where another attempt may help.
    """
    parts = address(url, variable=variable, schemes=("smtp", "smtps"))
    try:
        mail = _mail(message, sender=sender, to=to)
        with _connected(parts, timeout_seconds=timeout_seconds) as server:
            _secured(server, parts, allow_plain=allow_plain)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            refused = server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        passing = 400 <= error.smtp_code < 500
        raise (PassingDeliveryError if passing else DeliveryError)(f"SMTP {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise DeliveryError("the mail server refuses the recipients") from None
    except smtplib.SMTPNotSupportedError:
        raise DeliveryError("the mail server does not offer what is needed to log in") from None
    except ssl.SSLCertVerificationError:
        raise DeliveryError("the mail server's certificate is not trusted") from None
    except ValueError:  # an address with a line break, or a host name that is none; neither is repeated
        raise DeliveryError("the sender, a recipient or the server's address is not valid") from None
    except (OSError, smtplib.SMTPException) as error:
        said = "timed out" if isinstance(error, TimeoutError) else type(error).__name__
        raise PassingDeliveryError(said) from None
    return f"the mail server refuses {len(refused)} of {len(to)} recipients" if refused else ""


def _mail(message: AlertMessage, *, sender: str, to: Sequence[str]) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.title, sender, ", ".join(to)
    mail["Message-ID"] = f"<{message.id}@elv-pipeline.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.as_text())
    return mail


def _connected(parts: SplitResult, *, timeout_seconds: float) -> smtplib.SMTP:
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=timeout_seconds, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=timeout_seconds)


def _secured(server: smtplib.SMTP, parts: SplitResult, *, allow_plain: bool) -> None:
    if parts.scheme == "smtps":
        return
    server.ehlo_or_helo_if_needed()
    if server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
    elif parts.username:
        raise DeliveryError("the mail server offers no STARTTLS, and credentials are not sent unencrypted")
    elif not (is_local(parts) or allow_plain):
        raise DeliveryError("the mail server offers no STARTTLS, and mail leaves this machine only encrypted")
