"""Reasons: true to the score, in words, short, and silent about what must not be said."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from elv_pipeline.decisions import reasons as reasons_module
from elv_pipeline.decisions.reasons import ReasonSpec, explanation, reasons
from elv_pipeline.learning.bundle import FeatureSchema, ModelBundle
from elv_pipeline.learning.calibration import SigmoidCalibrator
from elv_pipeline.learning.contributions import (
    ContributionSlice,
    ExplanationReference,
    Grouping,
    contribution_slices,
)
from elv_pipeline.learning.estimators import build_estimator
from elv_pipeline.problems.lead_ads import LEAD_ADS
from elv_pipeline.problems.reason_phrases import reason_phrases
from elv_pipeline_tests.learning.learning_data import make_spec

PHRASES = reason_phrases(LEAD_ADS)
GENDER = replace(PHRASES["category_platform"], column="category_gender", group="gender", group_words="gender")
SPEC = ReasonSpec(phrases={**PHRASES, "category_gender": GENDER}, currency="EUR")
NUMERIC = (
    "campaign_clicks_3d",
    "campaign_clicks_28d",
    "campaign_cpc_7d",
    "campaign_clicks_trend_7d",
    "campaign_leads_90d",
    "campaign_qualified_rate_90d",
    "created_hour",
    "created_weekday",
    "audience_token_07",
)
CATEGORICAL = ("category_campaign_id", "category_platform", "category_gender")


def leads(rows: int, *, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    rate = generator.beta(4, 36, rows)
    hour, gender = generator.integers(0, 24, rows), generator.integers(0, 2, rows)
    logit = -2.5 + 14 * (rate - 0.1) + 0.9 * (hour < 6) + 1.2 * gender
    return pl.DataFrame(
        {
            "lead_id": [f"lead_{row:05d}" for row in range(rows)],
            "created_time": pl.Series(np.sort(generator.integers(0, 10**13, rows))).cast(pl.Datetime("us", "UTC")),
            "campaign_clicks_3d": generator.poisson(30, rows),
            "campaign_clicks_28d": generator.poisson(300, rows),
            "campaign_cpc_7d": generator.lognormal(0, 1, rows),
            "campaign_clicks_trend_7d": generator.uniform(-1, 1, rows),
            "campaign_leads_90d": generator.integers(1, 2_000, rows),
            "campaign_qualified_rate_90d": rate,
            "created_hour": hour,
            "created_weekday": generator.integers(1, 8, rows),
            "audience_token_07": generator.integers(0, 2, rows),
            "category_campaign_id": [f"12345678901234{n}" for n in generator.integers(0, 5, rows)],
            "category_platform": np.array(["fb", "ig", "mara.muster@example.org"])[generator.integers(0, 3, rows)],
            "category_gender": np.array(["male", "female"])[gender],
            "y": (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8),
        }
    ).with_columns(campaign_cpc_7d=pl.when(pl.col("campaign_clicks_3d") > 25).then("campaign_cpc_7d"))


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return leads(4_000, seed=1)


@pytest.fixture(scope="module", params=["lgbm", "logreg"])
def bundle(request: pytest.FixtureRequest, table: pl.DataFrame) -> ModelBundle:
    spec = make_spec(model_type=request.param, numeric_features=NUMERIC, categorical_features=CATEGORICAL)
    estimator = build_estimator(spec).fit(table, table["y"].to_numpy())
    schema = FeatureSchema.of(table, spec=spec)
    return ModelBundle(estimator=estimator, calibrator=SigmoidCalibrator(1.0, 0.0), schema=schema, metadata={})


@pytest.fixture(scope="module")
def reference(bundle: ModelBundle, table: pl.DataFrame) -> ExplanationReference:
    return ExplanationReference.of(bundle, table)


@pytest.fixture(scope="module")
def found(bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference) -> pl.DataFrame:
    return reasons(bundle, table, reference=reference, spec=SPEC)


def texts(found: pl.DataFrame) -> list[str]:
    return [text for text in found.drop("lead_id").unpivot()["value"].to_list() if text is not None]


def test_reasons_are_short_and_say_the_direction_without_a_sign_that_runs_as_a_formula(found: pl.DataFrame) -> None:
    said = texts(found)
    assert len(said) > found.height
    assert all(text.startswith(("raises: ", "lowers: ")) and len(text) <= 150 for text in said)


def test_nothing_sensitive_no_id_and_no_address_is_ever_said(found: pl.DataFrame) -> None:
    said = "\n".join(texts(found))
    assert "male" not in said
    assert "gender" not in said
    assert "@" not in said
    assert "12345678901234" not in said


def test_the_denied_attribute_was_the_strongest_and_would_be_said_if_allowed(
    bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference
) -> None:
    open_spec = replace(SPEC, denied=())
    assert "female" in "\n".join(texts(reasons(bundle, table, reference=reference, spec=open_spec)))


def test_reasons_are_the_strongest_groups_in_order_with_their_direction(
    bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference, found: pl.DataFrame
) -> None:
    grouping = SPEC.grouping(bundle.schema.names)
    (part,) = contribution_slices(bundle, table, grouping=grouping, reference=reference)
    moment = grouping.groups.index("created_moment")
    shown = np.delete(part.groups, grouping.groups.index("gender"), axis=1)
    for row in range(0, table.height, 97):
        total, strongest = np.abs(part.groups[row]).sum(), -np.sort(-np.abs(shown[row]))[:3]
        said = [found[f"reason_{place}"][row] for place in (1, 2, 3)]
        assert [text is not None for text in said] == (strongest >= max(0.05 * total, 0.02)).tolist()
        if said[0] is not None and "created" in said[0]:
            assert abs(part.groups[row, moment]) == strongest[0]
            assert said[0].startswith("raises" if part.groups[row, moment] > 0 else "lowers")


def test_a_high_rate_is_called_high_with_its_figures(found: pl.DataFrame, table: pl.DataFrame) -> None:
    best = int(table["campaign_qualified_rate_90d"].arg_max() or 0)
    rate, count = table["campaign_qualified_rate_90d"][best], table["campaign_leads_90d"][best]
    said = [found[f"reason_{place}"][best] or "" for place in (1, 2, 3)]
    (text,) = [text for text in said if "qualified" in text]
    assert text.startswith("raises: the campaign's leads qualified more often than usual (est. ")
    assert f"est. {100 * rate:.0f} %; usually " in text
    assert text.endswith(f"; {count:,.0f} leads in 90 days)")


def test_neither_the_order_nor_the_company_of_a_lead_changes_its_reasons(
    bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference, found: pl.DataFrame
) -> None:
    turned = reasons(bundle, table.reverse(), reference=reference, spec=SPEC)
    assert turned.reverse().equals(found)
    alone = reasons(bundle, table[40:41], reference=reference, spec=SPEC)
    assert alone.equals(found[40:41])


def test_weak_contributions_are_left_null_and_come_last(
    bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference
) -> None:
    strict = reasons(bundle, table, reference=reference, spec=replace(SPEC, min_share=0.4))
    assert strict["reason_3"].null_count() == strict.height
    assert 0 < strict["reason_1"].null_count() < strict.height
    assert not strict.filter(pl.col("reason_1").is_null() & pl.col("reason_2").is_not_null()).height
    none = reasons(bundle, table, reference=reference, spec=replace(SPEC, min_margin=100.0))
    assert not texts(none)
    assert reasons(bundle, table.clear(), reference=reference, spec=SPEC).schema == strict.schema


def test_a_column_without_phrase_gives_no_reason(
    bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference
) -> None:
    few = replace(SPEC, phrases={"created_hour": PHRASES["created_hour"]})
    said = texts(reasons(bundle, table, reference=reference, spec=few))
    assert said
    assert all("o'clock" in text for text in said)


def test_one_leads_explanation_sums_to_its_score(
    bundle: ModelBundle, table: pl.DataFrame, reference: ExplanationReference, found: pl.DataFrame
) -> None:
    lead = table[123:124]
    whole = explanation(bundle, lead, reference=reference, spec=SPEC)
    assert whole["contribution"].sum() == pytest.approx(bundle.estimator.margin(lead)[0], abs=1e-6)
    assert whole["group"][0] == "average"
    assert whole["group"][-1] == "not_shown"
    assert abs(whole["contribution"][-1]) > 0.1  # the gender
    inner = whole["contribution"].to_numpy()[1:-1]
    assert (np.diff(np.abs(inner)) <= 0).all()
    assert whole["reason"][1] == found["reason_1"][123]
    assert "gender" not in " ".join(text or "" for text in (*whole["reason"], *whole["words"], *whole["group"]))


def test_grouping_covers_the_models_features(bundle: ModelBundle) -> None:
    assert isinstance(SPEC.grouping(bundle.schema.names), Grouping)
    assert "other" not in SPEC.grouping(bundle.schema.names).groups


def spoken(features: list[list[float]], values: dict[str, list[float | None]], *, whole: bool = False) -> pl.DataFrame:
    """Reasons of contributions that are given: what a model with interactions may add, whatever the value."""
    names = list(values)
    table = pl.DataFrame({"lead_id": [f"L{at}" for at in range(len(features))], **values})
    matrix, grouping = np.array(features), SPEC.grouping(names)
    part = ContributionSlice(first_row=0, base=-2.0, features=matrix, groups=grouping.summed(matrix))
    usual = ExplanationReference(quartiles=dict.fromkeys(names, (0.05, 0.06, 0.07)), values={}, encoded_means=None)
    bundle = SimpleNamespace(schema=SimpleNamespace(names=names))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reasons_module, "contribution_slices", lambda *_, **__: iter([part]))
        function = explanation if whole else reasons
        return function(bundle, table, reference=usual, spec=SPEC)  # type: ignore[arg-type]


RATE, CTR, OTHER = "campaign_qualified_rate_90d", "campaign_ctr_7d", "campaign_clicks_7d"


def test_a_reason_that_contradicts_its_measure_gives_way_to_the_next() -> None:
    """A rate above usual that lowers, and a click-through rate below usual that raises, are not said."""
    found = spoken(
        [[-0.9, 0.8, 0.3], [0.9, -0.8, 0.3], [-0.9, -0.8, 0.3], [-0.9, 0.8, 0.3]],
        {RATE: [0.10, 0.10, 0.01, None], CTR: [0.01, 0.01, 0.06, None], OTHER: [0.06] * 4},
    )
    said = found.drop("lead_id").rows()
    assert [text and text.split(" (")[0] for text in said[0]] == [
        "raises: usual clicks of the campaign over 7 days",
        None,
        None,
    ]
    assert [text.split(" (")[0] for text in said[1]] == [
        "raises: the campaign's leads qualified more often than usual",
        "lowers: low click-through rate of the campaign over 7 days",
        "raises: usual clicks of the campaign over 7 days",
    ]
    assert said[2][0].startswith("lowers: the campaign's leads qualified less often")
    assert said[2][1].startswith("lowers: usual click-through rate")  # neither high nor low contradicts nothing
    assert said[3][0].startswith("lowers: it is not known yet")


def test_another_window_speaks_where_the_strongest_contradicts_itself() -> None:
    columns = {"campaign_ctr_3d": [0.10], "campaign_ctr_28d": [0.01], "campaign_ctr_7d": [0.06]}
    assert (
        spoken([[-0.9, -0.2, -0.1]], columns)["reason_1"]
        .to_list()[0]
        .startswith("lowers: low click-through rate of the campaign over 28 days")
    )
    # A window that moves the lead the other way cannot speak for the group.
    assert spoken([[-0.9, 0.2, 0.1]], columns)["reason_1"].to_list() == [None]


def test_a_contradiction_stays_in_the_sum_of_a_lead_without_a_sentence() -> None:
    whole = spoken([[-0.9, 0.8, 0.3]], {RATE: [0.10], CTR: [0.10], OTHER: [0.06]}, whole=True)
    assert whole["contribution"].sum() == pytest.approx(-2.0 - 0.9 + 0.8 + 0.3)
    by_group = dict(whole.select("group", "reason").rows())
    assert by_group["campaign_qualified_rate"] is None
    assert by_group["campaign_ctr"].startswith("raises: high click-through rate")


def test_no_reason_of_a_trained_model_contradicts_its_measure(
    found: pl.DataFrame,
) -> None:
    said = texts(found)
    assert any("more often than usual" in text for text in said)
    assert not [text for text in said if text.startswith("lowers") and "more often than usual" in text]
    assert not [text for text in said if text.startswith("raises") and "less often than usual" in text]
