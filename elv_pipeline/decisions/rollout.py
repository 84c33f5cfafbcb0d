"""Staged rollout: whose scores are written while only a share of the organisations takes part.

Belongs here: which organisations are inside. Does not belong here: writing scores, or scoring (everybody is scored).
"""

from __future__ import annotations

from hashlib import sha256

_BITS = 53
"""Of the hash, as many as a float holds exactly."""


def rollout_position(org_id: str, *, salt: str) -> float:
    """Where an organisation stands in the order of the rollout: evenly spread over 0 (first) to 1, for ever the same.

    Args:
        org_id: the organisation.
        salt: name of what is rolled out, so that not the same organisations come first every time.
    """
    digest = sha256(f"{len(salt)}:{salt}:{org_id}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS)


def in_rollout(org_id: str, share: float, *, salt: str) -> bool:
    """Whether an organisation takes part. Who is inside at a share stays inside at every larger one.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it must lie between 0 and 1")
    return rollout_position(org_id, salt=salt) < share
