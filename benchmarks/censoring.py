"""How much of what an open outcome window hides the soft labels bring back, on synthetic advertisers.

For each seed a model is trained as of an origin by the same estimator on three sets of labels: the mature leads alone
(``drop``), every lead with soft labels (``soft``), and every lead with the outcome that is only known later
(``oracle``). All three are judged on the four weeks after the origin, in two worlds: one in which a campaign opens ten
days before the origin, and one in which nothing changes. Prints a line a seed and one JSON line a figure.

Belongs here: the comparison. Does not belong here: the method (``elv_pipeline/learning/soft_labels.py``).

    python -m benchmarks.censoring 1 2 3 4 5 6
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss

from elv_pipeline.learning.boosting import load_lightgbm
from elv_pipeline.learning.columns import code_matrix, levels_of, numeric_matrix
from elv_pipeline.learning.soft_labels import FitWeighted, SoftLabelled, known_at_origin, soft_labels
from elv_pipeline.learning.spec import LearningSpec
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.spec import DataAtHand
from elv_pipeline.synthetic.advertiser import Advertiser, AdvertiserSpec, generate
from elv_pipeline.synthetic.spec import LateCampaign
from elv_pipeline.tables.features import FeatureInputs, feature_table
from elv_pipeline.tables.joins import ID_COLUMNS, fill_parents
from elv_pipeline.tables.labels import Observation
from elv_pipeline.tables.outcome_history import OutcomeLog

FloatArray = npt.NDArray[np.float64]
TEST_DAYS = 28
CAMPAIGN_AGE_DAYS = 10
BASE = AdvertiserSpec(leads=24_000, days=180, base_rate=0.08, personal_columns=False)
NEW_CAMPAIGN = LateCampaign(opens_on_day=BASE.days - TEST_DAYS - CAMPAIGN_AGE_DAYS)
WORLDS = {"new_campaign": NEW_CAMPAIGN, "nothing_changes": None}
DEFAULT_SEEDS = range(1, 9)
LABELS = ("drop", "soft", "oracle")
METRICS = ("pr_auc", "log_loss")
DATA = DataAtHand(has_ads=True, has_outcomes=True, id_columns=ID_COLUMNS, enrichments=frozenset())
TREES = 80
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.06,
    "num_leaves": 7,
    "min_child_samples": 60,
    "min_data_per_group": 60,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": 7,
    "verbosity": -1,
}


@dataclass(frozen=True, kw_only=True)
class World:
    """One advertiser as a training run meets it, and what it cannot know."""

    table: pl.DataFrame
    truth: pl.DataFrame
    spec: LearningSpec
    observation: Observation

    @property
    def origin(self) -> datetime:
        """The moment of training."""
        assert self.observation.origin is not None
        return self.observation.origin


def world(spec: AdvertiserSpec) -> World:
    """Generate an advertiser; features and labels are the product's own."""
    advertiser = generate(spec)
    end = datetime.combine(spec.start_date, datetime.min.time(), tzinfo=UTC) + timedelta(days=spec.days)
    window = spec.outcome_window_days
    leads, labels = _leads(advertiser), _label_times(advertiser, observed_until=end)
    history = leads.join(labels, on="lead_id", how="left", validate="1:1")
    inputs = FeatureInputs(
        leads=leads.lazy(),
        ads=_ads(advertiser).lazy(),
        history=history.lazy(),
        base=end - timedelta(days=spec.days + 2),
    )
    log = OutcomeLog(window_days=window, observed_from=None, observed_until=end)
    features = feature_table(inputs, problem=LEAD_ADS, data=DATA, lag_days=1, log=log, timezone="UTC").collect()
    columns = LEAD_ADS.feature_columns(DATA, lag_days=1)
    return World(
        table=features.join(labels, on="lead_id", how="left", validate="1:1"),
        truth=advertiser.truth,
        spec=LearningSpec(
            target="qualified_within_14d",
            outcome_window_days=window,
            feature_lag_days=1,
            numeric_features=tuple(column.name for column in columns if column.kind == "numeric"),
            categorical_features=tuple(column.name for column in columns if column.kind == "categorical"),
            model_type="lgbm",
            timezone="UTC",
        ),
        observation=Observation(
            window_days=window, observed_from=None, observed_until=end, origin=end - timedelta(days=TEST_DAYS)
        ),
    )


