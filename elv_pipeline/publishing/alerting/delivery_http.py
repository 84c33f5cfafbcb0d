"""Posting a message as JSON.

Belongs here: one HTTP request and what its answer means. Does not belong here: the payload (``alert_message.py``) or
when it is tried again (``delivery.py``).

The standard library is enough for one POST. Addresses must be ``https`` except on this machine, and redirections are
not followed: the secret is in the address, and a receiver that moved must not send it on to somebody else.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from http.client import HTTPException, InvalidURL
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from elv_pipeline.publishing.alerting.delivery import DeliveryError, PassingDeliveryError, address, is_local

_PASSING = frozenset({408, 425, 429})


class _StayThere(HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **keywords: Any) -> None:
        return None


def post_json(payload: Mapping[str, Any], *, url: str, variable: str, message_id: str, timeout_seconds: float) -> None:
    """Post once.

    Args:
        payload: the JSON body.
        url: of the receiver, a secret.
        variable: environment variable that holds it, for errors.
        message_id: sent as ``Idempotency-Key``, for a message may arrive twice.
        timeout_seconds: of the connection and of each wait for an answer.

    Raises:
        DeliveryError: it was not accepted; ``PassingDeliveryError`` where another attempt may help.
    """
    parts = address(url, variable=variable, schemes=("https", "http"))
    if parts.scheme == "http" and not is_local(parts):
        raise DeliveryError(f"{variable} is not encrypted; use https:// (http:// only reaches this machine)")
    request = Request(
        url.strip(),
        data=json.dumps(payload, allow_nan=False).encode(),
        method="POST",
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "elv-pipeline",
            "Idempotency-Key": message_id,
        },
    )
    # A proxy for the world outside cannot reach this machine.
    handlers = [ProxyHandler({})] if is_local(parts) else []
    opener = build_opener(_StayThere(), HTTPSHandler(context=ssl.create_default_context()), *handlers)
    try:
        with opener.open(request, timeout=timeout_seconds):
            return
    except HTTPError as error:
        with error:
            raise _refused(error) from None
    except URLError as error:
        raise _unreachable(error.reason) from None
    except (InvalidURL, ValueError):
        raise DeliveryError(f"{variable} does not hold a usable address") from None
    except (OSError, HTTPException) as error:
        raise _unreachable(error) from None


def _refused(error: HTTPError) -> DeliveryError:
    if 300 <= error.code < 400:
        return DeliveryError(f"HTTP {error.code}: the receiver redirects; put its final address into the variable")
    if error.code >= 500 or error.code in _PASSING:
        asked = error.headers.get("Retry-After", "")
        return PassingDeliveryError(f"HTTP {error.code}", after_seconds=float(asked) if asked.isdigit() else None)
    return DeliveryError(f"HTTP {error.code}")


def _unreachable(reason: object) -> DeliveryError:
    """Errors of sockets may quote the host and TLS errors the certificate; only their kind is kept."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DeliveryError("the receiver's certificate is not trusted")
    return PassingDeliveryError("timed out" if isinstance(reason, TimeoutError) else type(reason).__name__)
