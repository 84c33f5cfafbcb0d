from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from elv_pipeline.errors import ConfigError
from elv_pipeline.synthetic.outreach.dirt import DUPLICATE, KINDS, MOJIBAKE, REPLY_BEFORE_SEND
from elv_pipeline.synthetic.outreach.organisation import (
    EXPORTS,
    Organisation,
    OutreachSpec,
    generate_outreach,
    write_outreach,
)
from elv_pipeline.synthetic.outreach.templates import TEMPLATES

SPEC = OutreachSpec(contacts=2_500)
KEYS = ["enrollment_id", "step_id"]
OUTREACH_COLUMNS = {
    "contacts": [
        "contact_id",
        "source",
        "qualification_status",
        "region",
        "industry",
        "seniority",
        "recorded_time",
        "full_name",
        "email",
        "phone_number",
    ],
    "campaigns": ["campaign_id", "campaign_name", "started_time"],
    "campaign_steps": [
        "step_id",
        "campaign_id",
        "position",
        "channel",
        "template_id",
        "template_text",
        "wait_days",
        "decision_point",
        "valid_from",
        "recorded_time",
    ],
    "enrollments": ["org_id", "enrollment_id", "contact_id", "campaign_id", "enrolled_time"],
    "engagement_logs": ["enrollment_id", "step_id", "event", "event_time", "recorded_time", "response_text"],
    "outcomes": ["enrollment_id", "outcome", "outcome_time", "recorded_time", "withdrawn_time", "value"],
}


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return generate_outreach(SPEC)


@pytest.fixture(scope="module")
def wide(organisation: Organisation) -> pl.DataFrame:
    """First time of each event by enrollment and step, with what the step is."""
    steps = organisation.campaign_steps.select("step_id", "position", "channel", "decision_point")
    return (
        organisation.engagement_logs.pivot("event", index=KEYS, values="event_time", aggregate_function="min")
        .join(steps, on="step_id", how="left", validate="m:1")
        .sort("enrollment_id", "position")
    )


def checksums(folder: Path, *, seed: int) -> dict[str, str]:
    paths = write_outreach(generate_outreach(OutreachSpec(contacts=300, seed=seed, dirt=0.02)), folder)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (checksums(tmp_path / name, seed=seed) for name, seed in (("a", 7), ("b", 7), ("c", 8)))
    assert first == again
    fixed = {"campaigns", "campaign_steps"}  # nothing in the plan is drawn
    assert {name for name in EXPORTS if first[name] == other[name]} == fixed
    assert {path.name for path in (tmp_path / "a").iterdir()} == {f"{name}.csv" for name in EXPORTS}


def test_the_frames_have_the_declared_columns_and_types(organisation: Organisation) -> None:
    assert {name: getattr(organisation, name).columns for name in EXPORTS} == OUTREACH_COLUMNS
    for name in EXPORTS:
        for column, dtype in getattr(organisation, name).schema.items():
            if column.endswith("_time") or column == "valid_from":
                assert dtype == pl.Datetime("us", "UTC"), (name, column)
            if column.endswith("_id"):
                assert dtype == pl.String, (name, column)
    assert organisation.campaign_steps.schema["position"] == pl.Int64
    assert organisation.outcomes.schema["value"] == pl.Float64


def test_every_reference_is_known_and_every_key_is_unique(organisation: Organisation) -> None:
    def ids(table: str, column: str) -> pl.Series:
        return getattr(organisation, table)[column]

    for table, key in (
        ("contacts", "contact_id"),
        ("campaigns", "campaign_id"),
        ("campaign_steps", "step_id"),
        ("enrollments", "enrollment_id"),
    ):
        assert ids(table, key).is_unique().all()
    assert set(ids("enrollments", "contact_id")) == set(ids("contacts", "contact_id"))
    assert set(ids("enrollments", "campaign_id")) == set(ids("campaigns", "campaign_id"))
    for table in ("engagement_logs", "outcomes"):
        assert set(ids(table, "enrollment_id")) <= set(ids("enrollments", "enrollment_id"))
    assert not organisation.engagement_logs.select(*KEYS, "event").is_duplicated().any()
    assert not organisation.outcomes.select("enrollment_id", "outcome").is_duplicated().any()
    of_enrollment = organisation.enrollments.select("enrollment_id", "campaign_id")
    of_step = organisation.campaign_steps.select("step_id", of_step="campaign_id")
    joined = organisation.engagement_logs.join(of_enrollment, on="enrollment_id").join(of_step, on="step_id")
    assert joined.height == organisation.engagement_logs.height
    assert (joined["campaign_id"] == joined["of_step"]).all()


