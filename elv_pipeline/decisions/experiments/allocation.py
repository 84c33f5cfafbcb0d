"""Which arm a unit belongs to: by a hash that anybody can compute again, the same for ever.

Belongs here: the hash and the shares of the arms. Does not belong here: whether what came back fits them
(``sample_ratio.py``), or who is in a rollout (``decisions/rollout.py``).

The published rule: SHA-256 over ``<length of salt>:<salt>:<unit>`` in UTF-8; the first 53 bits, read as a binary
fraction, are the unit's position; a position below the treatment's share means treatment. In T-SQL, PostgreSQL and
spreadsheets with SHA-256 it is one expression. Another salt is another, independent order, so that one experiment's
treatment is not the next one's treatment, too. Clusters are assigned whole, by the hash of the cluster's id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from scipy.stats import chi2

from elv_pipeline.decisions.rollout import rollout_position

Arm = Literal["control", "treatment"]
CONTROL: Arm = "control"
TREATMENT: Arm = "treatment"
ARMS: tuple[Arm, Arm] = (CONTROL, TREATMENT)


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """How units are shared out.

    Attributes:
        salt: name of the experiment's order; never used twice.
        treatment_share: share of the units, or of the clusters, that get the treatment.
        method: ``hash`` as above, so that a result can be checked against it; ``elsewhere`` where another tool draws.
    """

    salt: str
    treatment_share: float = 0.5
    method: Literal["hash", "elsewhere"] = "hash"

    def __post_init__(self) -> None:
        """Refuse what could not be allocated."""
        if not self.salt.strip():
            raise ValueError("salt is empty; give every experiment one of its own, such as its name and month")
        if not 0 < self.treatment_share < 1:
            raise ValueError(f"treatment_share is {self.treatment_share}; it must lie between 0 and 1")


def arm_of(unit: str, *, allocation: Allocation) -> Arm:
    """The arm of a unit, or of a cluster where these are allocated.

    Raises:
        ValueError: the id is empty: all units without one would share an arm.
    """
    if not unit:
        raise ValueError("the id to allocate is empty; every unit or cluster needs one")
    position = rollout_position(unit, salt=allocation.salt)
    return TREATMENT if position < allocation.treatment_share else CONTROL


def assigned(ids: pl.Series, *, allocation: Allocation) -> pl.Series:
    """The arm of each id, as text; clusters come out whole because equal ids get equal arms."""
    distinct = ids.unique()
    arms = [arm_of(unit, allocation=allocation) for unit in distinct.to_list()]
    return ids.replace_strict(distinct, pl.Series(arms, dtype=pl.String), return_dtype=pl.String).alias("arm")


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Whether each stratum got its share of the treatment.

    Attributes:
        p_value: of equal shares in all strata together (chi-square, one degree of freedom a stratum).
        worst: the stratum that is furthest off.
        treated: share of the treatment in it.
        units: units in it.
    """

    p_value: float
    worst: str
    treated: float
    units: int


def balance(strata: Sequence[str], arms: Sequence[str], *, treatment_share: float) -> Balance:
    """Check an allocation by strata, such as channel or organisation, before anything is sent.

    A hash does not balance small strata by construction; this says how far off they are, and whether by more than
    chance.

    Args:
        strata: stratum of each allocated unit.
        arms: its arm.
        treatment_share: the share of the treatment that was planned.

    Raises:
        ValueError: there are no units, or the two sequences differ in length.
    """
    if not strata or len(strata) != len(arms):
        raise ValueError(f"{len(strata)} strata and {len(arms)} arms; there must be as many, and at least one")
    counts: dict[str, list[int]] = {}
    for stratum, arm in zip(strata, arms, strict=True):
        entry = counts.setdefault(stratum, [0, 0])
        entry[0] += arm == TREATMENT
        entry[1] += 1
    return _balance(counts, treatment_share=treatment_share)


def _balance(counts: Mapping[str, Sequence[int]], *, treatment_share: float) -> Balance:
    names = sorted(counts)
    treated, units = (np.array([counts[name][column] for name in names], dtype=float) for column in (0, 1))
    deviations = (treated - units * treatment_share) ** 2 / (units * treatment_share * (1 - treatment_share))
    worst = int(np.argmax(deviations))
    return Balance(
        p_value=float(chi2.sf(deviations.sum(), len(names))),
        worst=names[worst],
        treated=float(treated[worst] / units[worst]),
        units=int(units[worst]),
    )
