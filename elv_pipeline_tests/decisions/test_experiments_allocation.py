"""Allocation is published, stable, and another one for every salt."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2_contingency

from elv_pipeline.decisions.experiments.allocation import Allocation, arm_of, assigned, balance

UNITS = pl.Series("unit_id", [f"e{number}" for number in range(20_000)])


def test_the_rule_is_the_published_one() -> None:
    allocation = Allocation(salt="opener", treatment_share=0.3)
    for unit in ("e1", "e2", "Müller & Söhne"):
        digest = sha256(f"6:opener:{unit}".encode()).hexdigest()
        position = int(digest[:16], 16) // 2**11 / 2**53
        assert arm_of(unit, allocation=allocation) == ("treatment" if position < 0.3 else "control")


def test_an_allocation_never_changes() -> None:
    allocation = Allocation(salt="opener")
    assert [arm_of(f"e{number}", allocation=allocation) for number in range(8)] == [
        "control",
        "treatment",
        "control",
        "control",
        "control",
        "treatment",
        "treatment",
        "control",
    ]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_share_is_met(share: float) -> None:
    arms = assigned(UNITS, allocation=Allocation(salt="opener", treatment_share=share))
    assert abs((arms == "treatment").mean() - share) < 4 * np.sqrt(share * (1 - share) / len(UNITS))


def test_two_salts_know_nothing_of_each_other() -> None:
    first, second = (assigned(UNITS, allocation=Allocation(salt=salt)) for salt in ("opener", "opener-2"))
    table = pl.DataFrame({"first": first, "second": second}).group_by("first", "second").len().sort("first", "second")
    assert chi2_contingency(table["len"].to_numpy().reshape(2, 2)).pvalue > 0.001


def test_a_cluster_is_allocated_whole() -> None:
    clusters = pl.Series([f"org-{number % 50}" for number in range(1_000)])
    arms = assigned(clusters, allocation=Allocation(salt="opener"))
    per_cluster = pl.DataFrame({"cluster": clusters, "arm": arms}).group_by("cluster").agg(pl.col("arm").n_unique())
    assert per_cluster["arm"].to_list() == [1] * 50
    assert arms.n_unique() == 2


def test_order_does_not_matter() -> None:
    allocation = Allocation(salt="opener")
    assert (
        assigned(UNITS, allocation=allocation)
        .reverse()
        .equals(assigned(UNITS.reverse(), allocation=allocation), check_names=False)
    )


@pytest.mark.parametrize(
    ("salt", "share", "match"), [(" ", 0.5, "salt"), ("a", 0.0, "treatment_share"), ("a", 1.0, "treatment_share")]
)
def test_what_cannot_be_allocated_is_refused(salt: str, share: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Allocation(salt=salt, treatment_share=share)


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        arm_of("", allocation=Allocation(salt="a"))


def test_strata_that_got_their_share_are_balanced() -> None:
    strata = [f"s{number % 10}" for number in range(len(UNITS))]
    arms = assigned(UNITS, allocation=Allocation(salt="opener")).to_list()
    assert balance(strata, arms, treatment_share=0.5).p_value > 0.001


def test_a_stratum_that_was_treated_alone_is_found() -> None:
    strata = ["mail"] * 300 + ["phone"] * 30
    arms = ["treatment", "control"] * 150 + ["treatment"] * 30
    found = balance(strata, arms, treatment_share=0.5)
    assert (found.worst, found.treated, found.units) == ("phone", 1.0, 30)
    assert found.p_value < 1e-6


def test_without_units_there_is_no_balance() -> None:
    with pytest.raises(ValueError, match="at least one"):
        balance([], [], treatment_share=0.5)