def test_events_are_recorded_later_by_two_days_at_most_and_before_the_end(organisation: Organisation) -> None:
    for table, time in (("engagement_logs", "event_time"), ("outcomes", "outcome_time")):
        rows = getattr(organisation, table)
        lag = rows["recorded_time"] - rows[time]
        assert timedelta(0) <= lag.min() <= lag.max() <= timedelta(days=2, seconds=1)
        assert lag.max() > timedelta(hours=12)
        assert rows["recorded_time"].max() < SPEC.end
        assert rows[time].is_sorted()


def test_contacts_are_known_before_they_are_enrolled(organisation: Organisation) -> None:
    joined = organisation.enrollments.join(organisation.contacts, on="contact_id", validate="m:1")
    assert joined.filter(pl.col("recorded_time") > pl.col("enrolled_time")).is_empty()
    assert 0 < organisation.contacts["recorded_time"].null_count() < 0.05 * organisation.contacts.height


def test_reactions_follow_what_they_react_to(wide: pl.DataFrame) -> None:
    recorded = wide.filter(pl.col("sent").is_not_null())
    for event in ("delivered", "opened", "replied", "called", "bounced"):
        assert recorded[event].null_count() < recorded.height, f"no {event} at all"
        assert recorded.filter(pl.col(event) < pl.col("sent")).is_empty()
    both = recorded.filter(pl.col("opened").is_not_null() & pl.col("replied").is_not_null())
    assert both.filter(pl.col("replied") < pl.col("opened")).is_empty()
    assert recorded.filter(pl.col("bounced").is_not_null() & pl.col("opened").is_not_null()).is_empty()
    assert recorded.filter((pl.col("channel") == "call") & pl.col("opened").is_not_null()).is_empty()
    assert set(recorded.filter(pl.col("called").is_not_null())["channel"]) == {"call"}


def test_decision_points_stop_the_sequence(organisation: Organisation, wide: pl.DataFrame) -> None:
    answered = pl.min_horizontal("replied", "called").cum_min().forward_fill().shift(1)
    earlier = wide.with_columns(answered=answered.over("enrollment_id")).filter(pl.col("sent").is_not_null())
    stops = earlier.filter(pl.col("decision_point") == "stop_on_reply")
    assert stops.height > 1_000
    assert stops.filter(pl.col("answered") <= pl.col("sent")).is_empty()
    passes = earlier.filter(pl.col("decision_point") == "none")
    assert not passes.filter(pl.col("answered") <= pl.col("sent")).is_empty()
    booked = organisation.outcomes.filter(pl.col("outcome") == "booked_call").select("enrollment_id", "outcome_time")
    after = earlier.join(booked, on="enrollment_id", validate="m:1").filter(pl.col("outcome_time") <= pl.col("sent"))
    assert after.is_empty()


def test_a_branch_needs_an_opening(organisation: Organisation) -> None:
    paths, plan = organisation.world.paths, organisation.world.plan
    campaign = organisation.world.population.campaign
    sent = paths.sent & (plan.decision[campaign] == 2)
    opened = np.minimum.accumulate(paths.time[0], axis=1)
    row, position = np.nonzero(sent)
    assert len(row) > 20
    assert (opened[row, position - 1] <= paths.slot[row, position]).all()


@pytest.mark.parametrize("rates", [(0.12, 0.10, 0.05), (0.05, 0.08, 0.02)])
def test_outcomes_are_as_frequent_as_the_spec_says(rates: tuple[float, float, float]) -> None:
    booked, qualified, converted = rates
    spec = OutreachSpec(contacts=4_000, booked_call_rate=booked, qualified_rate=qualified, converted_rate=converted)
    paths = generate_outreach(spec).world.paths
    for name, rate in zip(("booked", "qualified", "converted"), rates, strict=True):
        found = np.isfinite(getattr(paths, name)).mean()
        assert abs(found - rate) < 4 * np.sqrt(2 * rate * (1 - rate) / len(paths.booked)), name


