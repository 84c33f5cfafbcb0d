"""How a delivery ends, and what may be tried again.

Belongs here: the errors of a delivery, addresses that are acceptable, waiting between attempts. Does not belong here:
any protocol (``delivery_http.py``, ``delivery_email.py``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

T = TypeVar("T")
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class DeliveryError(Exception):
    """A message was not delivered; the reason holds no address and no credential."""


class PassingDeliveryError(DeliveryError):
    """A cause that may be gone at the next attempt."""

    def __init__(self, reason: str, *, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How often and how patiently a delivery is tried.

    Attributes:
        most: attempts of one message in one run.
        timeout_seconds: of each connection and answer.
        wait_seconds: before the second attempt; doubled before each further one, more or less by half at random, so
            that many configurations do not knock together.
        most_wait_seconds: longest wait, also of what a receiver asks for.
        sleep: waits.
        random: source of the jitter.
    """

    most: int = 3
    timeout_seconds: float = 10.0
    wait_seconds: float = 0.5
    most_wait_seconds: float = 15.0
    sleep: Callable[[float], None] = time.sleep
    random: random.Random = field(default_factory=random.Random)

    def run(self, send: Callable[[], T]) -> T:
        """Call until it succeeds, fails for good, or the attempts are used up.

        Raises:
            DeliveryError: of the last attempt.
        """
        for attempt in range(1, self.most):
            try:
                return send()
            except PassingDeliveryError as error:
                wait = self.wait_seconds * 2 ** (attempt - 1) * self.random.uniform(0.5, 1.5)
                self.sleep(min(max(wait, error.after_seconds or 0.0), self.most_wait_seconds))
        return send()


def address(url: str, *, variable: str, schemes: tuple[str, ...]) -> SplitResult:
    """Take an address apart.

    Raises:
        DeliveryError: it has another scheme or no host; the text names the variable, never the address.
    """
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise DeliveryError(f"{variable} does not hold an address that starts with {'://, '.join(schemes)}://")
    return parts


def is_local(parts: SplitResult) -> bool:
    """Whether an address is this machine."""
    return parts.hostname in LOCAL
