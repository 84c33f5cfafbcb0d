"""A rollout takes the share it is told, the same organisations every time, and never drops one again."""

from __future__ import annotations

import pytest

from elv_pipeline.decisions.rollout import in_rollout, rollout_position

ORGANISATIONS = [f"org-{number}" for number in range(20_000)]
POSITION = 0.4799059590476483


def inside(share: float, *, salt: str) -> set[str]:
    return {org for org in ORGANISATIONS if in_rollout(org, share, salt=salt)}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_is_met(share: float) -> None:
    spread = (share * (1 - share) * len(ORGANISATIONS)) ** 0.5
    assert abs(len(inside(share, salt="elv")) - share * len(ORGANISATIONS)) < 4 * spread


def test_positions_are_spread_evenly() -> None:
    tenths = [0] * 10
    for org in ORGANISATIONS:
        tenths[int(rollout_position(org, salt="elv") * 10)] += 1
    chi_square = sum((count - 2_000) ** 2 / 2_000 for count in tenths)
    assert chi_square < 27.9  # 99.9 % of a chi-square with 9 degrees of freedom


def test_who_is_inside_stays_inside() -> None:
    before: set[str] = set()
    for share in (0, 0.05, 0.1, 0.1, 0.5, 1):
        now = inside(share, salt="elv")
        assert before <= now
        before = now
    assert before == set(ORGANISATIONS)


def test_nobody_at_zero_and_everybody_at_one() -> None:
    assert inside(0, salt="elv") == set()
    assert inside(1, salt="elv") == set(ORGANISATIONS)


def test_the_order_is_fixed_for_ever() -> None:
    assert rollout_position("org-1", salt="elv") == pytest.approx(POSITION, abs=0)


def test_another_salt_is_another_order() -> None:
    first, other = (inside(0.1, salt=salt) for salt in ("elv", "reasons"))
    assert len(first & other) < 0.2 * len(first)
    assert rollout_position("c", salt="a:b") != rollout_position("b:c", salt="a")


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        in_rollout("org-1", share, salt="elv")