def test_the_period_ends_and_later_outcomes_are_missing(organisation: Organisation) -> None:
    paths = organisation.world.paths
    happened = int(np.isfinite(paths.converted).sum())
    recorded = organisation.outcomes.filter(pl.col("outcome") == "converted").height
    assert 0.5 * happened < recorded < happened
    inside = int((paths.converted < SPEC.days - 2.01).sum())
    assert recorded >= inside


def test_values_belong_to_conversions_and_grow_with_the_status(organisation: Organisation) -> None:
    outcomes = organisation.outcomes
    assert (
        outcomes.filter(pl.col("outcome") != "converted")["value"].null_count()
        == outcomes.height - outcomes["value"].count()
    )
    converted = outcomes.filter(pl.col("outcome") == "converted")
    assert converted["value"].null_count() == 0
    assert converted["value"].min() > 0
    withdrawn = outcomes.filter(pl.col("withdrawn_time").is_not_null())
    assert 0 < withdrawn.height < 0.05 * outcomes.height
    assert (withdrawn["withdrawn_time"] > withdrawn["recorded_time"]).all()


def test_replies_have_text_in_two_languages_and_a_few_carry_personal_data(organisation: Organisation) -> None:
    log = organisation.engagement_logs
    spoken = log.filter(pl.col("event").is_in(["replied", "called"]))
    assert spoken["response_text"].str.len_chars().min() > 0
    assert log.filter(~pl.col("event").is_in(["replied", "called"]))["response_text"].null_count() == (
        log.height - spoken.height
    )
    text = spoken["response_text"]
    german = text.str.contains(r"\b(?:Das|Wir|Ich|Danke|Nein|Bitte|Gerne|Guten|Zur|Ja)\b").mean()
    assert 0.25 < german < 0.45
    personal = text.str.contains(r"@example\.invalid|\+1-202-555-01\d\d").mean()
    assert 0.03 < personal < 0.09
    assert not text.str.contains(r"\{").any()
    assert 0.2 < text.str.contains("?", literal=True).mean() < 0.6


def test_text_and_personal_columns_can_be_left_out() -> None:
    bare = generate_outreach(OutreachSpec(contacts=300, response_text=False, personal_columns=False))
    assert bare.engagement_logs["response_text"].null_count() == bare.engagement_logs.height
    assert bare.contacts.columns == OUTREACH_COLUMNS["contacts"][:7]


def test_randomised_campaigns_are_a_coin_and_the_others_choose(organisation: Organisation) -> None:
    wide = organisation.propensities.pivot("campaign_id", index="enrollment_id", values="probability")
    shares = wide.drop("enrollment_id")
    assert np.allclose(shares.sum_horizontal().to_numpy(), 1)
    for campaign in organisation.randomised:
        assert shares[campaign].n_unique() == 1
        assert shares[campaign][0] == pytest.approx(SPEC.randomised_share / 2)
    others = [name for name in shares.columns if name not in organisation.randomised]
    assert all(shares[name].max() > 1.5 * shares[name].min() for name in others)
    counts = organisation.enrollments["campaign_id"].value_counts()
    for campaign, count in counts.rows():
        assert abs(count - shares[campaign].sum()) < 5 * np.sqrt(shares[campaign].sum())


def test_without_confounding_every_campaign_gets_the_same_contacts() -> None:
    fair = generate_outreach(OutreachSpec(contacts=300, confounding=0))
    by_campaign = fair.propensities.group_by("campaign_id").agg(pl.col("probability").n_unique())
    assert (by_campaign["probability"] == 1).all()


@pytest.fixture(scope="module")
def dirty() -> Organisation:
    return generate_outreach(OutreachSpec(contacts=2_500, dirt=0.03))


