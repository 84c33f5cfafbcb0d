"""What was spoiled on purpose in the synthetic organisation is found, and little besides."""

from __future__ import annotations

import polars as pl
import pytest

from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.synthetic.outreach.organisation import Organisation, OutreachSpec, generate_outreach
from elv_pipeline_tests.ingest.outreach_spoils import found


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return generate_outreach(OutreachSpec(contacts=1_500, days=120, dirt=0.02))


def test_what_was_spoiled_on_purpose_is_found_and_nothing_much_besides(organisation: Organisation) -> None:
    cleaned = clean_outreach({name: getattr(organisation, name) for name in CANONICAL})
    cleaned.gate.require()
    planted = {(kind, table): rows for kind, table, rows in _planted(organisation).rows()}
    counted = {key: finding.rows for key, finding in found(cleaned).items()}
    assert counted["outcomes", "exact_duplicate"] == planted["exact_duplicate", "outcomes"] > 0
    assert counted["engagement_logs", "exact_duplicate"] == planted["exact_duplicate", "engagement_logs"] > 0
    assert counted["contacts", "broken_encoding"] == planted["mojibake", "contacts"] > 0
    early = planted["reply_before_send", "engagement_logs"]
    assert (
        early <= counted["engagement_logs", "before_the_step"] <= early + 3
    )  # sends that the end of the period cut off
    regions = cleaned.tables["contacts"]["region"].drop_nulls()
    assert not regions.str.contains("Ã").any()


def test_all_findings_about_a_clean_organisation_are_expected() -> None:
    organisation = generate_outreach(OutreachSpec(contacts=1_500, days=120, dirt=0))
    gate = clean_outreach({name: getattr(organisation, name) for name in CANONICAL}).gate
    assert gate.verdict == "ready", [finding.message for finding in gate.findings]


def _planted(organisation: Organisation) -> pl.DataFrame:
    return organisation.dirt.group_by("kind", "table").agg(pl.col("rows").sum())
