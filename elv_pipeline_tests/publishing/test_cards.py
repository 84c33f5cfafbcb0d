from __future__ import annotations

import re

import pytest

from elv_pipeline.publishing.pages.cards import data_card, model_card, plain
from elv_pipeline_tests.publishing import sample_proof as proof
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
    text = card(proof.proven_content(absent=("a | b\n# not a heading",)))
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block
    assert "\n# not a heading" not in text
    assert text.count("\n# ") == 0


def test_markup_in_data_stays_text() -> None:
    assert plain("[x](javascript:1) <b>|*_") == r"\[x\](javascript:1) \<b\>\|\*\_"
    assert plain(None) == "not available"


def test_the_model_card_holds_gates_budget_grades_segments_and_leak_probes() -> None:
    card = model_card(proof.proven_content())
    assert card.startswith("# Model card: lead\\_ads, version 12\n\n**Ready. The model ranks leads 2.9 times better")
    for fact in (
        "## Promotion gates\n\n| Gate | Verdict | Figure | Threshold | Why |",
        "| Not worse than the champion (what champion asks) | not applicable |  |  | no other champion |",
        "| Best 10% | 100 | €4,176 (€3,276 to €5,076) |",
        "- On the judged leads, working only the best tenth would have collected",
        "| A (Twice the average or more.) | 24.0% | 25.0% (17.5% to 35.0%) | kept |",
        "- Both segments of campaign\\_id agree.",
        "| Campaign 0 (campaign) | fewer than predicted | 40.0 | 20 |",
        "### Did the rate move?",
        "No probe found a leak in 2 features.",
        "the campaign's past outcomes (raises 95% of them)",
    ):
        assert fact in card
    assert "lead-0" not in card, "no lead ids in a card"


def test_a_card_says_why_a_model_is_not_ready_before_what_it_can_do() -> None:
    card = model_card(proof.proven_content(validation=proof.validation(failing="baseline")))
    places = [card.index(part) for part in ("Why not ready:", "The gate “baseline” failed", "What the model can do:")]
    assert places == sorted(places)


def test_both_cards_name_the_rates_of_the_parts() -> None:
    for card in (model_card, data_card):
        assert "| test (used to judge) | 1,000 | 80 | 8.0% (6.5% to 9.8%) |" in card(proof.proven_content())
