from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from elv_pipeline.publishing.scores.writing import open_database, score_rows, upsert_scores
from elv_pipeline_tests.command_line import Answer, elv, outputs

ADS = "date,campaign_id,campaign_name,adset_id,adset_name,ad_id,ad_name,impressions,clicks,spend\n" + "".join(
    f"2025-01-{day:02d},C1,One,S1,Set,A1,Ad,100,10,12.34\n" for day in range(1, 21)
)
LEADS = "lead_id,created_time,ad_id\n" + "".join(f"L{day:02d},2025-01-{day:02d}T10:00:00Z,A1\n" for day in range(2, 20))
OUTCOMES = "lead_id,qualified_time\nL02,2025-01-05T10:00:00Z\nL03,\n"
HEAVY = {"altair", "dagster", "lightgbm", "mlflow", "pandas", "pandera", "polars", "scipy", "sklearn", "sqlalchemy"}
CONFIG = {
    "name": "tiny",
    "start_date": "2025-01-01",
    "paths": {"leads_path": "leads.csv", "ads_path": "ads.csv", "outcomes_path": "outcomes.csv"},
}


@dataclass(frozen=True)
class World:
    """A folder of good exports, and a home that has outputs of them."""

    folder: Path
    home: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def write(self, **files: str | bytes) -> None:
        for name, content in files.items():
            path = self.folder / f"{name}.csv"
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def configure(self, **keys: object) -> Path:
        self.config.write_text(yaml.safe_dump({**CONFIG, **keys}))
        return self.config

    def run(self, command: str, *arguments: object, home: Path | None = None) -> Answer:
        return elv(command, "--config", self.config, *arguments, home=home or self.home)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("exports"), tmp_path_factory.mktemp("home"))
    world.write(ads=ADS, leads=LEADS, outcomes=OUTCOMES)
    world.configure()
    assert world.run("build-table").code == 0
    scored = pl.DataFrame(
        {"lead_id": ["L02"], "p": [0.1], "elv": [1.0], "split": "score", "calibration_method": "sigmoid"}
    ).with_columns(
        pl.lit(datetime(2025, 1, 2, tzinfo=UTC)).alias("created_time").dt.cast_time_unit("us"),
        pl.lit(datetime(2025, 1, 2, tzinfo=UTC)).alias("cutoff").dt.cast_time_unit("us"),
        model_version=pl.lit("1"),
        run_id=pl.lit("r"),
    )
    engine = open_database(f"sqlite:///{world.home / 'scores.db'}")
    moment = datetime(2025, 1, 3, tzinfo=UTC)
    rows = score_rows(scored, org_id="default", label_column="y", probability_column="p", written_at=moment)
    upsert_scores(engine, rows)
    engine.dispose()
    return world


@pytest.fixture
def world(made: World) -> World:
    """The same world with its exports and its configuration as they were."""
    made.write(ads=ADS, leads=LEADS, outcomes=OUTCOMES)
    made.configure()
    return made


def fresh(tmp_path: Path) -> World:
    """Good exports and a home where nothing has happened yet."""
    folder = tmp_path / "exports"
    folder.mkdir()
    world = World(folder, tmp_path / "home")
    world.write(ads=ADS, leads=LEADS, outcomes=OUTCOMES)
    world.configure()
    return world


def refused(answer: Answer, *, code: int) -> str:
    """The message of a refusal: one on stderr, no trace, and the code that scripts see."""
    assert (answer.code, "Traceback" in answer.err + answer.out) == (code, False), answer.err
    assert answer.err.startswith("error: ")
    return answer.err


# Quick answers


