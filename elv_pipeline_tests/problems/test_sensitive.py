"""What no explanation may speak of is recognised by its name."""

from __future__ import annotations

import pytest

from elv_pipeline.problems.sensitive import is_sensitive


@pytest.mark.parametrize(
    "name", ["category_age", "age_group", "category_gender", "Applicant_Religion", "zip_code", "first_name"]
)
def test_sensitive_names_are_recognised_by_their_parts(name: str) -> None:
    assert is_sensitive(name)
    assert is_sensitive("harmless", name)


@pytest.mark.parametrize("name", ["category_language", "average", "campaign_usage_7d", "category_placement"])
def test_a_part_of_a_word_is_no_reason_to_be_silent(name: str) -> None:
    assert not is_sensitive(name)


def test_further_words_can_be_denied_and_an_empty_word_denies_nothing() -> None:
    assert is_sensitive("category_shoe_size", denied=("shoe_size",))
    assert not is_sensitive("category_shoe_size", denied=("size_shoe", ""))
