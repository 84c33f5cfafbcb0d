from __future__ import annotations

import tempfile
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elv_pipeline.contracts.lead_ads import ADS_SOURCE
from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.parsing import numbers
from elv_pipeline.ingest.parsing.delimited_fast import read_fast
from elv_pipeline.ingest.parsing.numbers import count_column, in_one_form, known_count_column, micros_column
from elv_pipeline.ingest.parsing.raw_text import recognise
from elv_pipeline.ingest.source_file import SOURCE_ROW
from elv_pipeline_tests.ingest.exports import write


def frame(*texts: str | None) -> pl.DataFrame:
    rows = pl.Series(SOURCE_ROW, range(2, 2 + len(texts)), dtype=pl.Int64)
    return pl.DataFrame([rows, pl.Series("spend", texts, dtype=pl.String)])


def counts(*texts: str | None) -> list[int]:
    return count_column(frame(*texts), column="spend", place="ads.csv").to_list()


def micros(*texts: str | None) -> list[int]:
    return micros_column(frame(*texts), column="spend", place="ads.csv").to_list()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0", 0), ("-3", -3), ("+7", 7), ("007", 7), ("12.0", 12), ("999999999999999", 10**15 - 1), ("-0", 0)),
        *(("12.00", 12), ("12.0000", 12), ("1234.000", 1234), ("0.000", 0)),
    ],
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


@pytest.mark.parametrize("text", ["1.000", "12.000", "-345.000"])
def test_a_count_that_may_be_a_grouped_thousand_is_refused_with_the_setting(text: str) -> None:
    with pytest.raises(
        ContractError, match=r"ads\.csv row 3: spend is .*could be a thousand.* set decimal_comma: true"
    ):
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
        patch.setattr(numbers, "_micros_by_float", lambda text: None)
        patch.setattr(numbers, "_PLAIN_DIGITS", -1)
        careful = outcome(counts, *texts), outcome(micros, *texts)
    assert direct == careful


ODD = (
    *(
        "",
        " ",
        "5",
        " 5",
        "5 ",
        "\t5",
        "\u00a05",
        "+5",
        "-5",
        "-0",
        "007",
        "12.0",
        "1.000",
        "5.",
        ".5",
        "-.5",
        "+.5",
        ".",
        "1_000",
    ),
    *("1e3", "1E-05", "1e-400", "1e400", "e5", "1.e2", "nan", "NaN", "inf", "Infinity", "null", "NA", "true", "0x1F"),
    *("999999999999999", "1000000000000000", "9223372036854775808", "0" * 30 + "7", "0." + "3" * 40, "0.5" + "0" * 40),
    *(
        "4398046.511103",
        "4398046.511105",
        "999999999999.999999",
        "1000000000000",
        "0.0000005",
        "1.0000005",
        "0.1234567",
    ),
    *('"5"', '" 5"', '""', '"1,5"', '"5""', "1.2.3", "--5", "+-5", "\uff15", "5\x0b", "12.34", "5-", "1 000", "1,000"),
)
LETTERS = st.text(alphabet='0159.,-+eE "\t', max_size=4)
CELL = st.one_of(st.sampled_from(ODD), NUMBER_LIKE, AMOUNTS, st.integers(0, 10**16).map(str), LETTERS)
TYPES = {"impressions": pl.Int64, "spend": pl.Float64}


def read_columns(content: bytes, types: dict[str, type[pl.DataType]]) -> tuple[list[int] | str, ...] | None:
    """What each column of a file reads as, or how it is refused; None where the fast parser passes."""
    with tempfile.TemporaryDirectory() as folder:
        raw = recognise(write(Path(folder), "ads.csv", content), name="ads")
        found = read_fast(raw, separator=",", width=2, position={"impressions": 0, "spend": 1}, types=types)
    if found is None:
        return None
    return tuple(
        outcome(lambda column=column, read=read: read(found, column=column, place="ads.csv").to_list())
        for column, read in (("impressions", count_column), ("spend", micros_column))
    )


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(st.one_of(CELL, st.just("1")), st.one_of(CELL, st.just("0.25"))), min_size=1, max_size=3),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_numbers_typed_by_the_parser_are_those_of_their_text(rows: list[tuple[str, str]], line_end: str) -> None:
    content = line_end.join(["impressions,spend", *(",".join(row) for row in rows), ""]).encode()
    assert read_columns(content, TYPES) == read_columns(content, {})


@pytest.mark.parametrize("cell", ODD)
def test_one_odd_number_among_plain_ones_reads_as_its_text_does(cell: str) -> None:
    for row in (f"{cell},1.5", f"3,{cell}"):
        content = f"impressions,spend\n1,2.25\n{row}\n".encode()
        assert read_columns(content, TYPES) == read_columns(content, {})


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_plain_numbers_are_typed_by_the_parser(tmp_path: Path, end: str) -> None:
    content = "impressions,spend\n" + "49465,56.06\n" * 40_000 + "007,1234.5" + end
    raw = recognise(write(tmp_path, "ads.csv", content), name="ads")
    found = read_fast(raw, separator=",", width=2, position={"impressions": 0, "spend": 1}, types=TYPES)
    assert found is not None
    assert found.dtypes == [pl.Int64] * 3
    assert found.row(0) == (2, 49_465, 56_060_000)
    assert found.row(-1) == (40_002, 7, 1_234_500_000)


def test_one_uncertain_cell_brings_back_the_text_of_its_column_only(tmp_path: Path) -> None:
    raw = recognise(write(tmp_path, "ads.csv", "impressions,spend\n7,-3.20\n8,1\n"), name="ads")
    found = read_fast(raw, separator=",", width=2, position={"impressions": 0, "spend": 1}, types=TYPES)
    assert found is not None
    assert found.rows() == [(2, 7, "-3.20"), (3, 8, "1")]


def test_files_of_which_one_has_an_odd_number_have_one_form() -> None:
    exact = pl.DataFrame({"impressions": [7], "spend": [1_000_001]})
    odd = pl.DataFrame({"impressions": ["12.0"], "spend": ["2.5"]})
    assert [frame.rows() for frame in in_one_form([exact, odd], source=ADS_SOURCE)] == [[("7", "1.000001")], odd.rows()]
    assert in_one_form([exact, exact], source=ADS_SOURCE)[0].equals(exact)
    tiny = frame("x").with_columns(impressions=pl.lit("1"), spend=pl.lit(5, dtype=pl.Int64))
    assert micros_column(in_one_form([tiny, odd], source=ADS_SOURCE)[0], column="spend", place="x").to_list() == [5]


def test_counts_that_are_not_known_stay_empty_and_others_are_as_strict() -> None:
    assert known_count_column(frame("3", None, "12.0"), column="spend", place="x").to_list() == [3, None, 12]
    assert known_count_column(frame(None, None), column="spend", place="x").dtype == pl.Int64
    with pytest.raises(ContractError, match=r"x row 4: spend is 1\.000; it could be a thousand"):
        known_count_column(frame("3", None, "1.000"), column="spend", place="x")