@pytest.mark.parametrize("command", ["--help", "doctor", "runs"])
def test_quick_commands_import_nothing_heavy(command: str, tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['elv', sys.argv[1]]\n"
        "from elv_pipeline.cli import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code, left.code\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, command],
        env={"ELV_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.splitlines()[-1]
    assert loaded == ("heavy: ['sqlalchemy']" if command == "runs" else "heavy: []")
    assert time.monotonic() - begun < 10  # about 0.5 s on an idle machine, and 5 s with any of the heavy ones


def test_help_lists_every_command(tmp_path: Path) -> None:
    shown = elv("--help", home=tmp_path).out
    for command in ("validate", "build-table", "train", "score", "batch-score", "demo", "runs", "doctor", "ui"):
        assert f" {command} " in shown


def test_doctor_passes_here_and_names_what_is_wrong_elsewhere(tmp_path: Path) -> None:
    good = elv("doctor", home=tmp_path / "home")
    assert (good.code, good.out.count("ok  ")) == (0, 7)
    (tmp_path / "file").write_text("")
    bad = elv("doctor", home=tmp_path / "file" / "home")
    assert bad.code == 1
    assert "FAIL home:" in bad.out
    assert "set ELV_HOME to a folder that is" in bad.out


def test_a_home_without_runs_says_how_to_begin(tmp_path: Path) -> None:
    answer = elv("runs", home=tmp_path)
    assert (answer.code, answer.out.startswith("No run yet.")) == (0, True)


def test_runs_are_listed_newest_first_with_ids_that_can_be_copied(world: World) -> None:
    found = [json.loads(file.read_text()) for file in world.home.glob("runs/*/metadata.json")]
    newest_first = [run["run_id"] for run in sorted(found, key=lambda run: run["utc_timestamp"], reverse=True)]
    lines = [line for line in elv("runs", home=world.home).out.splitlines() if "tiny" in line]
    assert len(lines) == len(newest_first) >= 2
    for run_id, line in zip(newest_first, lines, strict=True):
        assert run_id in line


# Bad input: what, which file with which content, and what the message must say (place, value, rule, remedy)

Change = Callable[[str], str | bytes]
BAD: dict[str, tuple[str, Change, tuple[str, ...]]] = {
    "missing column": (
        "leads",
        lambda text: text.replace("created_time", "created_at"),
        ("leads.csv", "'created_time' is missing", "found: 'lead_id', 'created_at', 'ad_id'", "Add or rename"),
    ),
    "unparsable time": (
        "leads",
        lambda text: text.replace("2025-01-07T10:00:00Z", "yesterday"),
        ("leads.csv row 7", "'aaaaaaaaa' (not shown", "ISO 8601", "contracts.leads.timestamp_format"),
    ),
    "ambiguous day and month": (
        "leads",
        lambda text: text.replace("2025-01-", "").replace("T10:00:00Z", "/03/2025 10:00"),
        ("leads.csv row 2", "'02/03/2025 10:00'", "never guessed", "timestamp_format: '%d/%m/%Y %H:%M'"),
    ),
    "mixed time zones": (
        "leads",
        lambda text: text.replace("2025-01-07T10:00:00Z", "2025-01-07T10:00:00"),
        ("leads.csv row 7", "'2025-01-07T10:00:00'", "mixed time zones", "contracts.leads.naive_timezone"),
    ),
    "negative spend": (
        "ads",
        lambda text: text.replace("2025-01-05,C1,One,S1,Set,A1,Ad,100,10,12.34", "2025-01-05,C1,,S1,,A1,,100,10,-3.20"),
        ("ads.csv row 6", "spend is -3.20", "must be >= 0", "contracts.ads.on_negative_spend: drop"),
    ),
    "clicks above impressions": (
        "ads",
        lambda text: text.replace("2025-01-05,C1,One,S1,Set,A1,Ad,100,10", "2025-01-05,C1,One,S1,Set,A1,Ad,100,101"),
        ("ads.csv row 6", "clicks is 101", "must not exceed impressions (100)", "on_clicks_above_impressions: drop"),
    ),
    "duplicate lead": (
        "leads",
        lambda text: text + "L05,2025-01-19T10:00:00Z,A1\n",
        ("leads.csv row 20", "'L05', as in row 5", "must be unique", "contracts.leads.on_duplicate: drop"),
    ),
    "duplicate day of an ad": (
        "ads",
        lambda text: text + "2025-01-05,C1,One,S1,Set,A1,Ad,1,1,1\n",
        ("ads.csv row 22", "2025-01-05", "'A1'", "as in row 6", "contracts.ads.on_duplicate: drop"),
    ),
    "duplicate outcome": (
        "outcomes",
        lambda text: text + "L02,2025-01-06T10:00:00Z\n",
        ("outcomes.csv row 4", "'L02', as in row 2", "contracts.outcomes.on_duplicate: drop"),
    ),
    "lead before the start": (
        "leads",
        lambda text: text + "L99,2024-12-31T10:00:00Z,A1\n",
        ("leads.csv row 20", "2024-12-31T10:00:00Z", "before start_date 2025-01-01", "on_before_start: drop"),
    ),
    "outcome of an unknown lead": (
        "outcomes",
        lambda text: text + "LX1,2025-01-06T10:00:00Z\n",
        ("outcomes.csv row 4", "'LX1'", "must belong to a lead of leads.csv", "on_unknown_lead: drop"),
    ),
    "outcome before its lead": (
        "outcomes",
        lambda text: text + "L10,2025-01-06T10:00:00Z\n",
        ("outcomes.csv row 4", "2025-01-06T10:00:00", "must not precede its lead 'L10'", "on_before_lead: drop"),
    ),
    "no byte of leads": ("leads", lambda _: "", ("leads.csv", "0 bytes", "header is needed", "Export it again")),
    "no row of leads": ("leads", lambda text: text.splitlines()[0], ("leads.csv", "no rows", "Export again")),
    "no byte of ads": ("ads", lambda _: "", ("ads.csv", "0 bytes", "paths.ads_path to null")),
    "no byte of outcomes": ("outcomes", lambda _: "", ("outcomes.csv", "0 bytes", "paths.outcomes_path to null")),
    "decimal comma": (
        "ads",
        lambda text: text.replace(",", ";").replace(".", ","),
        ("ads.csv row 2: spend is", "contracts.ads.decimal_comma: true"),
    ),
}
GOOD = {"ads": ADS, "leads": LEADS, "outcomes": OUTCOMES}


@pytest.mark.parametrize("what", BAD)
def test_bad_exports_are_refused_and_leave_earlier_outputs_as_they_were(world: World, what: str) -> None:
    table, change, fragments = BAD[what]
    before = outputs(world.home)
    world.write(**{table: change(GOOD[table])})
    message = refused(world.run("validate"), code=3)
    for fragment in fragments:
        assert fragment in message
    assert outputs(world.home) == before


@pytest.mark.parametrize("table", ["ads", "leads", "outcomes"])
def test_a_missing_file_is_named_with_its_key(world: World, table: str) -> None:
    before = outputs(world.home)
    (world.folder / f"{table}.csv").unlink()
    message = refused(world.run("validate"), code=3)
    assert f"{table}.csv: no such file" in message
    assert f"Correct paths.{table}_path" in message
    assert outputs(world.home) == before


def test_a_time_that_a_clock_change_skipped_is_counted(world: World) -> None:
    world.write(leads=LEADS.replace("Z", "") + "L99,2025-03-30T02:30:00,A1\n")
    world.configure(contracts={"leads": {"naive_timezone": "Europe/Berlin"}})
    answer = world.run("validate")
    assert answer.code == 0
    assert "times_moved_out_of_clock_change" in answer.out


@pytest.mark.parametrize("command", ["build-table", "train"])
def test_every_command_refuses_bad_exports_before_it_writes(world: World, command: str) -> None:
    before = outputs(world.home)
    world.write(ads=ADS.replace("12.34", "-12.34", 1))
    assert "spend is -12.34" in refused(world.run(command), code=3)
    assert outputs(world.home) == before


def test_dropping_by_configuration_is_the_remedy_that_the_message_names(world: World) -> None:
    world.write(ads=ADS.replace("12.34", "-12.34", 1))
    world.configure(contracts={"ads": {"on_negative_spend": "drop"}})
    answer = world.run("validate")
    assert answer.code == 0
    assert "negative_spend" in answer.out


@pytest.mark.slow
def test_the_installed_command_refuses_as_the_function_does(world: World) -> None:
    world.write(ads=ADS.replace("12.34", "-12.34", 1))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("elv")), "--home", world.home, "validate", "--config", world.config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("error: ads.csv row 2: spend is -12.34")
    assert "Traceback" not in done.stdout + done.stderr


# Configurations


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ("label_window: 14\n", ("label_window: this key does not exist", "Did you mean label_window_days?")),
        (
            "paths: {leads_path: l.csv, outcome_path: o.csv}\n",
            ("paths.outcome_path", "Did you mean paths.outcomes_path"),
        ),
        ("label_window_days: 0\n", ("label_window_days is 0", "greater than or equal to 1")),
        ("timezone: Mars/Olympus\n", ("Mars/Olympus", "IANA")),
        ("paths: [unclosed\n", ("not readable as YAML", "Fix the syntax")),
    ],
)
def test_a_wrong_configuration_is_refused(world: World, content: str, fragments: tuple[str, ...]) -> None:
    before = outputs(world.home)
    world.config.write_text(content if "paths" in content else f"paths: {{leads_path: leads.csv}}\n{content}")
    message = refused(world.run("validate"), code=2)
    assert str(world.config) in message
    for fragment in fragments:
        assert fragment in message
    assert outputs(world.home) == before


