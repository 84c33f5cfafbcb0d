"""The documentation is true of the code: tables, commands, links, keys, the picture of the graph.

What prose claims cannot be tested here; what a reader would type or click can.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import typer
import yaml

from elv_pipeline.cli import app
from elv_pipeline.errors import ElvError
from elv_pipeline.home import Home
from elv_pipeline.orchestration.code_location import build_defs
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_base import EXPORTS
from elv_pipeline.settings_exports import Paths
from elv_pipeline.settings_targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
WITHOUT_EFFECT = {"contracts.lead_to_ad_map.naive_timezone", "contracts.lead_to_ad_map.timestamp_format"}
"""Keys that exist by inheritance only; the template would mislead by showing them."""
OF_OUTREACH = {"target", "family", "schedules.recommend_cron"}
CHOSEN_FOR_THE_TEMPLATE = {"paths.leads_path", "value_per_qualified"}
"""Keys whose value in the template is an example, not the default."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w ]+?) \|(.*)$", re.MULTILINE)


@cache
def keys_of_the_settings() -> dict[str, Any]:
    """Every dotted key with its default; ``...`` where it is required."""

    def flat(model: type[Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from flat(field.annotation, f"{prefix}{name}.")
            else:
                default = (
                    None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
                )
                yield prefix + name, ... if field.is_required() else default

    return dict(flat(PipelineConfig, ""))


def flattened(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        nested = isinstance(value, dict) and value  # an empty one is the value of a key, as of model.monotone
        found |= flattened(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return found


def shown_commands(page: Path) -> list[str]:
    """Command lines of the page's shell blocks, without comments."""
    text = "\n".join(
        body for language, body in _FENCE.findall(page.read_text(encoding="utf-8")) if language in ("bash", "sh")
    )
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


COMMANDS = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in shown_commands(page)]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_shown_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "elv":
        parsed_by_the_command(words[1:])
    elif words[0] == "make":
        assert words[1] in make_targets(), f"no such target: {line}"
    elif words[:2] == ["python", "-m"]:
        assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), f"no such module: {line}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"no such script: {line}"
    else:
        known = words[0] in ("export", "source") or (ROOT / words[0]).is_file()
        assert known, f"this kind of command is not checked: {line}"


def parsed_by_the_command(words: list[str]) -> None:
    """Parse as `elv` would, without running anything: unknown or missing options raise."""
    group: Any = typer.main.get_command(app)
    before = os.environ.get("ELV_HOME")
    context = group.make_context("elv", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    command.make_context(name, rest, parent=context)
    assert os.environ.get("ELV_HOME") == before  # parsing must not have run the callback


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("line", ["elv validat --config x.yaml", "elv score --config x.yaml --form 2025-01-01"])
def test_the_check_of_commands_notices_a_mistake(line: str) -> None:
    with pytest.raises(Exception, match=r"No such (command|option)"):
        parsed_by_the_command(shlex.split(line)[1:])


def test_every_command_and_job_of_a_user_is_documented(demo_graph: dg.Definitions) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    group: Any = typer.main.get_command(app)
    for name in group.commands:
        assert f"elv {name}" in text or f"`{name}`" in text, f"elv {name} is documented nowhere"
    names = {job.name for job in demo_graph.jobs or ()} | {schedule.name for schedule in demo_graph.schedules or ()}
    assert names <= set(re.findall(r"`(demo_\w+)`", text))
    assert set(re.findall(r"`(demo_\w+)`", text)) <= names


def test_the_generated_tables_are_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "tools" / "docs_tables.py"), "--check"]
    result = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in _LINK.findall(prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}, which has no such heading"


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, made as GitHub makes them."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_configuration_key_is_explained() -> None:
    text = (ROOT / "docs" / "BYO_CSVS.md").read_text(encoding="utf-8")
    missing = [key for key in keys_of_the_settings() if f"| `{key}` |" not in text]
    assert not missing


def is_of_outreach(key: str) -> bool:
    table = key.split(".")[1].removesuffix("_path") if key.startswith(("paths.", "contracts.", "extracts.")) else ""
    other = table in EXPORTS["outreach"] and table not in EXPORTS["lead_ads"]
    return other or key.startswith(("moments.", "recommend.")) or key in OF_OUTREACH


def test_the_template_of_outreach_shows_what_is_its_own() -> None:
    template = flattened(yaml.safe_load((ROOT / "configs" / "outreach.yaml").read_text(encoding="utf-8")))
    keys = keys_of_the_settings()
    own = {key for key in keys if is_of_outreach(key)} - {"target", "family"}
    # The format of its tables is the canonical one; there is no other to choose.
    assert own - set(template) == {f"contracts.{t}.source" for t in EXPORTS["outreach"] if t != "outcomes"}
    for key in own & set(template):
        default = keys[key]
        if not key.startswith("paths."):
            assert template[key] == (list(default) if isinstance(default, tuple) else default), key
    assert set(template) - set(keys) == {
        "targets",
        *(f"{k}.{t}" for k in ("windows", "values") for t in TARGETS["outreach"]),
    }


def test_the_template_shows_every_key_and_its_default() -> None:
    template = flattened(yaml.safe_load((ROOT / "configs" / "lead_ads.yaml").read_text(encoding="utf-8")))
    keys = keys_of_the_settings()
    assert {key for key in set(keys) - set(template) if not is_of_outreach(key)} == WITHOUT_EFFECT
    for key in set(template) - CHOSEN_FOR_THE_TEMPLATE:
        default = keys[key]
        assert template[key] == (list(default) if isinstance(default, tuple) else default), key


def test_every_exit_code_is_explained() -> None:
    text = (ROOT / "docs" / "BYO_CSVS.md").read_text(encoding="utf-8")
    kinds: list[type[ElvError]] = [ElvError, *ElvError.__subclasses__()]
    for kind in kinds:
        assert f"| {kind.exit_code} |" in text, kind


@pytest.fixture(scope="module")
def demo_graph(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The chain of a configuration that has every export; nothing is read."""
    home = Home(tmp_path_factory.mktemp("home"))
    paths = Paths(leads_path="l.csv", ads_path="a.csv", outcomes_path="o.csv", lead_to_ad_map_path="m.csv")
    home.register(PipelineConfig(name="demo", start_date=date(2025, 1, 6), paths=paths))
    return build_defs(home=home)


def real_graph(graph: dg.Definitions) -> dict[str, tuple[str, str, set[str]]]:
    """Noun to (group, partition, parents)."""
    words = {"DailyPartitionsDefinition": "day", "WeeklyPartitionsDefinition": "week", "NoneType": "none"}
    assets = graph.resolve_asset_graph()
    return {
        key.path[-1]: (
            str(assets.get(key).group_name),
            words[type(assets.get(key).partitions_def).__name__],
            {parent.path[-1] for parent in assets.get(key).parent_keys},
        )
        for key in assets.get_all_asset_keys()
    }


def test_the_picture_is_the_graph(demo_graph: dg.Definitions) -> None:
    blocks = dict(_FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    groups: dict[str, str] = {}
    parents: dict[str, set[str]] = {}
    group = ""
    for line in blocks["mermaid"].splitlines()[1:]:
        words = line.split()
        if words[0] == "subgraph":
            group = words[1]
        elif "-->" in words:
            left, right = line.split("-->")
            parents.setdefault(right.strip(), set()).update(noun.strip() for noun in left.split("&"))
        elif words != ["end"]:
            groups[words[0]] = group
    real = real_graph(demo_graph)
    assert groups == {noun: group for noun, (group, _, _) in real.items()}
    assert parents == {noun: above for noun, (_, _, above) in real.items() if above}


def test_the_table_of_assets_is_the_graph(demo_graph: dg.Definitions) -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split("## The assets")[1].split("\n## ")[0]
    told = {
        noun: (group, partition.split(" of ")[0], set(re.findall(r"`(\w+)`", rest.split("|")[0])))
        for noun, group, partition, rest in _ROW.findall(section)
    }
    assert told == real_graph(demo_graph)


def test_every_check_is_documented(demo_graph: dg.Definitions) -> None:
    text = (ROOT / "docs" / "QUICKSTART.md").read_text(encoding="utf-8")
    section = text.split("### Checks")[1].split("\n## ")[0]
    told = {(noun, check) for check, noun in re.findall(r"^\| `(\w+)` \| `(\w+)`", section, flags=re.MULTILINE)}
    graph = demo_graph.resolve_asset_graph()
    assert told == {(key.asset_key.path[-1], key.name) for key in graph.asset_check_keys}


def test_decisions_are_numbered_without_gaps() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for number, file in enumerate(files, start=1):
        assert file.name.startswith(f"{number:03d}-")
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {number:03d}: ")
        for part in ("Context", "Decision", "Evidence", "Consequence"):
            assert f"**{part}.**" in text, f"{file.name} has no {part}"