@dataclass
class Trees:
    """Boosted trees of a fixed size, so that models differ by their labels and by nothing that follows from them."""

    spec: LearningSpec
    levels: dict[str, list[str]] = field(default_factory=dict)
    booster: Any = None

    def fit(self, table: pl.DataFrame, y: npt.NDArray[np.int8], weight: FloatArray) -> Trees:
        """Fit rows with labels and weights."""
        lightgbm = load_lightgbm()
        self.levels = levels_of(table, names=self.spec.categorical_features)
        encoded = self._encode(table)
        numbers = len(self.spec.numeric_features)
        data = lightgbm.Dataset(
            encoded, y, weight=weight, categorical_feature=list(range(numbers, encoded.shape[1])), params=PARAMETERS
        )
        self.booster = lightgbm.train(PARAMETERS, data, num_boost_round=TREES)
        return self

    def margin(self, table: pl.DataFrame) -> FloatArray:
        """Return one logit per row."""
        return np.asarray(self.booster.predict(self._encode(table), raw_score=True, num_threads=1), dtype=np.float64)

    def _encode(self, table: pl.DataFrame) -> FloatArray:
        numbers = numeric_matrix(table, names=self.spec.numeric_features)
        return np.hstack([numbers, code_matrix(table, levels=self.levels)])


def fit_trees(spec: LearningSpec) -> FitWeighted:
    """Return a function that fits trees with weights."""
    return lambda table, y, weight: Trees(spec).fit(table, y, weight)


def judged(found: World, *, fit: FitWeighted) -> tuple[dict[str, dict[str, float]], SoftLabelled]:
    """Train on the three sets of labels and judge each on the weeks after the origin."""
    leads = known_at_origin(found.table, observation=found.observation)
    soft = soft_labels(leads, window_days=found.observation.window_days, fit=fit)
    mature = leads.filter("mature")
    dropped = mature["outcome_delay_days"].is_not_null().cast(pl.Int8).to_numpy()
    models = {
        "drop": fit(mature, dropped, np.ones(mature.height)),
        "soft": fit(soft.table, soft.y, soft.weight),
        "oracle": fit(soft.table, soft.y, _true_weight(soft, found.truth)),
    }
    test = found.table.filter(pl.col("created_time") >= found.origin)
    true_p = test.join(found.truth, on="lead_id", how="left", validate="1:1", maintain_order="left")[
        "true_p"
    ].to_numpy()
    return {name: expected_metrics(true_p, expit(model.margin(test))) for name, model in models.items()}, soft


def gap_closed(runs: list[dict[str, dict[str, float]]], metric: str) -> tuple[float, float]:
    """Share of the gap between ``drop`` and ``oracle`` that ``soft`` closes, of the means; and its standard error.

    The error is the jackknife's over seeds: the ratio of single seeds has no sensible mean, as a gap may be near zero.
    """
    values = np.array([[run[name][metric] for name in LABELS] for run in runs])
    share = _share(values.mean(axis=0))
    left_out = np.array([_share(np.delete(values, seed, axis=0).mean(axis=0)) for seed in range(len(values))])
    error = np.sqrt((len(values) - 1) * np.mean((left_out - left_out.mean()) ** 2))
    return share, float(error)


def gain(runs: list[dict[str, dict[str, float]]], metric: str) -> tuple[float, float]:
    """Mean of ``soft`` minus ``drop``, relative to ``drop``, and its standard error over seeds; above 0 is better."""
    sign = -1 if metric == "log_loss" else 1
    differences = np.array([sign * (run["soft"][metric] / run["drop"][metric] - 1) for run in runs])
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(len(differences)))


