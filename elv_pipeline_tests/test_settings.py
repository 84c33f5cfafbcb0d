"""Configuration files: what they mean, and a message with file, key, value and rule for what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from elv_pipeline.config_file import load_config, parse_config
from elv_pipeline.errors import ConfigError
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_exports import Paths

MINIMAL = "paths:\n  leads_path: leads.csv\n"
OPTIONAL_PATHS = [name for name in Paths.model_fields if name != "leads_path"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    return folder / "mine.yaml"


def load(file: Path, text: str) -> PipelineConfig:
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def refusal(file: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(file, text)
    message = str(error.value)
    assert message.startswith(str(file))
    assert error.value.exit_code != 0
    return message


def test_defaults_are_the_documented_ones(file: Path) -> None:
    config = load(file, MINIMAL)
    assert (config.name, config.timezone, config.label_window_days, config.feature_lag_days) == (
        "lead_ads",
        "UTC",
        14,
        1,
    )
    assert (config.model.model_type, config.model.min_labelled_rows, config.model.min_positives) == ("auto", 200, 30)
    assert (config.model.search_candidates, config.model.monotone, config.model.learn_from_young) == (8, {}, False)
    assert (config.proof.rule, config.proof.accepted_leaks, config.reporting.unspoken) == (None, (), ())
    assert config.reporting.min_segment_leads == 30
    assert (config.label_column, config.probability_column) == ("qualified_within_14d", "p_qualified_14d")
    assert config.observed_from_moment is None
    assert config.origin_day_offset == 1


@pytest.mark.parametrize(
    ("environment", "setting", "asks"),
    [
        ("dev", "null", False),
        ("test", "null", False),
        ("prod", "null", True),
        ("prod", "false", False),
        ("dev", "true", True),
    ],
)
def test_a_person_is_asked_in_prod_unless_the_configuration_says_otherwise(
    file: Path, environment: str, setting: str, asks: bool
) -> None:
    text = f"{MINIMAL}environment: {environment}\npromotion:\n  require_approval: {setting}\n"
    assert load(file, text).asks_for_approval is asks
    assert load(file, f"{MINIMAL}environment: {environment}\n").asks_for_approval is (environment == "prod")


def test_gates_are_relative_unless_somebody_asks_for_absolute_ones(file: Path) -> None:
    promotion = load(file, MINIMAL).promotion
    assert (promotion.evidence, promotion.baseline, promotion.require_ready) == ("point", "campaign_rate", False)
    relative = (promotion.min_pr_auc_gain, promotion.max_champion_log_loss)
    assert relative == (0.05, 0.01)
    assert (promotion.max_calibration_error, promotion.max_miscalibrated_share) == (0.4, 0.2)
    assert (promotion.min_test_positives, promotion.forbid_leaks) == (10, True)
    absolute = promotion.absolute
    assert not absolute.enabled
    assert (absolute.min_roc_auc, absolute.min_lift_at_10pct) == (0.70, 2.0)
    assert (absolute.max_calibration_mae, absolute.max_calibration_mae_high_volume) == (0.10, 0.05)


def test_a_gate_is_turned_off_with_null(file: Path) -> None:
    names = [
        "min_pr_auc_gain",
        "max_champion_log_loss",
        "max_calibration_error",
        "max_miscalibrated_share",
        "min_test_positives",
    ]
    promotion = load(file, MINIMAL + "promotion:\n" + "".join(f"  {name}: null\n" for name in names)).promotion
    assert [getattr(promotion, name) for name in names] == [None] * len(names)


def test_directions_and_words_are_read_as_written(file: Path) -> None:
    text = MINIMAL + "model:\n  monotone: {'*_ctr_*': 1, ad_cpc_7d: -1}\nreporting:\n  unspoken: [zodiac]\n"
    config = load(file, text)
    assert config.model.monotone == {"*_ctr_*": 1, "ad_cpc_7d": -1}
    assert config.reporting.unspoken == ("zodiac",)


def test_every_optional_path_may_be_null(file: Path) -> None:
    config = load(file, MINIMAL + "".join(f"  {name}: null\n" for name in OPTIONAL_PATHS))
    assert config == load(file, MINIMAL)
    assert [getattr(config.paths, name) for name in OPTIONAL_PATHS] == [None] * len(OPTIONAL_PATHS)
    assert len(OPTIONAL_PATHS) == 12


def test_paths_resolve_against_the_file_and_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_DIR", "/srv/data")
    monkeypatch.setenv("PART", "2024")
    monkeypatch.chdir("/")
    text = (
        "paths:\n  leads_path: ../exports/leads.csv\n  ads_path: ${DATA_DIR}/${PART}/ads.csv\n  outcomes_path: /o.csv\n"
    )
    paths = load(file, text).paths
    assert paths.leads_path == str(tmp_path / "exports" / "leads.csv")
    assert paths.ads_path == "/srv/data/2024/ads.csv"
    assert paths.outcomes_path == "/o.csv"
    # The working folder plays no part, nor does the way the file was named.
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("configs/mine.yaml")).paths == paths


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_environment_variable_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("OLIST_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("OLIST_DIR", value)
    message = refusal(file, "paths:\n  leads_path: ${OLIST_DIR}/leads.csv\n")
    assert "paths.leads_path" in message
    assert "${OLIST_DIR}/leads.csv" in message
    assert "export OLIST_DIR=" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "  ad_path: x\n", ["paths.ad_path", "does not exist", "Did you mean paths.ads_path?"]),
        (MINIMAL + "time_zone: UTC\n", ["time_zone", "'UTC'", "Did you mean timezone?"]),
        (MINIMAL + "model:\n  model_typ: lgbm\n", ["model.model_typ", "'lgbm'", "Did you mean model.model_type?"]),
        (MINIMAL + "model_type: lgbm\n", ["model_type", "Did you mean model.model_type?"]),
        (MINIMAL + "min_positives: 5\n", ["min_positives", "Did you mean model.min_positives?"]),
        (
            MINIMAL + "contracts:\n  ads:\n    on_negativ_spend: drop\n",
            ["contracts.ads.on_negativ_spend", "Did you mean contracts.ads.on_negative_spend?"],
        ),
        (MINIMAL + "xyzzy_qwerty: 1\n", ["xyzzy_qwerty", "See configs/lead_ads.yaml for every key"]),
        ("name: x\n", ["paths: this key is required and missing"]),
        ("paths:\n  ads_path: a.csv\n", ["paths.leads_path: this key is required and missing"]),
        ("paths:\n", ["paths is None"]),
        ("paths:\n  leads_path: null\n", ["paths.leads_path is None"]),
        ("paths:\n  leads_path: ''\n", ["paths.leads_path is empty", "null"]),
        (
            MINIMAL + "contracts:\n  leads:\n    decimal_comma: true\n",
            ["contracts.leads.decimal_comma", "does not exist"],
        ),
        (MINIMAL + "source: Meta Ads\n", ["source is 'Meta Ads'"]),
        (MINIMAL + "engine: dask\n", ["engine is 'dask'", "'polars' or 'spark'"]),
        (MINIMAL + "timezone: Berlin\n", ["timezone is 'Berlin'", "IANA", "Europe/Berlin"]),
        (MINIMAL + "timezone: ../../etc/passwd\n", ["timezone", "IANA"]),
        (MINIMAL + "contracts:\n  leads:\n    naive_timezone: CEST2\n", ["contracts.leads.naive_timezone", "IANA"]),
        (MINIMAL + "name: Lead Ads\n", ["name is 'Lead Ads'", "lower-case"]),
        (MINIMAL + "name: ../up\n", ["name is '../up'", "lower-case"]),
        (MINIMAL + "label_window_days: 0\n", ["label_window_days is 0", "greater than or equal to 1"]),
        (MINIMAL + "feature_lag_days: -1\n", ["feature_lag_days is -1"]),
        (MINIMAL + "value_per_qualified: 0\n", ["value_per_qualified is 0", "greater than 0"]),
        (MINIMAL + "value_per_qualified: .inf\n", ["value_per_qualified is inf"]),
        (MINIMAL + "value_per_qualified: .nan\n", ["value_per_qualified is nan"]),
        (MINIMAL + "model:\n  model_type: xgboost\n", ["model.model_type is 'xgboost'", "lgbm", "logreg"]),
        (MINIMAL + "contracts:\n  ads:\n    on_negative_spend: keep\n", ["on_negative_spend is 'keep'", "drop"]),
        (MINIMAL + "model:\n  monotone: {ad_ctr_7d: 2}\n", ["model.monotone.ad_ctr_7d is 2", "-1 or 1"]),
        (MINIMAL + "model:\n  search_candidates: 51\n", ["model.search_candidates is 51", "less than or equal to 50"]),
        (MINIMAL + "promotion:\n  evidence: mean\n", ["promotion.evidence is 'mean'", "'point' or 'interval'"]),
        (MINIMAL + "promotion:\n  baseline: trees\n", ["promotion.baseline is 'trees'", "campaign_rate"]),
        (MINIMAL + "promotion:\n  max_calibration_error: 0\n", ["promotion.max_calibration_error is 0"]),
        (
            MINIMAL + "promotion:\n  absolute:\n    min_auc: 0.7\n",
            ["promotion.absolute.min_auc", "does not exist", "promotion.absolute.min_roc_auc"],
        ),
        (MINIMAL + "proof:\n  rule: ''\n", ["proof.rule is ''"]),
        (MINIMAL + "require_approval: true\n", ["require_approval", "Did you mean promotion.require_approval?"]),
        (MINIMAL + "org_id: 12\n", ["org_id is 12"]),
        (
            MINIMAL + "start_date: 2024-03-01\nend_date: 2024-02-01\n",
            ["end_date 2024-02-01 is before start_date 2024-03-01"],
        ),
        (
            MINIMAL + "observed_from: 2024-03-02\nobserved_until: 2024-03-01\n",
            ["observed_until 2024-03-01 is not after observed_from 2024-03-02"],
        ),
        (MINIMAL + "observed_until: 20240301\n", ["observed_until is 20240301", "2024-01-31"]),
        (MINIMAL + "observed_from: 01.03.2024\n", ["observed_from is '01.03.2024'", "2024-01-31"]),
    ],
)
def test_what_is_refused_names_key_value_and_rule(file: Path, text: str, expected: list[str]) -> None:
    message = refusal(file, text)
    for part in expected:
        assert part in message


OUTREACH = "problem: outreach\npaths:\n" + "".join(
    f"  {table}_path: exports/{table}.csv\n"
    for table in ("contacts", "campaigns", "campaign_steps", "enrollments", "engagement_logs")
)


def test_the_paths_of_outreach_resolve_and_leads_are_none_of_them(file: Path) -> None:
    paths = load(file, OUTREACH + "  outcomes_path: null\n").paths
    assert paths.of("engagement_logs") == str(file.parent / "exports" / "engagement_logs.csv")
    assert (paths.leads_path, paths.outcomes_path) == (None, None)
    with pytest.raises(ConfigError, match=r"paths\.outcomes_path is missing"):
        paths.of("outcomes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OUTREACH.replace("  contacts_path: exports/contacts.csv\n", ""), "paths.contacts_path: this key is required"),
        (OUTREACH + "  ads_path: ads.csv\n", "paths.ads_path belongs to another problem than outreach"),
        (OUTREACH + "contracts:\n  leads: {null_values: [x]}\n", "contracts.leads belongs to another problem"),
        (MINIMAL + "contracts:\n  contacts: {null_values: [x]}\n", "contracts.contacts belongs to another problem"),
        (
            MINIMAL + "extracts:\n  contacts: contacts.sql\n",
            "extracts.contacts belongs to another problem than lead_ads",
        ),
        (MINIMAL + "privacy:\n  hashed_columns: [contact_id]\n", "contact_id is no column of lead_ads"),
        (OUTREACH + "privacy:\n  hashed_columns: [lead_id]\n", "It can hash contact_id, enrollment_id, campaign_id"),
        (OUTREACH + "contracts:\n  contacts: {on_duplicate: drop}\n", "contracts.contacts.on_duplicate"),
        (OUTREACH + "contracts:\n  contacts: {naive_timezone: Berlin}\n", "contracts.contacts.naive_timezone"),
    ],
)
def test_a_setting_of_the_other_problem_is_refused(file: Path, text: str, expected: str) -> None:
    assert expected in refusal(file, text)


def test_every_mistake_is_told_at_once(file: Path) -> None:
    message = refusal(file, "paths:\n  ads_path: a\nlabel_window_days: 0\nnmae: x\n")
    assert [line.removeprefix(f"{file}: ").split(":")[0].split(" ")[0] for line in message.splitlines()] == [
        "label_window_days",
        "paths.leads_path",
        "nmae",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paths: [1, 2\n", "line"),
        ("paths:\n\tleads_path: x\n", "line"),
        (MINIMAL + "name: a\nname: b\n", "key 'name' is written twice"),
        (MINIMAL + "start_date: 2024-02-30\n", "2024-02-30: day is out of range"),
        (MINIMAL + "? [a, b]\n: 1\n", "unhashable key"),
        (MINIMAL + "  leads_path: other.csv\n", "key 'leads_path' is written twice"),
        ("", "holds NoneType; it must hold keys"),
        ("- a\n- b\n", "holds list; it must hold keys"),
        ("just words\n", "holds str; it must hold keys"),
        (MINIMAL + "name: !!python/object/apply:os.getcwd []\n", "python/object"),
    ],
)
def test_what_is_not_a_configuration_is_refused_with_its_place(file: Path, text: str, expected: str) -> None:
    assert expected in refusal(file, text)


def test_a_missing_file_and_a_file_in_another_encoding_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such configuration file\. Copy configs/lead_ads\.yaml"):
        load_config(file)
    file.write_bytes(MINIMAL.encode("utf-16"))
    with pytest.raises(ConfigError, match="not readable as YAML"):
        load_config(file)


@pytest.mark.parametrize("quote", ["", "'"])
def test_dates_are_whole_local_days_quoted_or_not(file: Path, quote: str) -> None:
    text = MINIMAL + f"timezone: Europe/Berlin\nobserved_from: {quote}2024-03-31{quote}\n"
    config = load(file, text + f"observed_until: {quote}2024-03-31{quote}\n")
    # The day on which the clocks go forward has 23 hours.
    assert config.observed_from_moment == datetime(2024, 3, 30, 23, tzinfo=UTC)
    assert config.observed_until_moment == datetime(2024, 3, 31, 22, tzinfo=UTC)
    assert config.observed_until == date(2024, 3, 31)


def test_moments_keep_their_zone_and_naive_ones_are_local(file: Path) -> None:
    text = MINIMAL + "timezone: Europe/Berlin\nobserved_from: 2024-01-01T12:00:00\n"
    config = load(file, text + "observed_until: '2024-07-01T12:00:00+05:00'\n")
    assert config.observed_from_moment == datetime(2024, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert config.observed_until_moment == datetime(2024, 7, 1, 7, tzinfo=UTC)


def test_overrides_replace_top_level_keys(file: Path) -> None:
    file.write_text(MINIMAL + "name: before\n", encoding="utf-8")
    assert load_config(file, overrides={"name": "after"}).name == "after"
    with pytest.raises(ConfigError, match="nmae"):
        load_config(file, overrides={"nmae": "after"})


def test_the_identity_is_the_data_and_the_calendar_and_nothing_else(file: Path) -> None:
    identity = load(file, MINIMAL).data_identity()
    for same in (
        "value_per_qualified: 9\n",
        "end_date: 2024-01-01\n",
        "model:\n  seed: 8\n",
        "observed_from: 2024-01-01\n",
    ):
        assert load(file, MINIMAL + same).data_identity() == identity, same
    for other in (
        "org_id: x\n",
        "timezone: Europe/Berlin\n",
        "start_date: 2024-01-01\n",
        "schedules:\n  origin_weekday: friday\n",
        "  ads_path: ads.csv\n",
    ):
        assert load(file, MINIMAL + other).data_identity() != identity, other


def test_a_configuration_cannot_be_changed_after_loading(file: Path) -> None:
    config = load(file, MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"  # type: ignore[misc]


def test_addresses_and_globs_survive_while_paths_are_made_absolute(tmp_path: Path) -> None:
    paths = {"leads_path": "s3://bucket/leads/", "ads_path": "exports/ads_*.csv"}
    found = parse_config({"paths": paths}, source=tmp_path / "config.yaml").paths
    assert found.leads_path == "s3://bucket/leads/"
    assert found.ads_path == str(tmp_path / "exports/ads_*.csv")


def query_in(folder: Path) -> Path:
    file = folder / "leads.sql"
    file.write_text("SELECT 1", encoding="utf-8")
    return file


def test_a_query_takes_the_place_of_a_path(tmp_path: Path) -> None:
    query = query_in(tmp_path)
    document = {
        "start_date": "2026-01-05",
        "databases": {"source": {"url_variable": "ELV_SOURCE_URL"}},
        "extracts": {"leads": "leads.sql"},
    }
    config = parse_config(document, source=tmp_path / "c.yaml")
    assert config.paths.leads_path == "extracts://leads"
    assert config.extracts.queries == {"leads": str(query)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paths": {"leads_path": "leads.csv"}}, "extracts.leads and paths.leads_path are both set"),
        ({"extracts": {"leads": "other.sql"}}, "there is no file"),
        ({"databases": {}}, "extracts need databases.source"),
        ({"start_date": None}, "extracts need start_date"),
        ({"databases": {"source": {"url_variable": "postgresql://user:secret@host"}}}, "url_variable"),
    ],
)
def test_an_extract_that_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    query_in(tmp_path)
    document = {
        "start_date": "2026-01-05",
        "databases": {"source": {"url_variable": "ELV_SOURCE_URL"}},
        "extracts": {"leads": "leads.sql"},
    }
    with pytest.raises(ConfigError, match=said):
        parse_config({**document, **changes}, source=tmp_path / "c.yaml")


def test_an_email_without_addresses_is_refused(tmp_path: Path) -> None:
    channel = {"kind": "email", "url_variable": "ELV_SMTP_URL"}
    with pytest.raises(ConfigError, match="needs 'to' and 'sender'"):
        parse_config({"paths": {"leads_path": "l.csv"}, "alerts": {"channels": [channel]}}, source=tmp_path / "c.yaml")


def test_a_secret_written_in_the_place_of_its_variable_is_not_repeated(tmp_path: Path) -> None:
    source = {"source": {"url_variable": "postgresql://user:geheim@host/crm"}}
    with pytest.raises(ConfigError) as refused:
        parse_config({"paths": {"leads_path": "l.csv"}, "databases": source}, source=tmp_path / "c.yaml")
    assert "databases.source.url_variable" in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_secret_under_a_key_that_does_not_exist_is_not_repeated(tmp_path: Path) -> None:
    source = {"source": {"url": "postgresql://user:geheim@host/crm"}}
    with pytest.raises(ConfigError) as refused:
        parse_config({"paths": {"leads_path": "l.csv"}, "databases": source}, source=tmp_path / "c.yaml")
    assert "databases.source.url" in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_a_path_that_would_store_a_secret_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t-value-of-sas")
    with pytest.raises(ConfigError, match=r"paths\.leads_path") as refused:
        parse_config({"paths": {"leads_path": "https://host/leads.csv?sig=${TOKEN}"}}, source=tmp_path / "c.yaml")
    assert "s3cr3t-value" not in str(refused.value)
