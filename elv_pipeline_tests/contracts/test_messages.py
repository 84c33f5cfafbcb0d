"""What a message may show of a lead: ids and times, and of anything else its pattern."""

from __future__ import annotations

import pytest

from elv_pipeline.contracts.messages import shown, shown_of_a_lead, violation


@pytest.mark.parametrize(
    "value",
    ["L1", "9", "0f8fad5b-d9cb-469f-a165-70867728950e", "l:120215630298500157", "lead_2025-01-02#7", "12345678"],
)
def test_ids_are_shown_where_ids_belong(value: str) -> None:
    assert value in shown_of_a_lead(value, column="lead_id")
    assert value not in shown_of_a_lead(value, column="created_time")


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("Jane Doe 0171 234567", "Aaaa Aaa 0000 000000"),
        ("+49 171 1234567", "+00 000 0000000"),
        ("p:+491711234567", "a:+000000000000"),
        ("0171-234567", "0000-000000"),
        ("491711234567", "000000000000"),
        ("Müller", "Aaaaaa"),
        ("Main Street 5", "Aaaa Aaaaaa 0"),
        ("李雷", "aa"),
    ],
)
@pytest.mark.parametrize("column", ["lead_id", "ad_id", "created_time"])
def test_anything_else_is_a_pattern(value: str, pattern: str, column: str) -> None:
    told = shown_of_a_lead(value, column=column)
    assert told == f"a text of the form {pattern!r} (not shown: it may be personal)"


@pytest.mark.parametrize(
    "value", ["03/04/2025", "2025-13-01", "31.3.25 14:05", "2025-01-02T10:00:00Z", "1/2/2025 1:05 PM"]
)
@pytest.mark.parametrize("column", ["lead_id", "created_time"])
def test_times_are_shown_in_any_form(value: str, column: str) -> None:
    assert shown_of_a_lead(value, column=column) == repr(value)


def test_numbers_and_nothing_are_shown_as_ever() -> None:
    assert shown_of_a_lead(None, column="lead_id") == "empty"
    assert shown_of_a_lead(3, column="lead_id") == "3"
    assert shown_of_a_lead("eve@example.com", column="lead_id") == "(withheld: it looks like an e-mail address)"


def test_only_messages_about_people_hide_values() -> None:
    words = {"place": "a.csv", "row": 2, "column": "date", "value": "soon", "count": 1, "rule": "r", "remedy": "Fix."}
    assert violation(**words) == "a.csv row 2: date is 'soon'; r. Fix."  # type: ignore[arg-type]
    assert "soon" not in violation(**words, about_people=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", ["@", "\uff20", "\ufe6b"])
def test_an_address_is_withheld_whatever_its_at_sign(at: str) -> None:
    address = f"jane{at}example.org"
    told = "(withheld: it looks like an e-mail address)"
    assert (shown(address), shown_of_a_lead(address, column="contact_id")) == (told, told)


@pytest.mark.parametrize("moment", ["enr0000001@3", "E1@0+14"])
def test_the_id_of_a_moment_is_no_address(moment: str) -> None:
    assert shown(moment) == repr(moment)
    assert shown(f"{moment}.org").startswith("(withheld")
