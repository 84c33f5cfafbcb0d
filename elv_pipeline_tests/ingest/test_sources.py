from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from elv_pipeline.errors import ContractError
from elv_pipeline.ingest.review.findings import findings
from elv_pipeline.ingest.review.profile import profile, profile_markdown
from elv_pipeline.ingest.review.readiness import readiness
from elv_pipeline.ingest.sources import Sources, examine
from elv_pipeline_tests.ingest.exports import ADS, LEADS, OUTCOMES, make_config, write


def load(folder: Path, **keys: Any) -> Sources:
    return examine(make_config(folder, **keys)).required()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "ads.csv", ADS)
    write(tmp_path, "leads.csv", LEADS)
    write(tmp_path, "outcomes.csv", OUTCOMES)
    return tmp_path


def test_span_and_observed_until_come_from_the_data(folder: Path) -> None:
    found = load(folder)
    assert (found.first_day, found.last_day) == (date(2025, 1, 1), date(2025, 1, 20))
    assert found.observed_until == datetime(2025, 1, 20, 8, tzinfo=UTC)
    write(folder, "outcomes.csv", OUTCOMES.replace("01-05", "01-25"))
    assert load(folder).observed_until == datetime(2025, 1, 25, 10, tzinfo=UTC)
    configured = load(folder, observed_until=date(2025, 1, 30), timezone="Europe/Berlin").observed_until
    assert configured == datetime(2025, 1, 30, 23, tzinfo=UTC)
    assert configured.tzinfo is UTC


def test_only_leads_are_needed(folder: Path) -> None:
    (folder / "ads.csv").unlink()
    (folder / "outcomes.csv").unlink()
    found = load(folder)
    assert (found.ads, found.outcomes, found.lead_to_ad_map) == (None, None, None)
    assert found.contradictory_leads.is_empty()


def test_outcomes_of_unknown_leads(folder: Path) -> None:
    write(folder, "outcomes.csv", OUTCOMES + "L8,2025-01-06T10:00:00Z\nL9,2025-01-06T10:00:00Z\n")
    with pytest.raises(ContractError) as caught:
        load(folder)
    assert str(caught.value) == (
        "outcomes.csv row 4: lead_id is 'L8' (and 1 more row); an outcome must belong to a lead of leads.csv. "
        "Fix the export or set contracts.outcomes.on_unknown_lead: drop."
    )
    found = load(folder, contracts={"outcomes": {"on_unknown_lead": "drop"}})
    assert found.outcomes is not None
    assert found.outcomes.profile.dropped_rows == {"never_so_far": 1, "unknown_lead": 2}


def test_a_few_queried_outcomes_may_lack_their_lead_and_many_stop_the_run(folder: Path) -> None:
    def of_a_query(orphans: int, **rules: str) -> Sources:
        more = "".join(f"X{number},2025-01-06T10:00:00Z\n" for number in range(orphans))
        write(folder, "outcomes.csv", OUTCOMES + more)
        config = make_config(folder, contracts={"outcomes": rules})
        living = config.model_copy(update={"extracts": config.extracts.model_copy(update={"outcomes": "o.sql"})})
        return examine(living).required()

    found = of_a_query(5)
    assert found.outcomes is not None
    assert found.outcomes.frame["lead_id"].to_list() == ["L1"]
    assert found.outcomes.profile.dropped_rows["unknown_lead"] == 5
    for orphans, rules in ((6, {}), (1, {"on_unknown_lead": "error"})):
        with pytest.raises(ContractError, match=r"row 4: .*must belong to a lead"):
            of_a_query(orphans, **rules)
    assert of_a_query(6, on_unknown_lead="drop").outcomes is not None


def test_outcomes_of_dropped_keys_go_with_them(folder: Path) -> None:
    found = load(folder, start_date=date(2025, 1, 3), contracts={"leads": {"on_before_start": "drop"}})
    assert found.outcomes is not None
    assert found.outcomes.frame.is_empty()
    assert found.outcomes.profile.dropped_rows["of_dropped_lead"] == 1


def test_an_outcome_before_its_lead(folder: Path) -> None:
    write(folder, "outcomes.csv", OUTCOMES.replace("2025-01-05", "2025-01-01"))
    with pytest.raises(ContractError) as caught:
        load(folder)
    assert str(caught.value) == (
        "outcomes.csv row 2: qualified_time is 2025-01-01T10:00:00+00:00; an outcome must not precede its lead 'L1' "
        "created 2025-01-02T10:00:00+00:00. Fix the export or set contracts.outcomes.on_before_lead: drop."
    )
    found = load(folder, contracts={"outcomes": {"on_before_lead": "drop"}})
    assert found.contradictory_leads.to_list() == ["L1"]


