from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from elv_pipeline.contracts import lead_ads, outputs
from elv_pipeline.contracts.messages import shown
from elv_pipeline.contracts.spec import UTC_TIME, Column, RowCheck, TableContract, at_least, between, one_of
from elv_pipeline.errors import ContractError

CONTRACT = TableContract(
    name="toy",
    description="A toy.",
    key=("id",),
    columns=(
        Column("id", pl.String, "Its id."),
        Column("amount", pl.Float64, "An amount.", unit="EUR", nullable=True, checks=(at_least(0),)),
        Column("part", pl.Int64, "A part.", checks=(between(0, 5),)),
        Column("kind", pl.String, "A kind.", checks=(one_of("a", "b"),)),
    ),
    row_checks=(RowCheck("part", "must not exceed amount", lambda: pl.col("part") <= pl.col("amount")),),
)
GOOD = pl.DataFrame({"kind": ["a", "b"], "id": ["x", "y"], "amount": [2.0, None], "part": [1, 5]})


def test_a_good_frame_comes_back_in_contract_order() -> None:
    assert CONTRACT.validate(GOOD, "toy").columns == ["id", "amount", "part", "kind"]


def test_every_broken_rule_is_listed_with_first_value_row_and_count() -> None:
    bad = pl.DataFrame(
        {
            "id": ["x", "y", "x", "x"],
            "amount": [9.0, -3.0, float("nan"), -1.0],
            "part": [1, None, 7, -4],
            "kind": ["a", "b", "c", "a"],
        }
    )
    with pytest.raises(ContractError) as caught:
        CONTRACT.validate(bad, "toy.csv")
    text = str(caught.value)
    assert "toy.csv: row 2: amount is -3.0 (and 1 more row); amount must be >= 0" in text
    assert "toy.csv: row 3: amount is nan; amount must be a finite number" in text
    assert "toy.csv: row 2: part is empty; part must not be empty" in text
    assert "toy.csv: row 3: part is 7 (and 1 more row); part must lie between 0 and 5" in text
    assert "toy.csv: row 3: kind is 'c'; kind must be one of a, b" in text
    assert 'toy.csv: row 3: {"id": "\'x\'"} appeared before (and 1 more row); id must be unique' in text
    assert text.endswith(CONTRACT.remedy)


def test_a_rule_across_columns_names_the_row() -> None:
    bad = GOOD.with_columns(part=pl.Series([3, 1]))
    with pytest.raises(ContractError, match=r"row 1: part is 3; part must not exceed amount"):
        CONTRACT.validate(bad, "toy")


def test_missing_surplus_and_wrongly_typed_columns_are_named() -> None:
    bad = GOOD.drop("kind").with_columns(email=pl.lit("eve@example.com"), part=pl.col("part").cast(pl.Int32))
    with pytest.raises(ContractError) as caught:
        CONTRACT.validate(bad, "toy")
    text = str(caught.value)
    assert "column 'kind' is missing; found id, amount, part, email" in text
    assert "column 'email' is not part of the contract" in text
    assert "part has type Int32; it must be Int64" in text
    assert "eve@example.com" not in text


def test_an_empty_frame_has_the_contracts_types_and_is_valid() -> None:
    contract = outputs.predictions_contract("p_qualified_14d")
    assert contract.empty().schema["created_time"] == UTC_TIME
    assert contract.validate(contract.empty(), "predictions").columns[4] == "p_qualified_14d"


def test_documentation_comes_from_the_same_definition() -> None:
    assert ("amount", "number", "An amount. [EUR]") in CONTRACT.triples()
    assert "| `amount` | number | yes | yes | An amount. [EUR] | must be >= 0 |" in CONTRACT.markdown()
    for source in lead_ads.SOURCES:
        assert all(f"| `{name}` |" in source.markdown() for name in source.names)


