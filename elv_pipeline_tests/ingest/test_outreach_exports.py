"""The door of outreach: files of every kind become typed source tables, and what a person wrote stays outside."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from elv_pipeline.config_file import parse_config
from elv_pipeline.contracts.outreach import CANONICAL
from elv_pipeline.errors import ConfigError, ContractError
from elv_pipeline.forgotten import Forgotten, forgotten_file
from elv_pipeline.home import Home
from elv_pipeline.ingest.outreach_cleaning import clean_outreach
from elv_pipeline.ingest.outreach_exports import OutreachSources, read_outreach
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.synthetic.outreach.organisation import Organisation, OutreachSpec, generate_outreach, write_outreach
from elv_pipeline_tests.ingest.meta_exports import save_workbook
from elv_pipeline_tests.ingest.outreach_exports import at, clean_sources

MAIL, PHONE = "jane.secret@example.org", "+49 170 5550123"
REPLY = "Gern, was kostet das?"


def written(folder: Path, **changed: pl.DataFrame | str) -> dict[str, str]:
    """The small clean organisation as CSV files, some tables otherwise; the path of each by its key."""
    for name, frame in clean_sources().items():
        content = changed.get(name, frame)
        if isinstance(content, pl.DataFrame):
            content = content.write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")
    return {f"{name}_path": f"{name}.csv" for name in CANONICAL}


def configured(folder: Path, paths: Mapping[str, str | None], **settings: Any) -> PipelineConfig:
    raw = {"problem": "outreach", "name": "calls", "paths": dict(paths), **settings}
    return parse_config(raw, source=folder / "outreach.yaml")


def read(folder: Path, *, settings: Mapping[str, Any] | None = None, **changed: pl.DataFrame | str) -> OutreachSources:
    return read_outreach(configured(folder, written(folder, **changed), **(settings or {})))


def refusal(folder: Path, *, settings: Mapping[str, Any] | None = None, **changed: pl.DataFrame | str) -> str:
    with pytest.raises(ContractError) as caught:
        read(folder, settings=settings, **changed)
    return str(caught.value)


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return generate_outreach(OutreachSpec(contacts=600, days=60, dirt=0.05, personal_columns=True))


def test_what_was_written_comes_back_cleaned_as_if_it_had_never_been_a_file(
    organisation: Organisation, tmp_path: Path
) -> None:
    files = write_outreach(organisation, tmp_path)
    sources = read_outreach(configured(tmp_path, {f"{name}_path": str(path) for name, path in files.items()}))
    cleaned = clean_outreach(sources.tables)
    expected = clean_outreach({name: getattr(organisation, name) for name in CANONICAL})
    assert cleaned.gate.findings == expected.gate.findings
    for name, frame in expected.tables.items():
        # the files have two decimals
        rounded = frame.with_columns(pl.col("wait_days").round(2)) if name == "campaign_steps" else frame
        assert_frame_equal(cleaned.tables[name], rounded)
    assert sources.files["contacts"].dropped_columns == ("full_name", "email", "phone_number")
    assert sources.known_until is None


def test_behind_the_door_there_is_no_text_of_a_reply(tmp_path: Path) -> None:
    events = read(tmp_path).tables["engagement_logs"]
    assert "response_text" not in events.columns
    assert REPLY not in str(events.filter(pl.col("event") == "replied").rows())
    replies = events.filter(pl.col("event") == "replied")
    assert replies.select("reply_characters", "reply_words", "reply_reading").unique().rows() == [(21, 4, "read")]
    assert replies["reply_tokens"].str.contains(r"^\d+( \d+)*$").all()


def test_what_is_told_of_a_source_names_file_digest_rows_and_days(tmp_path: Path) -> None:
    sources = read(tmp_path)
    told = sources.files["engagement_logs"]
    assert (told.file, told.files, told.rows) == ("engagement_logs.csv", 1, 270)
    assert len(told.sha256) == 64
    newest = clean_sources()["engagement_logs"]["recorded_time"].max()
    assert isinstance(newest, datetime)
    assert told.newest_moment == newest
    assert (told.first_day, told.last_day) == (at(1).date(), newest.date())
    document = told.document()
    assert document["newest_moment"] == newest.isoformat()
    assert document["last_day"] == str(newest.date())
    assert sources.files["campaigns"].first_day == at(-300).date()


def test_the_newest_moment_is_never_one_of_the_future(tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=400)
    rows = clean_sources()["outcomes"]
    odd = rows.with_columns(outcome_time=pl.when(pl.int_range(pl.len()) == 0).then(future).otherwise("outcome_time"))
    told = read(tmp_path, outcomes=odd).files["outcomes"]
    assert told.newest_moment == rows["recorded_time"].max()
    assert told.last_day is not None
    assert told.last_day < date.today() + timedelta(days=1)  # noqa: DTZ011


@pytest.mark.parametrize("form", ["folder", "glob", "gzip", "parquet", "xlsx", "address"])
def test_every_form_of_export_that_lead_ads_knows_is_read(form: str, tmp_path: Path) -> None:
    paths: dict[str, str] = written(tmp_path)
    expected = read_outreach(configured(tmp_path, paths)).tables["enrollments"]
    frame = clean_sources()["enrollments"]
    place = tmp_path / "other"
    place.mkdir()
    if form in ("folder", "glob"):
        for part in range(2):
            frame.slice(part * 60, 60).write_csv(place / f"enrollments_{part}.csv")
        paths["enrollments_path"] = "other" if form == "folder" else "other/enroll*.csv"
    elif form == "gzip":
        (place / "e.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
        paths["enrollments_path"] = "other/e.csv.gz"
    elif form == "xlsx":
        plain = frame.with_columns(pl.col("enrolled_time").dt.replace_time_zone(None))
        save_workbook(place / "e.xlsx", Enrollments=[list(frame.columns), *map(list, plain.rows())])
        paths["enrollments_path"] = "other/e.xlsx"
    else:
        frame.write_parquet(place / "e.parquet")
        paths["enrollments_path"] = "other/e.parquet" if form == "parquet" else f"file://{place / 'e.parquet'}"
    sources = read_outreach(configured(tmp_path, paths))
    assert_frame_equal(sources.tables["enrollments"].sort("enrollment_id"), expected.sort("enrollment_id"))
    assert sources.files["enrollments"].files == (2 if form in ("folder", "glob") else 1)


def test_outcomes_may_be_absent_and_events_may_be_none_yet(tmp_path: Path) -> None:
    paths = written(tmp_path, engagement_logs="enrollment_id,step_id,event,event_time\n")
    sources = read_outreach(configured(tmp_path, {**paths, "outcomes_path": None}))
    assert "outcomes" not in sources.tables
    assert sources.tables["engagement_logs"].is_empty()
    assert sources.files["engagement_logs"].newest_moment is None
    assert clean_outreach(sources.tables).gate.verdict == "ready"


def test_a_naive_time_is_read_in_the_zone_of_its_table(tmp_path: Path) -> None:
    campaigns = "campaign_id,campaign_name,started_time\nK1,Spring,2025-07-01 12:00:00\nK2,Autumn,n/a\n"
    rules = {"naive_timezone": "America/New_York", "null_values": ["n/a"]}
    settings = {"timezone": "Europe/Berlin", "contracts": {"campaigns": rules}}
    found = read(tmp_path, campaigns=campaigns, settings=settings).tables["campaigns"]
    assert found["started_time"].to_list() == [datetime(2025, 7, 1, 16, tzinfo=UTC), None]


def test_what_happened_on_a_day_is_known_at_its_end(tmp_path: Path) -> None:
    """Planted: an outcome of which the day alone is known; at midnight nobody knew it."""
    outcomes = "enrollment_id,outcome,outcome_time\nE000,booked_call,2025-03-07\n"
    found = read(tmp_path, outcomes=outcomes, settings={"timezone": "Europe/Berlin"}).tables["outcomes"]
    assert found["outcome_time"].to_list() == [datetime(2025, 3, 6, 23, tzinfo=UTC)]
    assert found["recorded_time"].to_list() == [datetime(2025, 3, 7, 22, 59, 59, 999_999, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"campaigns": "campaign_id,started_time\nK1,2025-01-01\n"}, "campaign_name"),
        ({"campaigns": "campaign_id,campaign_name,campaign_name\nK1,a,b\n"}, "appears 2 times"),
        (
            {"campaigns": "campaign_id,campaign_name,started_time\nK1,Spring,04/05/2025\n"},
            "campaigns.csv row 2: started_time is '04/05/2025'; this could be 4 May or 5 April",
        ),
        (
            {"campaign_steps": "step_id,campaign_id,position,channel,template_id,wait_days\nS1,K1,first,email,T,0\n"},
            "campaign_steps.csv row 2: position is 'first'; it must be a whole number",
        ),
        (
            {"campaign_steps": 'step_id,campaign_id,position,channel,template_id,wait_days\nS1,K1,1,email,T,"1,5"\n'},
            "campaign_steps.csv row 2: wait_days is '1,5'",
        ),
        ({"enrollments": "org_id,enrollment_id,contact_id,campaign_id,enrolled_time\n"}, "no rows below the header"),
        (
            {"outcomes": "enrollment_id,outcome,outcome_time,value\nE000,converted,2025-03-07,Jane Doe\n"},
            "outcomes.csv row 2: value is a text of the form 'Aaaa Aaa' (not shown: it may be personal)",
        ),
        (
            {"engagement_logs": "enrollment_id,step_id,event,event_time\nE000,S1,sent,Jane Doe\n"},
            "engagement_logs.csv row 2: event_time is a text of the form 'Aaaa Aaa' (not shown: it may be personal)",
        ),
    ],
)
def test_what_is_no_value_of_its_column_is_refused_with_file_row_rule_and_remedy(
    changed: dict[str, str], told: str, tmp_path: Path
) -> None:
    assert told in refusal(tmp_path, **changed)


def test_a_missing_file_is_told_by_its_key(tmp_path: Path) -> None:
    paths = {**written(tmp_path), "contacts_path": "gone.csv"}
    with pytest.raises(ContractError, match=r"gone\.csv: no such file or folder; it should hold contacts"):
        read_outreach(configured(tmp_path, paths))


def test_a_rule_of_lead_ads_is_refused_rather_than_ignored(tmp_path: Path) -> None:
    settings = {"contracts": {"outcomes": {"on_duplicate": "drop"}}}
    with pytest.raises(ConfigError, match="on_duplicate is a rule of lead ads"):
        read(tmp_path, settings=settings)


# ------------------------------------------------------------------------------------------------------------- privacy


@pytest.mark.parametrize("value", [MAIL, "jane.secret\N{FULLWIDTH COMMERCIAL AT}example.org", PHONE])
@pytest.mark.parametrize(("table", "column"), [("contacts", "contact_id"), ("enrollments", "enrollment_id")])
def test_an_id_that_is_an_address_or_a_number_is_refused(table: str, column: str, value: str, tmp_path: Path) -> None:
    rows = clean_sources()[table]
    planted = rows.with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(value)).otherwise(column).alias(column)
    )
    told = refusal(tmp_path, **{table: planted})
    assert f"{table}.csv row 5: {column} is an e-mail address or a phone number" in told
    assert f"privacy.hashed_columns: [{column}]" in told
    assert value not in told


def test_hashed_ids_of_people_still_join_and_no_address_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELV_HASH_KEY", "k" * 40)
    sources = clean_sources()
    named = pl.concat_str(pl.col("contact_id").str.to_lowercase(), pl.lit("@example.org"))
    changed = {name: sources[name].with_columns(contact_id=named) for name in ("contacts", "enrollments")}
    settings = {"privacy": {"hashed_columns": ["contact_id", "enrollment_id"]}}
    found = read(tmp_path, settings=settings, **changed)
    assert clean_outreach(found.tables, known_until=at(400)).gate.verdict == "ready"
    assert "example.org" not in str([frame.rows() for frame in found.tables.values()])
    assert "E000" not in found.tables["engagement_logs"]["enrollment_id"].to_list()


def test_addresses_in_texts_are_emptied_and_masked_in_templates_and_counted(tmp_path: Path) -> None:
    sources = clean_sources()
    first = pl.int_range(pl.len()) == 0
    changed = {
        "contacts": sources["contacts"].with_columns(
            industry=pl.when(first).then(pl.lit(f"retail {MAIL}")).otherwise("industry")
        ),
        "campaigns": sources["campaigns"].with_columns(
            campaign_name=pl.when(first).then(pl.lit(f"Spring {MAIL}")).otherwise("campaign_name")
        ),
        "campaign_steps": sources["campaign_steps"].with_columns(
            template_text=pl.when(first)
            .then(pl.lit(f"Hi {{first_name}}, call {PHONE} or a\N{FULLWIDTH COMMERCIAL AT}example.org."))
            .otherwise("template_text")
        ),
    }
    found = read(tmp_path, **changed)
    assert found.tables["contacts"]["industry"].to_list()[:2] == [None, "retail"]
    assert found.tables["campaigns"]["campaign_name"].to_list() == ["Spring {contact details}", "Autumn"]
    template = found.tables["campaign_steps"]["template_text"][0]
    assert template == "Hi {first_name}, call {contact details} or {contact details}"
    told = {one.column: one.became for facts in found.files.values() for one in facts.personal}
    assert told == {"industry": "emptied", "campaign_name": "masked", "template_text": "masked"}
    assert clean_outreach(found.tables, known_until=at(400)).gate.verdict == "ready"


def test_a_template_with_the_senders_number_in_every_row_is_masked_and_not_lost(tmp_path: Path) -> None:
    steps = clean_sources()["campaign_steps"].with_columns(template_text=pl.lit(f"Call me: {PHONE}"))
    found = read(tmp_path, campaign_steps=steps).tables["campaign_steps"]
    assert found["template_text"].unique().to_list() == ["Call me: {contact details}"]


_EVENTS = "enrollment_id,step_id,event,event_time,recorded_time,response_text\n"
_REPLY = "E000,S1,replied,2025-03-04T00:00:00Z,2025-03-04T00:00:00Z,"


@pytest.mark.parametrize(
    "rows",
    [
        _REPLY + "Zebrafink, zwei, drei",
        _REPLY + '"Zebrafink',
        _REPLY + 'Zebra"fink',
        "Zebrafink,E000,S1,replied,2025-03-04T00:00:00Z,x",
        "E000,S1,replied,Zebrafink,2025-03-04T00:00:00Z,x",
        "E000,S1,replied,2025-03-04T00:00:00Z,Zebrafink,x",
        "E000,S1,Zebrafink,2025-03-04T00:00:00Z,2025-03-04T00:00:00Z,x",
    ],
)
def test_no_message_has_a_word_of_a_reply_wherever_it_stands(rows: str, tmp_path: Path) -> None:
    config = configured(tmp_path, written(tmp_path, engagement_logs=f"{_EVENTS}{rows}\n"))
    try:
        found = clean_outreach(read_outreach(config).tables)
        told = " ".join(finding.message for finding in found.gate.findings)
    except ContractError as error:
        told = str(error)
    assert "engagement_logs" in told
    assert "zebra" not in told.casefold()


def test_a_table_of_a_query_needs_the_home_that_has_its_snapshots(tmp_path: Path) -> None:
    config = configured(tmp_path, {**written(tmp_path), "contacts_path": "extracts://contacts"})
    with pytest.raises(ConfigError, match="contacts is delivered by a query"):
        read_outreach(config)


# ------------------------------------------------------------------------------------------------------- erased people


def counted(tables: Mapping[str, pl.DataFrame], contact: str, enrollment: str) -> int:
    """Rows that name a contact or an enrollment."""
    named = [
        frame.filter(pl.any_horizontal(pl.col(c).is_in([contact, enrollment]) for c in frame.columns if c in IDS))
        for frame in tables.values()
        if set(frame.columns) & set(IDS)
    ]
    return sum(frame.height for frame in named)


IDS = ("contact_id", "enrollment_id")


@pytest.mark.parametrize("known_by", ["C004", "E004"])
def test_erased_people_do_not_come_back_nor_what_refers_to_them(known_by: str, tmp_path: Path) -> None:
    config = configured(tmp_path, written(tmp_path))
    whole = read_outreach(config)
    forgotten = Forgotten().with_ids([known_by])
    found = read_outreach(config, forgotten=forgotten)
    assert counted(whole.tables, "C004", "E004") == 5
    assert counted(found.tables, "C004", "E004") == (0 if known_by == "C004" else 1)
    assert found.tables["engagement_logs"].height == whole.tables["engagement_logs"].height - 3
    assert found.files["engagement_logs"].notes["forgotten"] == 3
    home = Home(tmp_path / "home")
    forgotten.save(forgotten_file(home, "calls"))
    again = read_outreach(config, home=home)
    for name, frame in found.tables.items():
        assert_frame_equal(again.tables[name], frame)


def test_a_home_that_was_filled_under_another_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, home = written(tmp_path), Home(tmp_path / "home")
    monkeypatch.setenv("ELV_HASH_KEY", "k" * 40)
    hashed = configured(tmp_path, paths, privacy={"hashed_columns": ["contact_id"]})
    read_outreach(hashed, home=home)
    pl.DataFrame({"contact_id": ["x"]}).write_parquet(home.lake("calls") / "contacts.parquet", mkdir=True)
    monkeypatch.setenv("ELV_HASH_KEY", "x" * 40)
    with pytest.raises(ConfigError, match="under another key"):
        read_outreach(hashed, home=home)