def test_a_lead_dated_without_time_may_qualify_the_same_day(folder: Path) -> None:
    write(folder, "leads.csv", "lead_id,created_time,ad_id\nL1,2025-01-05,A1\nL2,2025-01-05,A1\n")
    write(folder, "outcomes.csv", "lead_id,qualified_time\nL1,2025-01-05T00:00:00+01:00\n")
    found = load(folder, timezone="Europe/Berlin")
    assert found.outcomes is not None
    assert found.outcomes.frame.height == 1


def test_an_outcome_dated_without_time_is_not_before_a_lead_of_that_day(folder: Path) -> None:
    write(folder, "outcomes.csv", "lead_id,qualified_time\nL1,2025-01-02\n")
    found = load(folder)
    assert found.outcomes is not None
    assert found.outcomes.frame["qualified_time"][0] == datetime(2025, 1, 2, 10, tzinfo=UTC)
    assert found.outcomes.profile.notes == {"moved_to_the_leads_time_of_day": 1}
    write(folder, "outcomes.csv", "lead_id,qualified_time\nL1,2025-01-01\n")
    with pytest.raises(ContractError, match="must not precede its lead 'L1'"):
        load(folder)


def test_the_map_fills_ids_that_leads_lack(folder: Path) -> None:
    write(folder, "leads.csv", "lead_id,created_time,ad_id\nL1,2025-01-05,\nL2,2025-01-05,A2\n")
    write(folder, "lead_to_ad_map.csv", "lead_id,ad_id,campaign_id\nL1,A1,C1\nL2,A9,C2\nL7,A1,C1\n")
    write(folder, "outcomes.csv", "lead_id,qualified_time\n")
    rows = load(folder).leads_with_ids().select("lead_id", "ad_id", "campaign_id").rows()
    assert rows == [("L1", "A1", "C1"), ("L2", "A2", "C2")]


def test_readiness_counts_mature_rows_and_positives(folder: Path) -> None:
    enough = {"leads": 3, "days": 3}
    config = make_config(folder, model={"min_labelled_rows": 2, "min_positives": 1}, minimum_data=enough)
    verdict = readiness(examine(config).required(), config)
    assert verdict.train.ready
    assert verdict.train.counts == {"leads": 3, "mature": 2, "labelled": 2, "positives": 1}
    assert verdict.score.ready
    strict = make_config(folder, observed_from=date(2025, 1, 3), timezone="Europe/Berlin")
    refused = readiness(examine(strict).required(), strict)
    assert refused.train.counts == {"leads": 3, "mature": 1, "labelled": 1, "positives": 0}
    assert "1 mature labelled leads; at least 200 are needed (model.min_labelled_rows)" in refused.train.reasons
    assert "0 positives among them; at least 30 are needed (model.min_positives)" in refused.train.reasons
    assert refused.score.ready


def test_a_lead_whose_outcome_precedes_it_is_not_labelled(folder: Path) -> None:
    write(folder, "outcomes.csv", OUTCOMES.replace("2025-01-05", "2025-01-01"))
    config = make_config(folder, contracts={"outcomes": {"on_before_lead": "drop"}})
    assert readiness(examine(config).required(), config).train.counts["labelled"] == 1


def test_without_outcomes_nothing_is_labelled(folder: Path) -> None:
    (folder / "outcomes.csv").unlink()
    config = make_config(folder)
    verdict = readiness(examine(config).required(), config)
    assert not verdict.train.ready
    assert verdict.train.counts["labelled"] == 0
    assert verdict.score.ready


def test_no_personal_value_reaches_the_profile(folder: Path) -> None:
    write(
        folder,
        "leads.csv",
        "lead_id,created_time,ad_id,Email,Full name\n"
        "L1,2025-01-02T10:00:00Z,A1,eve@example.com,Eve Example\n"
        "L2,2025-01-03T10:00:00Z,A1,adam@example.com,Adam Example\n",
    )
    config = make_config(folder)
    sources = examine(config).required()
    content = profile(sources, findings(sources, config), readiness(sources, config), config)
    text = json.dumps(content) + profile_markdown(content)
    assert content["tables"]["leads"]["dropped_columns"] == ["Email", "Full name"]
    assert len(content["tables"]["leads"]["sha256"]) == 64
    assert all(secret not in text for secret in ("@example.com", "Eve", "Adam", str(folder)))
    assert "`leads.csv`: 2 of 2 rows, 2025-01-02 to 2025-01-03." in text


def test_no_personal_value_reaches_an_error(folder: Path) -> None:
    text = "lead_id,created_time,ad_id,email\neve@example.com,2025-01-02,A1,x\neve@example.com,2025-01-02,A1,x\n"
    write(folder, "leads.csv", text)
    with pytest.raises(ContractError) as caught:
        load(folder)
    assert "eve@example.com" not in str(caught.value)