@pytest.mark.parametrize(
    ("name", "rule"), [("absent.yaml", "no such configuration file"), ("leads.csv", "a .yaml file")]
)
def test_a_configuration_that_is_none_is_refused(world: World, name: str, rule: str) -> None:
    message = refused(elv("validate", "--config", world.folder / name, home=world.home), code=2)
    assert rule in message
    assert "configs/lead_ads.yaml" in message


def test_one_name_is_one_data_set(world: World) -> None:
    before = outputs(world.home)
    world.write(other=LEADS)
    world.configure(paths={**CONFIG["paths"], "leads_path": "other.csv"})  # type: ignore[dict-item]
    message = refused(world.run("validate"), code=2)
    for fragment in ("'tiny' already stands for other data", "other.csv", "another 'name:'", "another home folder"):
        assert fragment in message
    assert outputs(world.home) == before


def test_a_mistyped_path_does_not_become_what_the_name_stands_for(tmp_path: Path) -> None:
    world = fresh(tmp_path)
    world.configure(paths={**CONFIG["paths"], "leads_path": "laeds.csv"})  # type: ignore[dict-item]
    assert "laeds.csv: no such file" in refused(world.run("validate"), code=3)
    world.configure()
    assert world.run("validate").code == 0


def test_a_home_that_cannot_be_written_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = refused(world.run("validate", home=tmp_path / "file" / "home"), code=2)
    assert "cannot be written" in message
    assert "--home or ELV_HOME" in message