def test_predictions_refuse_a_probability_above_one_and_an_unknown_split() -> None:
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    row = {"run_id": "r", "lead_id": "L", "created_time": moment, "split": "holdout", "p_qualified_7d": 1.2, "elv": 1.0}
    row |= {"rank": 1, "decile": 1, "cutoff": moment, "calibration_method": "sigmoid", "model_version": "1"}
    row |= {"scored_at": moment, "campaign_id": None, "adset_id": None, "ad_id": None}
    contract = outputs.predictions_contract("p_qualified_7d")
    with pytest.raises(ContractError) as caught:
        contract.validate(pl.DataFrame([row], schema=contract.schema), "predictions.csv")
    assert "p_qualified_7d is 1.2; p_qualified_7d must lie between 0 and 1" in str(caught.value)
    assert "split is 'holdout'; split must be one of train, gap" in str(caught.value)


def test_a_leaderboard_interval_must_contain_its_value() -> None:
    measures = {"lead_count": 3, "predicted_elv": 5.0, "elv_per_lead": 1.7, "elv_low": 6.0, "elv_high": 7.0}
    own = {"own_rows": 2, "own_positives": 1, "evidence": "mostly the parent"}
    row = {"campaign_id": "c", "mean_p": 0.1, "low_volume": True, "rank": 1, **measures, **own}
    frame = pl.DataFrame([row], schema_overrides={"rank": pl.Int64})
    contract = outputs.CAMPAIGN_LEADERBOARD
    full = frame.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in contract.schema.items() if name not in frame.columns
    )
    with pytest.raises(
        ContractError, match=r"predicted_elv is 5\.0; predicted_elv must lie within elv_low and elv_high"
    ):
        contract.validate(full, "leaderboard")
    contract.validate(full.with_columns(elv_low=pl.lit(4.0)), "leaderboard")


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["w", "x", "y", "z", "zz", "zzz", None]),
            "amount": st.sampled_from([9.0, 7.0, 8.0, None, -1.0, float("nan"), float("inf")]),
            "part": st.sampled_from([1, 2, 3, 0, 5, 6, None]),
            "kind": st.sampled_from(["a", "b", "a", "b", "c", None]),
        }
    ),
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, widen=st.booleans())
def test_the_quick_verdict_is_that_of_the_public_schema(rows: list[dict[str, object]], widen: bool) -> None:
    frame = pl.DataFrame(rows, schema=CONTRACT.schema)
    frame = frame.with_columns(pl.col("part").cast(pl.Int32)) if widen else frame
    try:
        CONTRACT.pandera_schema().validate(frame, lazy=True)
    except SchemaErrors:
        with pytest.raises(ContractError, match="toy"):
            CONTRACT.validate(frame, "toy")
    else:
        assert CONTRACT.validate(frame, "toy").columns == list(CONTRACT.names)


def test_a_key_of_several_columns_may_be_sorted_or_not_and_hold_nulls() -> None:
    columns = (Column("day", pl.Int64, "Day."), Column("id", pl.String, "Id.", nullable=True))
    contract = TableContract(name="pairs", description="Pairs.", key=("day", "id"), columns=columns)
    for rows in ([(1, "a"), (1, "b"), (2, "a")], [(2, "a"), (1, "b"), (1, "a")], [(1, None), (1, "a"), (2, None)]):
        frame = pl.DataFrame(rows, schema=contract.schema, orient="row")
        assert contract.validate(frame, "pairs").equals(frame)
    for rows in ([(1, "a"), (1, "a")], [(1, "a"), (2, "b"), (1, "a")], [(1, None), (1, None)]):
        with pytest.raises(ContractError, match="appeared before; day and id must be unique"):
            contract.validate(pl.DataFrame(rows, schema=contract.schema, orient="row"), "pairs")


def test_values_that_look_like_an_address_are_withheld() -> None:
    assert shown("eve@example.com") == "(withheld: it looks like an e-mail address)"
    assert shown("-3.20") == "-3.20"
    assert shown("L1") == "'L1'"
    assert len(shown("x" * 500)) < 70
