"""The pages for whoever operates the pipeline are true of the code: alerts, messages, exit codes, options, examples.

`test_docs.py` checks what holds for every page; here is what only these claim.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from elv_pipeline import home
from elv_pipeline.cli import app
from elv_pipeline.config_file import load_config
from elv_pipeline.errors import ElvError
from elv_pipeline.settings import Schedules
from elv_pipeline_tests.test_docs import parsed_by_the_command

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
OPERATIONS = (DOCS / "OPERATIONS.md").read_text(encoding="utf-8")
TROUBLESHOOTING = (DOCS / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
ROLLOUT = (DOCS / "ROLLOUT.md").read_text(encoding="utf-8")

_ALERT_KEYS = {"severity", "code", "message", "action"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[ /])elv ((?:--home \S+ )?[a-z][a-z-]*(?: .*)?)$")
_VARIES = "\x00"


@cache
def syntax() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "elv_pipeline").rglob("*.py"))}


def section(text: str, heading: str, *, level: int = 2) -> str:
    start = text.split(f"\n{'#' * level} {heading}\n")
    assert len(start) == 2, heading
    return re.split(rf"^#{{1,{level}}} ", start[1], flags=re.MULTILINE)[0]


# --------------------------------------------------------------------------------------------------------- the alerts


def alerts_of_the_code() -> set[tuple[str, str]]:
    """Code and severity of everything that makes an alert."""
    return {found for tree in syntax().values() for node in ast.walk(tree) for found in alerts_of(node)}


def alerts_of(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Alert":
        given = {keyword.arg: keyword.value for keyword in node.keywords}
    elif isinstance(node, ast.Dict):
        given = {text_of(key): value for key, value in zip(node.keys, node.values, strict=True) if text_of(key)}
        if not given.keys() >= _ALERT_KEYS or is_copied(given["code"]):
            return
    else:
        return
    for code in texts(given["code"]):
        for severity in texts(given["severity"]):
            yield code, severity


def is_copied(code: ast.AST) -> bool:
    """Whether a dictionary only hands on an alert that was made elsewhere."""
    branch = code.body if isinstance(code, ast.IfExp) else code
    return isinstance(branch, ast.Attribute | ast.Subscript)


def text_of(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def texts(node: ast.AST) -> list[str]:
    """Every text that an expression can be."""
    if text := text_of(node):
        return [text]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    if isinstance(node, ast.JoinedStr):
        prefix, varying = node.values
        assert isinstance(varying, ast.FormattedValue)
        assert ast.unparse(varying.value) == "finding.kind", ast.unparse(node)
        return [f"{text_of(prefix)}{kind}" for kind in kinds_that_do_not_hold()]
    raise AssertionError(f"this expression of an alert is not understood: {ast.unparse(node)}")


def kinds_that_do_not_hold() -> list[str]:
    """Kinds of findings about a day that are told without holding it."""
    tree = syntax()[ROOT / "elv_pipeline" / "monitoring" / "day_completeness.py"]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "DayFinding"]
    given = [{keyword.arg: keyword.value for keyword in call.keywords} for call in calls]
    assert len(given) > 3
    return [kind for values in given if ast.unparse(values["holds"]) != "True" for kind in texts(values["kind"])]


def test_every_alert_has_a_row_with_its_severity_and_every_row_an_alert() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section(TROUBLESHOOTING, "Alerts"), flags=re.MULTILINE)
    assert len(rows) == len(set(rows))
    told, real = set(rows), alerts_of_the_code()
    assert told == real, f"no row: {sorted(real - told)}; no alert: {sorted(told - real)}"


def test_every_row_of_an_alert_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    rows = re.findall(r"^\| `\w+` \|.*$", section(TROUBLESHOOTING, "Alerts"), flags=re.MULTILINE)
    assert len(rows) > 25
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert [row for row in cells if len(row) != 5 or not all(len(cell) > 3 for cell in row)] == []


def test_alerts_are_found_in_every_form_in_which_they_are_written() -> None:
    codes = {code for code, _ in alerts_of_the_code()}
    assert {
        "day_held",
        "constant_scores",
        "run_failed",
        "run_abandoned",
        "input_no_rows",
        "history_ends_early",
    } <= codes
    made = ast.parse("Alert(severity='info', code='brand_new', message='m', action='a')")
    assert [found for node in ast.walk(made) for found in alerts_of(node)] == [("brand_new", "info")]


# ----------------------------------------------------------------------------------------------------------- messages


@cache
def sentences() -> tuple[str, ...]:
    """Every text of the code, with a mark where it varies."""
    found = []
    for tree in syntax().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(text_of(part) or _VARIES for part in node.values))
            elif text := text_of(node):
                found.append(text)
    return tuple(found)


def is_said(message: str) -> bool:
    """Whether one text of the code holds the parts of a message, in order."""
    parts = [re.escape(part.strip()) for part in message.split("…") if part.strip()]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    return any(pattern.search(sentence) for sentence in sentences())


MESSAGES = re.findall(r"^\| `([^`]+)` \|", section(TROUBLESHOOTING, "Errors"), flags=re.MULTILINE)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_one_of_the_code(message: str) -> None:
    assert is_said(message)


def test_a_message_that_the_code_does_not_know_is_noticed() -> None:
    assert len(MESSAGES) > 30
    assert not is_said("the database cannot be reached; check the weather")
    assert not is_said("write it like … does not hold a database address")


# --------------------------------------------------------------------------------------------- commands and exit codes


def test_every_option_of_the_daily_run_is_explained_and_no_other() -> None:
    group: Any = typer.main.get_command(app)
    real = {option for parameter in group.commands["run-daily"].params for option in parameter.opts}
    rows = section(OPERATIONS, "Options of run-daily", level=3)
    told = set(re.findall(r"^\| `(--[a-z-]+)`", rows, flags=re.MULTILINE))
    assert told == {option for option in real if option.startswith("--")}


@pytest.mark.parametrize("page", [OPERATIONS, TROUBLESHOOTING], ids=["operations", "troubleshooting"])
def test_every_exit_code_says_what_to_do(page: str) -> None:
    told = set(re.findall(r"^\| (\d) \|", section(page, "Exit codes"), flags=re.MULTILINE))
    kinds: list[type[ElvError]] = [ElvError, *ElvError.__subclasses__()]
    assert {str(kind.exit_code) for kind in kinds} == told - {"0"}


def commands_outside_of_shell_blocks() -> list[str]:
    """`elv` in blocks of other languages, which `test_docs` does not parse."""
    lines = [
        line.split(">>")[0].split(" #")[0].strip()
        for page in (OPERATIONS, TROUBLESHOOTING, ROLLOUT)
        for language, body in _FENCE.findall(page)
        if language not in ("bash", "sh")
        for line in body.splitlines()
    ]
    return [found.group(1) for line in lines if (found := _COMMAND.search(line))]


@pytest.mark.parametrize("command", commands_outside_of_shell_blocks())
def test_a_command_of_cron_or_a_container_exists_with_its_options(command: str) -> None:
    words = shlex.split(command)
    parsed_by_the_command(words)  # raises at what does not exist
    with pytest.raises(Exception, match="No such option"):  # so it looked at the options of this very command
        parsed_by_the_command([*words, "--no-such-option"])


def test_the_pages_show_commands_of_cron_and_containers() -> None:
    shown = commands_outside_of_shell_blocks()
    assert any(command.startswith("run-daily --mode train") for command in shown)
    assert "doctor" in shown


# ----------------------------------------------------------------------------------------------------------- examples


def blocks(page: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(body) for language, body in _FENCE.findall(page) if language == "yaml"]


def test_the_example_with_a_database_is_a_configuration(tmp_path: Path) -> None:
    (example,) = (block for block in blocks(OPERATIONS) if "extracts" in block)
    shutil.copytree(ROOT / "sql" / "extract", tmp_path / "sql")
    file = tmp_path / "my_leads.yaml"
    file.write_text(yaml.safe_dump(example), encoding="utf-8")
    config = load_config(file)
    assert set(config.extracts.queries) == {"leads", "ads", "outcomes"}
    assert config.databases.scores is not None
    assert config.environment == "prod"


@pytest.mark.parametrize("example", [pytest.param(block, id=str(sorted(block))) for block in blocks(ROLLOUT)])
def test_the_examples_of_the_rollout_are_configurations(example: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "my_leads.yaml"
    file.write_text(yaml.safe_dump({"paths": {"leads_path": "leads.csv"}, **example}), encoding="utf-8")
    config = load_config(file)
    assert config.environment == example["environment"]


def test_every_sample_query_is_listed() -> None:
    real = {file.name.split(".")[0] for file in (ROOT / "sql" / "extract").glob("*.sql")}
    assert set(re.findall(r"^\| `(\w+)\.<dialect>\.sql`", OPERATIONS, flags=re.MULTILINE)) == real


def test_the_times_of_the_schedules_are_the_defaults() -> None:
    rows = re.findall(
        r"^\| `demo_(\w+)_schedule` \| `demo_\w+` \| (\d\d):(\d\d)( on the origin weekday)?", OPERATIONS, re.M
    )
    told = {
        name: f"{int(minute)} {int(hour)} * * {'{weekday}' if weekly else '*'}" for name, hour, minute, weekly in rows
    }
    defaults = {name: value for name, value in Schedules().model_dump().items() if name.endswith("_cron")}
    assert defaults.pop("recommend_cron") == "30 7 * * {weekday}"
    assert "at 07:30 on the origin weekday it renews the" in OPERATIONS  # of outreach alone
    assert {f"{name}_cron": cron for name, cron in told.items()} == defaults


def test_the_backup_names_everything_in_the_home() -> None:
    layout = str(home.__doc__).split("Layout::")[1]
    columns = [re.split(r"\s{2,}", line.strip())[0] for line in layout.splitlines()]
    places = {place for column in columns for place in re.findall(r"(?:<home>/|, )(\w[\w.]*/?)", column)}
    assert {"lake/", "scores.db", "access.jsonl", "runs.db", "mlartifacts/"} <= places
    told = set(re.findall(r"`([\w.]+/?)`", section(OPERATIONS, "Backup")))
    made_again = {"validation/", "monitoring/"}
    assert places - told == made_again


def test_the_file_of_addresses_for_kubectl_has_no_quotes() -> None:
    """kubectl keeps them: the address would begin with a quote."""
    chapter = section(OPERATIONS, "Kubernetes", level=3)
    [file] = [text for language, text in _FENCE.findall(chapter) if language == "ini"]
    assert {line.split("=")[0] for line in file.splitlines()} >= {"ELV_SOURCE_URL", "ELV_SCORES_URL"}
    assert not set(file) & set("'\"")
    assert "--from-env-file=kubernetes.env" in chapter


def test_every_clock_of_the_page_says_what_purges() -> None:
    clocks = set(re.findall(r"^### (.+)$", section(OPERATIONS, "Start it by the clock"), flags=re.MULTILINE))
    said = section(OPERATIONS, "Retention and erasure")
    for clock in clocks - {"Containers"}:
        assert f"| {clock} |" in said, clock