# Verdicts and refusals of commands


def test_warnings_do_not_fail_validation_and_readiness_has_two_verdicts(world: World) -> None:
    world.write(outcomes="lead_id,qualified_time\n")
    answer = world.run("validate")
    assert answer.code == 0
    assert "warning no_outcome_yet" in answer.out
    assert "to score: ready\n" in answer.out
    assert "to train: not ready. 4 mature labelled leads; at least 200 are needed" in answer.out


def test_exports_that_cannot_be_scored_may_still_be_valid(world: World) -> None:
    world.write(leads=LEADS.replace(",A1", ","))
    answer = world.run("validate")
    assert answer.code == 0
    assert "to score: not ready. none of 18 leads carries an ad_id" in answer.out


def test_validation_leaves_a_profile_for_people_and_machines(world: World) -> None:
    bundle = world.home / "runs" / world.run("validate").run_id
    profile = json.loads((bundle / "data_profile.json").read_text())
    assert set(profile["readiness"]) == {"train", "score"}
    assert (bundle / "data_profile.md").read_text().startswith("# Data profile of tiny")


@pytest.mark.slow
def test_too_little_evidence_is_refused_with_counts_and_thresholds(world: World) -> None:
    message = refused(world.run("train"), code=4)
    for fragment in ("4 labelled (mature) rows with 1 positives", "200 labelled rows", "model.min_positives"):
        assert fragment in message
    assert not list(world.home.glob("models/*/*/candidate.json"))


@pytest.mark.parametrize(
    ("origin", "fragments"),
    [
        ("2025-01-15", ("is a Wednesday", "schedules.origin_weekday", "The next one is 2025-01-20")),
        ("2024-01-01", ("outside the calendar", "from 2025-01-06 to")),
        ("2045-01-02", ("outside the calendar",)),
    ],
)
def test_an_origin_that_is_none_is_refused_at_once(world: World, origin: str, fragments: tuple[str, ...]) -> None:
    before = outputs(world.home)
    message = refused(world.run("train", "--origin", origin), code=2)
    for fragment in (f"--origin {origin}", *fragments):
        assert fragment in message
    assert outputs(world.home) == before


def test_scoring_before_training_is_refused_with_both_ways_out(world: World) -> None:
    before = outputs(world.home)
    world.write(new=LEADS)
    for command in (("score",), ("batch-score", "--leads-path", world.folder / "new.csv")):
        message = refused(world.run(*command), code=5)
        assert "Run 'elv train'" in message
        assert "--model runs/<run_id>/model.joblib" in message
    assert outputs(world.home) == before


def test_a_wrong_model_file_is_refused(world: World) -> None:
    before = outputs(world.home)
    for path, rule in (
        (world.folder / "leads.csv", "cannot be read as a model bundle"),
        ("absent", "no such model file"),
    ):
        message = refused(world.run("score", "--model", path), code=5)
        assert str(path) in message
        assert rule in message
    assert outputs(world.home) == before


def test_a_batch_needs_its_file(world: World) -> None:
    message = refused(world.run("batch-score", "--leads-path", world.folder / "absent.csv"), code=2)
    assert "absent.csv: no such file of leads. Correct --leads-path." in message
    missing = world.run("batch-score")
    assert missing.code == 2
    assert "--leads-path" in missing.err


@pytest.mark.slow
def test_without_ads_and_outcomes_everything_but_training_works(tmp_path: Path) -> None:
    world = fresh(tmp_path)
    world.configure(paths={"leads_path": "leads.csv"})
    checked = world.run("validate")
    assert checked.code == 0
    assert "no_ads" in checked.out
    assert "to train: not ready. there is no outcomes export" in checked.out
    built = world.run("build-table")
    assert built.code == 0
    assert "18 leads: 0 labelled (0 positive), 18 unknown" in built.out
    table = pl.read_parquet(world.home / "runs" / built.run_id / "table.parquet")
    assert table["label_status"].unique().to_list() == ["unknown"]
    assert not [column for column in table.columns if "spend" in column or "impressions" in column]
    message = refused(world.run("train"), code=4)
    assert "paths.outcomes_path is null, so nothing is labelled" in message
    assert "--model" in message
