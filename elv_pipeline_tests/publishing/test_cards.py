from __future__ import annotations

import re

import pytest

from elv_pipeline.publishing.cards import data_card, model_card, plain
from elv_pipeline_tests.publishing.sample_content import MANIFEST, bare_content, full_content


def test_model_card_states_use_data_proof_limits_and_features() -> None:
    card = model_card(full_content())
    for heading in ("Intended use", "Data", "Performance on later leads", "Calibration", "Limits", "Features"):
        assert f"\n## {heading}\n" in card
    for fact in ("9 Jun 2025 to 29 Jun 2025", "2.9x (2.4x to 3.4x)", "model better", "Hour of day", "leads.created"):
        assert fact in card
    assert "Typical gap between prediction and outcome: 1.2% (0.8% to 1.6%)" in card


def test_data_card_states_rows_labels_joins_privacy_and_problems() -> None:
    manifest = {**MANIFEST, "observed_from": "2025-01-08", "row_counts": {"leads": 4200}}
    card = data_card(full_content(manifest=manifest))
    for fact in (
        "| leads | 4,200 |",
        "8 Jan 2025",
        "| All weeks | 270 | 12 | 142 | 116 |",
        "## Privacy",
        "Log starts late.",
    ):
        assert fact in card
    assert "lead-0" not in card, "no lead ids in a card"


@pytest.mark.parametrize("card", [model_card, data_card])
def test_cards_of_a_bare_run_say_not_available(card) -> None:  # type: ignore[no-untyped-def]
    text = card(bare_content())
    assert "ot available" in text
    assert "None" not in text


@pytest.mark.parametrize("card", [model_card, data_card])
def test_tables_are_well_formed(card) -> None:  # type: ignore[no-untyped-def]
    text = card(full_content(absent=("a | b\n# not a heading",)))
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block
    assert "\n# not a heading" not in text
    assert text.count("\n# ") == 0


def test_markup_in_data_stays_text() -> None:
    assert plain("[x](javascript:1) <b>|*_") == r"\[x\](javascript:1) \<b\>\|\*\_"
    assert plain(None) == "not available"