def test_dirt_is_of_the_declared_kinds_and_as_listed(organisation: Organisation, dirty: Organisation) -> None:
    assert organisation.dirt.is_empty()
    assert set(dirty.dirt["kind"]) == set(KINDS)
    log = dirty.engagement_logs
    doubled = int(log.is_duplicated().sum()) // 2
    listed = dirty.dirt.group_by("kind", "table").agg(pl.col("rows").sum())
    rows = {(kind, table): count for kind, table, count in listed.rows()}
    assert rows[DUPLICATE, "engagement_logs"] == doubled == round(0.03 * (log.height - doubled))
    replies = log.unique().filter(event="replied")
    sent = log.unique().filter(pl.col("event") == "sent").select(*KEYS, sent="event_time")
    early = replies.join(sent, on=KEYS, validate="m:1").filter(pl.col("event_time") < pl.col("sent"))
    assert rows[REPLY_BEFORE_SEND, "engagement_logs"] == early.height > 5
    broken = dirty.contacts.filter(pl.col("region").str.contains("Ã"))
    listed_contacts = dirty.dirt.filter((pl.col("kind") == MOJIBAKE) & (pl.col("table") == "contacts"))["key"]
    assert set(broken["contact_id"]) == set(listed_contacts)
    assert broken.height > 0
    assert set(broken["region"].str.encode("hex")) <= {
        name.encode().decode("latin-1").encode().hex() for name in ("München", "Zürich")
    }


def test_dirt_changes_nothing_else(organisation: Organisation, dirty: Organisation) -> None:
    assert dirty.outcomes.unique(maintain_order=True).equals(organisation.outcomes)
    assert dirty.enrollments.equals(organisation.enrollments)
    clean = pl.col("event") != "replied"
    unchanged = dirty.engagement_logs.unique(maintain_order=True).filter(clean).drop("response_text")
    assert unchanged.equals(organisation.engagement_logs.filter(clean).drop("response_text"))


def test_templates_differ_as_their_texts_do() -> None:
    weak, strong = TEMPLATES["tpl_brochure"], TEMPLATES["tpl_follow_up"]
    assert (weak.words > 90, weak.asks, weak.personal) == (True, False, False)
    assert (strong.words > 90, strong.asks, strong.personal) == (False, True, True)
    assert weak.effect == min(template.effect for template in TEMPLATES.values())
    assert weak.own_effect == 0  # nothing but what can be read in it
    assert not any("@" in template.text for template in TEMPLATES.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"contacts": 10}, "contacts is 10; contacts must be at least 200"),
        ({"campaigns": 7}, "campaigns is 7; campaigns must be at least 8"),
        ({"steps_per_campaign": 4}, "steps_per_campaign is 4; steps_per_campaign must be from 5 to 8"),
        ({"days": 10}, "days is 10"),
        ({"org_id": " "}, "org_id is ' '"),
        ({"confounding": 3.0}, "confounding is 3.0; confounding must be from 0 to 2"),
        ({"randomised_share": 1.0}, "randomised_share is 1.0"),
        ({"booked_call_rate": 0.5}, "booked_call_rate is 0.5; booked_call_rate must be above 0 and at most 0.2"),
        ({"converted_rate": 0.1}, "converted_rate is 0.1; converted_rate must be above 0 and at most 0.072"),
        ({"trend_break_at": 1.5}, "trend_break_at is 1.5"),
        ({"dirt": 0.5}, "dirt is 0.5; dirt must be from 0 to 0.2"),
    ],
)
def test_a_spec_that_cannot_be_made_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OutreachSpec(**wrong)  # type: ignore[arg-type]


def test_a_failed_write_leaves_the_earlier_file_whole(
    tmp_path: Path, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write_outreach(organisation, tmp_path)["contacts"].read_bytes()

    def dies(_frame: pl.DataFrame, path: Path, **_: object) -> None:
        path.write_text("half a fi")
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_csv", dies)
    with pytest.raises(OSError, match="disk full"):
        write_outreach(organisation, tmp_path)
    assert (tmp_path / "contacts.csv").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from elv_pipeline.synthetic.outreach.organisation import *\n"
        "write_outreach(generate_outreach(OutreachSpec(contacts=300, seed=7, dirt=0.02)), pathlib.Path(sys.argv[1]))\n"
        "sys.exit('sklearn' in sys.modules or 'dagster' in sys.modules)"
    )
    single = tmp_path / "single"
    environment = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(single)], check=True, env=environment, cwd=root)
    written = {name: hashlib.sha256((single / f"{name}.csv").read_bytes()).hexdigest() for name in EXPORTS}
    assert written == checksums(tmp_path / "many", seed=7)
