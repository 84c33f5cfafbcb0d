"""Which part of the project may import which, and what an import may cost."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import elv_pipeline

ROOT = Path(elv_pipeline.__file__).parent
LAYERS = (
    {"errors"},
    {"scrubbing"},
    {"settings_base"},
    {"settings_exports", "settings_model", "settings_operation", "settings_recommend", "settings_targets"},
    {"settings"},
    {"config_file"},
    {"home", "lake", "change_log"},
    {"privacy"},
    {"forgotten"},
    {"databases"},
    {"problems"},
    {"contracts"},
    {"ingest"},
    {"tables"},
    {"learning"},
    {"decisions"},
    {"monitoring"},
    {"publishing"},
    {"orchestration"},
    {
        "cli",
        "cli_session",
        "cli_operation",
        "cli_experiment",
        "cli_recommend",
        "cli_demo",
        "answers_operation",
        "doctor",
        "definitions",
        "terminal",
        "answers",
    },
)
"""Data flow down this list, and imports only point up it."""
APART = "synthetic"
"""A source of exports, not a layer: it knows nothing of the pipeline, and only what runs or shows a demo knows it."""
USERS_OF_APART = {"orchestration", "cli_demo"}
HEAVY = ("mlflow", "lightgbm", "sklearn", "altair", "pandera", "dagster")
MODULES = sorted(file.relative_to(ROOT) for file in ROOT.rglob("*.py"))


def part_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, inside functions and type-checking blocks, too."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import hides its layer"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names)


def imported_parts(module: Path) -> Iterator[tuple[int, str]]:
    for line, name in imports(module):
        own, _, rest = name.partition(".")
        part = rest.split(".")[0]
        if own == "elv_pipeline" and part != "__version__":
            yield line, part


def rank(part: str) -> int:
    return next(position for position, layer in enumerate(LAYERS) if part in layer)


def test_the_list_names_every_part_of_the_package() -> None:
    assert {part_of(module) for module in MODULES} == {"__init__", APART, *set().union(*LAYERS)}


def test_imports_only_point_up_the_list() -> None:
    found = [(module, line, part) for module in MODULES for line, part in imported_parts(module)]
    assert len(found) > 200
    wrong = [
        f"{module}:{line} imports {part}"
        for module, line, part in found
        if APART not in (part_of(module), part) and rank(part) > rank(part_of(module))
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_of_one_layer_do_not_import_each_other_in_a_circle() -> None:
    pairs = {
        (part_of(module), part)
        for module in MODULES
        for _, part in imported_parts(module)
        if APART not in (part_of(module), part) and part != part_of(module) and rank(part) == rank(part_of(module))
    }
    assert not {pair for pair in pairs if pair[::-1] in pairs}
    commands = {
        ("cli", "cli_experiment"),
        ("cli", "cli_operation"),
        ("cli", "cli_recommend"),
        ("cli", "cli_demo"),
        ("cli_demo", "cli_recommend"),
        ("cli_demo", "cli_session"),
        ("cli", "cli_session"),
        ("cli_recommend", "cli_session"),
        ("cli_operation", "cli_session"),
    }
    printing = {
        ("cli_experiment", "answers"),
        ("cli_operation", "answers"),
        ("cli_operation", "answers_operation"),
        ("cli_demo", "answers"),
        ("cli_recommend", "answers"),
        ("cli_session", "answers"),
    }
    shown = {("cli", "doctor"), ("cli", "terminal"), ("cli", "answers"), ("answers_operation", "answers")}
    assert pairs <= {("lake", "home"), *commands, *printing, *shown}


def test_the_synthetic_advertiser_stands_apart() -> None:
    known = {part for module in MODULES if part_of(module) == APART for _, part in imported_parts(module)}
    users = {part_of(module) for module in MODULES for _, part in imported_parts(module) if part == APART}
    assert known <= {"errors", APART}
    assert users - {APART} <= USERS_OF_APART


def test_only_the_orchestration_imports_dagster() -> None:
    users = {
        str(module) if len(module.parts) == 1 else part_of(module)
        for module in MODULES
        for _, name in imports(module)
        if name.split(".")[0].startswith("dagster")
    }
    assert users == {"definitions.py", "orchestration"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.name != "__init__.py"], ids=str)
def test_a_module_says_what_belongs_in_it(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text(encoding="utf-8"))) or ""
    assert "Belongs here" in docstring


@pytest.mark.parametrize("module", [module for module in MODULES if module.name == "__init__.py"], ids=str)
def test_a_package_does_nothing_at_import(module: Path) -> None:
    body = ast.parse((ROOT / module).read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.Expr | ast.Assign) for node in body), "only a docstring and constants"


def loaded_after(*modules: str) -> set[str]:
    """Top-level modules in a fresh process after importing some."""
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps([*sys.modules]))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    return {name.split(".")[0] for name in json.loads(finished.stdout)}


def test_the_command_settings_and_home_import_nothing_heavy() -> None:
    loaded = loaded_after("elv_pipeline.cli", "elv_pipeline.settings", "elv_pipeline.home", "elv_pipeline.doctor")
    assert not loaded & {*HEAVY, "polars", "pandas", "sqlalchemy"}


def test_the_code_location_imports_nothing_heavier_than_dagster() -> None:
    loaded = loaded_after("elv_pipeline.definitions")
    assert "dagster" in loaded
    assert not (loaded - loaded_after("dagster")) & {*HEAVY, "polars", "pandas", "pyarrow", "scipy", "matplotlib"}
    assert not loaded & set(HEAVY[:-1])