def run(seed: int, *, name: str) -> dict[str, dict[str, float]]:
    """One seed of one world."""
    found = world(replace(BASE, seed=seed, late_campaign=WORLDS[name]))
    return judged(found, fit=fit_trees(found.spec))[0]


def _share(means: FloatArray) -> float:
    return float((means[1] - means[0]) / (means[2] - means[0]))


def _true_weight(soft: SoftLabelled, truth: pl.DataFrame) -> FloatArray:
    """Weights of the same rows if every outcome were known: all of an open lead's on its true label.

    The same rows, because trees count rows, not weights, against their least sizes, and draw rows by position: with
    one row a lead the oracle would be another model for reasons that have nothing to do with its labels.
    """
    outcome = soft.leads.join(truth, on="lead_id", how="left", validate="1:1", maintain_order="left")
    is_true = outcome["true_qualified_within_window"].to_numpy()[soft.rows] == (soft.y == 1)
    return is_true.astype(np.float64)


def expected_metrics(true_p: FloatArray, p: FloatArray) -> dict[str, float]:
    """Judge predictions by the true probabilities: what the metrics come to when the test outcomes' luck averages out.

    Every row counts as a positive with its true probability and as a negative with the rest.
    """
    outcome = np.concatenate([np.ones(len(p)), np.zeros(len(p))])
    weight = np.concatenate([true_p, 1 - true_p])
    return {
        "pr_auc": float(average_precision_score(outcome, np.tile(p, 2), sample_weight=weight)),
        "log_loss": float(log_loss(outcome, np.tile(p, 2), sample_weight=weight)),
    }


def _leads(advertiser: Advertiser) -> pl.DataFrame:
    filled = fill_parents(advertiser.leads, advertiser.ads.select(ID_COLUMNS).unique())
    return filled.select(
        "lead_id",
        "created_time",
        pl.col("created_time").dt.date().alias("day"),
        *ID_COLUMNS,
        join_method=pl.lit("ids"),
    )


def _label_times(advertiser: Advertiser, *, observed_until: datetime) -> pl.DataFrame:
    moment = pl.Datetime("us", "UTC")
    return (
        advertiser.leads.select("lead_id")
        .join(
            advertiser.outcomes.select(
                "lead_id", outcome_time="qualified_time", outcome_recorded_time="qualified_time"
            ),
            on="lead_id",
            how="left",
            validate="1:1",
        )
        .with_columns(
            outcome_withdrawn_time=pl.lit(None, moment),
            outcome_observed=pl.lit(True),
            labels_observed_until=pl.lit(observed_until).cast(moment),
        )
    )


def _ads(advertiser: Advertiser) -> pl.DataFrame:
    return advertiser.ads.select(
        pl.col("date").alias("day"),
        *ID_COLUMNS,
        "impressions",
        "clicks",
        spend_micros=(pl.col("spend") * 1e6).round().cast(pl.Int64),
    )


def main() -> int:
    """Measure every seed given on the command line."""
    seeds = [int(argument) for argument in sys.argv[1:]] or list(DEFAULT_SEEDS)
    for name in WORLDS:
        runs = []
        for seed in seeds:
            runs.append(run(seed, name=name))
            print(f"{name}, seed {seed}: {_line(runs[-1])}", flush=True)
        for metric in METRICS:
            share, share_error = gap_closed(runs, metric)
            better, better_error = gain(runs, metric)
            print(
                f"{name}, {metric}: {share:.0%} of the gap closed (standard error {share_error:.0%}); "
                f"{better:+.1%} against dropping young leads (standard error {better_error:.1%})"
            )
            print(json.dumps({"figure": f"censoring_{name}_{metric}_gap_closed", "value": share, "unit": "share"}))
    return 0


def _line(run: dict[str, dict[str, float]]) -> str:
    return "; ".join(
        f"{metric} " + ", ".join(f"{name} {run[name][metric]:.4f}" for name in LABELS) for metric in METRICS
    )


if __name__ == "__main__":
    sys.exit(main())
