"""Who is alike at enrollment: contacts in groups of a like chance of the outcome, whatever is done with them.

Belongs here: strata within which changes of a sequence are compared. Does not belong here: the changes.

The groups are fifths of a prognostic score (Hansen, The prognostic analogue of the propensity score, Biometrika 2008):
the chance of the outcome from what was known of a contact at its first enrollment, predicted out of fold, so that a
contact's own outcome does not decide its group.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from elv_pipeline.decisions.recommend.element_rows import ATTRIBUTES, outcomes_of
from elv_pipeline.decisions.recommend.known_outreach import KnownOutreach
from elv_pipeline.decisions.recommend.nuisances import contact_folds, covariates_of, cross_fitted
from elv_pipeline.problems.event_specs import AnchoredTarget

GROUPS = 5
FOLDS = 5
LEAST_OUTCOMES = 20
"""With fewer there is nothing to predict from; all contacts are then one group."""


def prognostic_strata(
    rows: pl.DataFrame, known: KnownOutreach, *, outcome: str, horizon_days: int
) -> pl.DataFrame | None:
    """``contact_id`` and ``stratum``, once a contact; None where too few outcomes are known to tell contacts apart.

    Args:
        rows: of ``element_rows``; those of enrollments count.
        known: what was known.
        outcome: the outcome that is predicted.
        horizon_days: days after the enrollment within which it counts.
    """
    own = rows.filter(pl.col("position") == 0)
    target = AnchoredTarget(name="prognosis", outcome=outcome, window_days=horizon_days)
    labelled = own.join(outcomes_of(own, known, target=target), on="moment_id", how="left", validate="1:1").sort(
        "moment_id"
    )
    told = labelled.filter(pl.col("prognosis").is_not_null())
    y = told["prognosis"].to_numpy()
    if min(int(y.sum()), len(y) - int(y.sum())) < LEAST_OUTCOMES:
        return None
    first = labelled.sort("sent_time", "moment_id").unique("contact_id", keep="first", maintain_order=True)
    scored = first.sort("contact_id").with_columns(_score(told, first.sort("contact_id")))
    group = (pl.col("score").rank("ordinal") - 1) * GROUPS // pl.len()
    return scored.select("contact_id", (group + 1).cast(pl.String).alias("stratum"))


def _score(told: pl.DataFrame, asked: pl.DataFrame) -> pl.Series:
    """Chance of the outcome of each contact asked for, from the other contacts that are told of."""
    both = pl.concat([told, asked])
    covariates = covariates_of(both, numeric=(), categorical=ATTRIBUTES)
    count = told.height
    y = np.concatenate([told["prognosis"].to_numpy(), np.zeros(asked.height, dtype=np.int8)]).astype(np.int8)
    known = np.arange(len(y)) < count
    folds = contact_folds(both["contact_id"].to_list(), strata=np.zeros(len(y), dtype=np.int64), folds=FOLDS, seed=0)
    with threadpool_limits(limits=1, user_api="blas"):
        (chance,) = cross_fitted(y, covariates, folds=folds, seed=0, at=(covariates,), learned_from=known)
    # Equal contacts get equal scores on every machine; the rank then goes by their ids.
    return pl.Series("score", np.round(chance[count:], 9))
