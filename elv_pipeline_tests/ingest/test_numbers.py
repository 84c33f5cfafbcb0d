from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest import numbers
from elv_pipeline.ingest.numbers import count_column, micros_column
from elv_pipeline.ingest.source_file import SOURCE_ROW


def frame(*texts: str | None) -> pl.DataFrame:
    rows = pl.Series(SOURCE_ROW, range(2, 2 + len(texts)), dtype=pl.Int64)
    return pl.DataFrame([rows, pl.Series("spend", texts, dtype=pl.String)])


def counts(*texts: str | None) -> list[int]:
    return count_column(frame(*texts), column="spend", place="ads.csv").to_list()


def micros(*texts: str | None) -> list[int]:
    return micros_column(frame(*texts), column="spend", place="ads.csv").to_list()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("-3", -3), ("+7", 7), ("007", 7), ("12.0", 12), ("999999999999999", 10**15 - 1), ("-0", 0)],
)
def test_counts(text: str, value: int) -> None:
    assert counts(text) == [value]
    assert counts("12.0", text) == [12, value]


@pytest.mark.parametrize(
    "text", [None, "", "1.5", "1e3", "1,000", "1 000", "1000000000000000", "0x1F", "\uff19", "--1", "-"]
)
def test_what_is_no_count(text: str | None) -> None:
    with pytest.raises(ContractError, match=r"ads\.csv row 3: spend is .*; it must be a whole number in plain digits"):
        counts("1", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.34", 12_340_000),
        ("-0.000001", -1),
        ("0.0000005", 1),
        ("-0.0000005", -1),
        ("0.0000004999", 0),
        ("0.1234565", 123_457),
        ("2.", 2_000_000),
        (".5", 500_000),
        ("1e-05", 10),
        ("12E3", 12_000_000_000),
        ("999999999999.999999", 999_999_999_999_999_999),
        ("4503599627370.497", 4_503_599_627_370_497_000),
    ],
)
def test_amounts_are_exact_to_the_millionth(text: str, value: int) -> None:
    if value > 10**18:
        with pytest.raises(ContractError, match=r"below 10\^12"):
            micros(text)
        return
    assert micros(text) == [value]
    assert micros(text, "1.00000049") == [value, 1_000_000]


@pytest.mark.parametrize(
    "text", [None, "", "nan", "inf", "-inf", "1,5", "1.2.3", "€5", "1e400", "5_0", ".", "+", "1e", "\u0663"]
)
def test_what_is_no_amount(text: str | None) -> None:
    with pytest.raises(
        ContractError, match=r"ads\.csv row 3: spend is .*; it must be plain digits with a decimal point"
    ):
        micros("1", text)


AMOUNTS = st.one_of(
    st.decimals(-(10**7), 10**7, places=2),
    st.decimals(-(10**6), 10**6, places=6),
    st.decimals(-(10**11), 10**11, places=8),
).map(lambda amount: format(amount, "f"))
NUMBER_LIKE = st.text(alphabet="0123456789.-+eE ", max_size=9)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(AMOUNTS, min_size=1, max_size=5))
@example(texts=["4398046.511105"])
@example(texts=["0.0000005", "-0.0000005"])
def test_amounts_are_those_of_decimal_arithmetic(texts: list[str]) -> None:
    exact = [(Decimal(text) * 10**6).quantize(Decimal(1), rounding=ROUND_HALF_UP) for text in texts]
    assert micros(*texts) == [int(value) for value in exact]


def outcome(read: object, *texts: str) -> list[int] | str:
    try:
        return read(*texts)  # type: ignore[operator, no-any-return]
    except ContractError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.one_of(NUMBER_LIKE, AMOUNTS, st.just("1")), min_size=1, max_size=4))
@example(texts=["0000000000000000000007"])
@example(texts=["+5"])
@example(texts=["1e3"])
def test_the_direct_reading_and_the_careful_one_agree(texts: list[str]) -> None:
    direct = outcome(counts, *texts), outcome(micros, *texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "_exact_micros", lambda text: None)
        patch.setattr(numbers, "_PLAIN_DIGITS", -1)
        careful = outcome(counts, *texts), outcome(micros, *texts)
    assert direct == careful
