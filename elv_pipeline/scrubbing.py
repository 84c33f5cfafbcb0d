"""Secrets in texts: blackening them before anything is shown, and refusing them where they would be stored.

Belongs here: what a secret looks like. Does not belong here: where texts are shown (the command, messages of each
layer), or reading secrets (each from its environment variable, where it is used).

This is the second line of defence. The first is that secrets are read where they are used, and never become part of a
configuration, an error, a log line or a run's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from elv_pipeline.errors import ConfigError

HIDDEN = "***"
_SHORTEST = 6
"""A shorter value stands by chance in any text, and protects nothing."""
# A user and a password before the host; a password may hold anything but an @, unless that is the last one.
_IN_ADDRESS = re.compile(
    r"(?P<start>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s:/@'\"]*):(?P<password>[^\s'\"]+)@", re.IGNORECASE
)
_NAMED = re.compile(
    r"(?P<name>\b(?:pwd|password|passwd|passphrase|secret|api_?key|access_?key|account_?key|client_?secret|token|"
    r"access_?token|sas_?token|sig|signature|x-amz-signature|x-amz-security-token|authorization)\b['\"]?\s*[=:]\s*)"
    r"(?P<value>\*{3}|'[^']*'|\"[^\"]*\"|\{[^}]*\}|(?:bearer|basic)\s+\S+|[^\s;&,)'\"]+)",
    re.IGNORECASE,
)
_WEBHOOK = re.compile(
    r"(?P<start>https?://[^\s/'\"]+/(?:services|api/webhooks|webhook|hooks)/)[^\s'\"]+", re.IGNORECASE
)


def scrubbed(text: str, *, values: Collection[str] = ()) -> str:
    """A text as it may be shown: passwords in addresses, named secrets and webhook paths are blackened.

    Args:
        text: whatever is to be shown.
        values: secrets that are known, such as those of the configured variables, whatever they look like.
    """
    for value in sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _IN_ADDRESS.sub(rf"\g<start>\g<user>:{HIDDEN}@", text)
    text = _WEBHOOK.sub(rf"\g<start>{HIDDEN}", text)
    return _NAMED.sub(rf"\g<name>{HIDDEN}", text)


def holds_secret(text: str) -> bool:
    """Whether a text looks as if it held one."""
    return scrubbed(text) != text


def refuse_secret(text: str, *, place: str, remedy: str) -> None:
    """Refuse a value that would be written down with its secret; the message does not repeat it.

    Args:
        text: the value.
        place: file and key, for the message.
        remedy: where the secret belongs.

    Raises:
        ConfigError: it holds a secret.
    """
    if holds_secret(text):
        raise ConfigError(
            f"{place}: the value holds a password, token or webhook address (not shown); a configuration is copied "
            f"into every run bundle and must not hold one. {remedy}"
        )
