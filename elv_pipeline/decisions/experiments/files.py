"""Designs and plans as files.

Belongs here: reading them, with errors that name the file. Does not belong here: results (``results.py``), what a plan
is (``plan.py``), writing (the command does that).

A design is YAML or JSON with the keys of ``design.Design``. A baseline may be given as it was counted: ``positives``
and ``units`` of a rate, ``mean``, ``sd`` and ``units`` of a mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from elv_pipeline.decisions.experiments.design import Design, mean_baseline, rate_baseline
from elv_pipeline.decisions.experiments.plan import ExperimentPlan, design_from, from_document
from elv_pipeline.errors import ConfigError

_COUNTED_RATE, _COUNTED_MEAN = {"positives", "units"}, {"mean", "sd", "units"}


def read_design(path: Path) -> Design:
    """Read what a person wrote.

    Raises:
        ConfigError: the file cannot be read, or a key is missing, unknown or wrong; the message names both.
    """
    try:
        document = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}" if place is not None else ""
        raise ConfigError(f"{path.name}{line}: this is neither YAML nor JSON. Correct it there.") from error
    try:
        return design_from(_with_baselines(document))
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from error


def read_plan(path: Path) -> ExperimentPlan:
    """Read a plan that ``elv experiment plan`` wrote.

    Raises:
        ConfigError: the file is no plan, or was edited; the message names it.
    """
    try:
        document = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path.name} line {error.lineno}: this is not JSON. Give the plan that was written for this experiment."
        ) from error
    try:
        return from_document(document if isinstance(document, dict) else {})
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read ({error.strerror}). Correct the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: it is not UTF-8 text. Give a design or plan as text.") from error


def _with_baselines(value: Any) -> Any:
    """The same with baselines computed from counts."""
    if isinstance(value, list):
        return [_with_baselines(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _baseline(entry) if key == "baseline" and isinstance(entry, dict) else _with_baselines(entry)
        for key, entry in value.items()
    }


def _baseline(counted: dict[str, Any]) -> Any:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in counted.values())
    if not numbers or set(counted) not in (_COUNTED_RATE, _COUNTED_MEAN):
        return counted
    try:
        if set(counted) == _COUNTED_RATE:
            return rate_baseline(counted["positives"], units=counted["units"])
        return mean_baseline(counted["mean"], sd=counted["sd"], units=counted["units"])
    except ValueError as error:
        raise ConfigError(f"baseline: {error}. Correct it in the design.") from error
