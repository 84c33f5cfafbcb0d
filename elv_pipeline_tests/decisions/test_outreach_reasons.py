"""Reasons of outreach: what was not answered, with how much less often such enrollments come to the outcome."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions.guards import RecentLabels, guards
from elv_pipeline.decisions.reasons import ReasonSpec, explanation, reasons
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.calibration import SigmoidCalibrator
from elv_pipeline.learning.contributions import ExplanationReference
from elv_pipeline.learning.estimators import build_estimator
from elv_pipeline.problems.outreach import OUTREACH
from elv_pipeline.problems.reason_phrases import reason_phrases
from elv_pipeline.problems.words import words_of
from elv_pipeline_tests.learning.learning_data import make_spec

WORDS = words_of("outreach", "booked_call")
SPEC = ReasonSpec(phrases=reason_phrases(OUTREACH), words=WORDS)
NUMERIC = ("sent_count", "replied_count", "template_booked_call_rate_90d", "template_reached_90d")
LONGEST = 256
"""Characters that the score tables hold."""


def moments(rows: int = 3_000) -> pl.DataFrame:
    """A reply is what decides whether a call is booked."""
    generator = np.random.default_rng(3)
    sent, replied = generator.integers(1, 6, rows), generator.binomial(1, 0.4, rows)
    p = np.where(replied > 0, 0.30, 0.06)
    return pl.DataFrame(
        {
            "lead_id": [f"e{row:05d}@1" for row in range(rows)],
            "created_time": pl.Series(np.sort(generator.integers(0, 10**13, rows))).cast(pl.Datetime("us", "UTC")),
            "sent_count": sent,
            "replied_count": replied,
            "template_booked_call_rate_90d": generator.beta(4, 36, rows),
            "template_reached_90d": generator.integers(1, 500, rows),
            "y": (generator.random(rows) < p).astype(np.int8),
        }
    )


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return moments()


@pytest.fixture(scope="module")
def bundle(table: pl.DataFrame) -> ModelBundle:
    spec = make_spec(model_type="logreg", numeric_features=NUMERIC, categorical_features=())
    estimator = build_estimator(spec).fit(table, table["y"].to_numpy())
    schema = FeatureSchema.of(table, spec=spec)
    return ModelBundle(estimator=estimator, calibrator=SigmoidCalibrator(1.0, 0.0), schema=schema, metadata={})


@pytest.fixture(scope="module")
def found(bundle: ModelBundle, table: pl.DataFrame) -> pl.DataFrame:
    return reasons(bundle, table, reference=ExplanationReference.of(bundle, table), spec=SPEC)


def test_silence_is_a_reason_with_the_messages_behind_it_and_its_weight(
    found: pl.DataFrame, table: pl.DataFrame
) -> None:
    silent = table.with_columns(reason=found["reason_1"]).filter(replied_count=0, sent_count=3)
    said = silent["reason"].unique().to_list()
    assert len(said) == 1
    pattern = r"lowers: no reply yet after 3 messages; by the model such enrollments book a call (0\.\d) times as often"
    told = re.fullmatch(pattern, said[0])
    assert told, said
    # Of all moments, 0.4 x 0.30 + 0.6 x 0.06 = 15.6 % lead to a call; of silent ones 6 %.
    assert 0.3 <= float(told.group(1)) <= 0.6


def test_a_reply_raises_and_the_factor_is_above_one(found: pl.DataFrame, table: pl.DataFrame) -> None:
    answered = table.with_columns(reason=found["reason_1"]).filter(replied_count=1)["reason"].drop_nulls()
    factors = [float(text.split(" book a call ")[1].split(" times")[0]) for text in answered]
    assert answered.str.starts_with("raises: ").all()
    assert min(factors) > 1.5


def test_no_reason_names_a_column_or_a_lead_or_is_too_long_for_the_database(found: pl.DataFrame) -> None:
    said = [text for text in found.drop("lead_id").unpivot()["value"].to_list() if text is not None]
    assert said
    assert not [text for text in said if "_" in text or "lead" in text or len(text) > LONGEST]


def test_a_factor_that_rounds_to_one_is_not_said(bundle: ModelBundle, table: pl.DataFrame) -> None:
    calm = ModelBundle(
        estimator=bundle.estimator,
        calibrator=SigmoidCalibrator(0.001, -2.0),
        schema=bundle.schema,
        metadata={},
    )
    flat = reasons(calm, table, reference=ExplanationReference.of(calm, table), spec=SPEC)
    assert not [text for text in flat["reason_1"].drop_nulls().to_list() if "times as often" in text]


def test_an_explanation_is_against_the_average_moment(bundle: ModelBundle, table: pl.DataFrame) -> None:
    told = explanation(bundle, table.head(1), reference=ExplanationReference.of(bundle, table), spec=SPEC)
    assert told["words"][0] == "the average moment"


def test_guards_speak_of_moments() -> None:
    equal = pl.DataFrame({"p": [0.1] * 30})
    recent = RecentLabels(labelled=500, positives=0)
    found = guards(equal, probability_column="p", base_rate=0.1, recent=recent, words=WORDS)
    assert [alert["code"] for alert in found] == ["constant_scores", "outcomes_vanished"]
    text = " ".join(f"{alert['message']} {alert['action']}" for alert in found)
    assert "All 30 moments have the same probability" in text
    assert "its enrollment_id is that of the enrollments export" in text
    assert not re.search(r"\bleads?\b", text)
