"""Reading a configuration file: YAML, variables, paths, and errors that name file, key, value and rule.

Belongs here: from a file to a ``PipelineConfig``. Does not belong here: which keys exist (``settings.py``).
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from elv_pipeline.errors import ConfigError
from elv_pipeline.scrubbing import refuse_secret, scrubbed
from elv_pipeline.settings import PipelineConfig
from elv_pipeline.settings_base import EXPORTS
from elv_pipeline.settings_exports import EXTRACTS, Contracts
from elv_pipeline.settings_operation import EXTRACTED, HASHABLE
from elv_pipeline.settings_targets import MOST_TARGETS, REQUIRED_PATHS

_USUAL_CONTRACTS = Contracts().model_dump(mode="json")
_SECRETIVE = ("databases", "alerts", "privacy")
"""Parts of a configuration where a wrong key may hold the secret itself."""
_BY_TARGET = ("targets", "windows", "values")
"""Keys of a file with several targets, which a configuration does not have."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, refusing a key that is written twice: plain YAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is written twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _existing_timestamp(loader: _StrictLoader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError as error:  # 2024-02-30 looks like a date to YAML and fails without its place
        raise yaml.MarkedYAMLError(problem=f"{node.value}: {error}", problem_mark=node.start_mark) from error


_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _existing_timestamp)


def load_config(path: Path | str, *, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    """Read and check one configuration file.

    Args:
        path: the YAML file; relative paths inside resolve against its folder, ``${NAME}`` against the environment.
        overrides: top-level keys that replace those of the file (used by ``elv demo``).

    Raises:
        ConfigError: naming the file, the key, the value and the rule.
    """
    return parse_config({**_read(Path(path)), **(overrides or {})}, source=Path(path))


def _read(file: Path) -> dict[str, Any]:
    """The keys of a configuration file."""
    if not file.is_file():
        raise ConfigError(f"{file}: no such configuration file. Copy configs/lead_ads.yaml and give it with --config.")
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {error}. Fix the syntax at that place.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: holds {type(raw).__name__}; it must hold keys such as 'paths:' and 'name:'.")
    return raw


def file_and_target(path: Path | str) -> tuple[Path, str]:
    """The file that a path names, and the target after its ``#``; empty where there is none.

    Only what follows ``.yaml`` is a target: folders and files may have a ``#`` in their names.
    """
    given = Path(path)
    name, mark, target = given.name.rpartition("#")
    return (given.with_name(name), target) if mark and name.endswith((".yaml", ".yml")) else (given, "")


def load_targets(path: Path | str) -> list[PipelineConfig]:
    """Read a configuration file that may name several ``targets``: one configuration each, in the order of the file.

    A path that ends in ``#<target>``, such as ``configs/outreach.yaml#qualified``, stands for that target alone.

    Raises:
        ConfigError: naming the file, the key, the value and the rule.
    """
    file, wanted = file_and_target(path)
    raw = _read(file)
    if "targets" not in raw:
        if wanted:
            raise ConfigError(f"{path}: the file has no 'targets'. Leave out #{wanted}.")
        return [parse_config(raw, source=file)]
    targets = _targets(raw.pop("targets"), source=file)
    if raw.get("target") is not None:
        raise ConfigError(f"{file}: target and targets are both set; write every target under targets, and no target.")
    if wanted and wanted not in targets:
        raise ConfigError(f"{path}: {wanted!r} is none of its targets. They are {', '.join(targets)}.")
    chosen, windows = [wanted] if wanted else targets, raw.pop("windows", None) or {}
    values = raw.pop("values", None) or {}
    _refuse_unknown_targets({"windows": windows, "values": values}, targets, source=file)
    family = str(raw.pop("name", None) or raw.get("problem", ""))
    return [
        parse_config(
            {
                **raw,
                "name": f"{family}_{target}",
                "family": family,
                "target": target,
                **({"label_window_days": windows[target]} if target in windows else {}),
                **({"value_per_qualified": values[target]} if target in values else {}),
            },
            source=file,
        )
        for target in chosen
    ]


def _targets(value: Any, *, source: Path) -> list[str]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value) or len(value) > MOST_TARGETS:
        raise ConfigError(
            f"{source}: targets is {value!r}; it must be a list of one to {MOST_TARGETS} different targets, such as "
            f"[booked_call, qualified]."
        )
    return [str(target) for target in value]


def _refuse_unknown_targets(settings: dict[str, Any], targets: list[str], *, source: Path) -> None:
    """Refuse settings by target that are no mapping, or that name a target which the file does not have."""
    for key, value in settings.items():
        unknown = sorted(set(value) - set(targets)) if isinstance(value, dict) else [repr(value)]
        if unknown:
            raise ConfigError(
                f"{source}: {key}: {', '.join(map(str, unknown))} is none of its targets. Give {key} by target, one of "
                f"{', '.join(targets)}."
            )


def parse_config(raw: dict[str, Any], *, source: Path) -> PipelineConfig:
    """Check the content of a configuration; ``source`` names it in errors and anchors its relative paths."""
    _refuse_other_problems(raw, source)
    raw = _with_extracts(raw, source)
    if isinstance(raw.get("paths"), dict):
        raw = {**raw, "paths": {key: _resolve(value, f"paths.{key}", source) for key, value in raw["paths"].items()}}
    try:
        return PipelineConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item, source) for item in _with_missing_paths(error, raw))) from error


def _with_missing_paths(error: ValidationError, raw: dict[str, Any]) -> list[Any]:
    """Every mistake in the order of the keys, with a mistake of its own for each path that the problem needs.

    Which paths it needs is known to the configuration as a whole, which is not looked at while a part has a mistake.
    """
    paths, needed = raw.get("paths"), REQUIRED_PATHS.get(raw.get("problem", "lead_ads"), ())
    if not isinstance(paths, dict):
        return list(error.errors())
    missing = [key for key in needed if paths.get(key) is None]
    found: list[Any] = [
        {"type": "value_error", "msg": "this problem cannot do without it", "input": None, "loc": ("paths", key)}
        if key in paths
        else {"type": "missing", "msg": "", "input": paths, "loc": ("paths", key)}
        for key in missing
    ]
    about_all = [item for item in error.errors() if not (missing and not item["loc"] and "needs paths." in item["msg"])]
    keys = list(PipelineConfig.model_fields)

    def place(item: Any) -> int:
        return keys.index(item["loc"][0]) if item["loc"] and item["loc"][0] in keys else len(keys)

    return sorted([*about_all, *found], key=place)


def _refuse_other_problems(raw: dict[str, Any], source: Path) -> None:
    """Refuse settings of tables and columns that the problem does not have: nothing would come of them."""
    problem = raw.get("problem", "lead_ads")
    if problem not in EXPORTS:
        return  # the field itself refuses the problem
    others = {table for tables in EXPORTS.values() for table in tables} - set(EXPORTS[problem])
    for part, key in (("paths", "{}_path"), ("extracts", "{}"), ("contracts", "{}")):
        values = raw.get(part)
        named = [key.format(table) for table in sorted(others)]
        if not isinstance(values, dict):
            continue
        for name in (name for name in named if values.get(name) is not None):
            if part == "contracts" and values[name] == _USUAL_CONTRACTS[name]:
                continue  # a bundle's own configuration holds every rule
            raise ConfigError(
                f"{source}: {part}.{name} belongs to another problem than {problem}, whose tables are "
                f"{', '.join(EXPORTS[problem])}. Remove it, or write null."
            )
    privacy = raw.get("privacy")
    hashed = privacy.get("hashed_columns") if isinstance(privacy, dict) else None
    for column in hashed if isinstance(hashed, list | tuple) else ():
        if column not in HASHABLE[problem] and any(column in columns for columns in HASHABLE.values()):
            raise ConfigError(
                f"{source}: privacy.hashed_columns: {column} is no column of {problem}. It can hash "
                f"{', '.join(HASHABLE[problem])}."
            )


def _with_extracts(raw: dict[str, Any], source: Path) -> dict[str, Any]:
    """Give each table that a query delivers its path, and resolve the queries' own paths."""
    extracts, paths = raw.get("extracts"), raw.get("paths") or {}
    if not isinstance(extracts, dict) or not isinstance(paths, dict):
        return raw
    queries = {table: extracts[table] for table in EXTRACTED if isinstance(extracts.get(table), str)}
    for table in queries:
        if paths.get(f"{table}_path"):
            raise ConfigError(
                f"{source}: extracts.{table} and paths.{table}_path are both set; a table comes from a query or from "
                f"files. Write null for one of them."
            )
    files = {table: _resolve(value, f"extracts.{table}", source) for table, value in queries.items()}
    for table, file in files.items():
        if not Path(file).is_file():
            raise ConfigError(
                f"{source}: extracts.{table}: there is no file {file}. Copy the query from sql/extract/ and adapt it."
            )
    addresses = {f"{table}_path": f"{EXTRACTS}{table}" for table in queries}
    return {**raw, "extracts": {**extracts, **files}, "paths": {**paths, **addresses}}


def _resolve(value: Any, key: str, source: Path) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():  # it would resolve to the configuration's own folder
        raise ConfigError(f"{source}: {key} is empty ({value!r}); name a file, or write null where none exists.")
    for name in _VARIABLE.findall(value):
        if not os.environ.get(name):  # empty counts as not set: "${DATA_DIR}/ads.csv" would become "/ads.csv"
            raise ConfigError(
                f"{source}: {key} is {value!r}, but the environment variable {name} is not set or empty. "
                f"Set it to the folder that holds the data: export {name}=/path/to/folder"
            )
    expanded = _VARIABLE.sub(lambda match: os.environ[match.group(1)], value)
    refuse_secret(expanded, place=f"{source}: {key}", remedy="Use the variables of the storage library instead.")
    if "://" in expanded:  # an address such as s3://bucket/ads/; as a path its slashes would collapse
        return expanded
    return str((source.resolve().parent / Path(expanded).expanduser()).resolve())


def _explain(item: Any, source: Path) -> str:
    location = ".".join(str(part) for part in item["loc"]) or "(whole file)"
    if item["type"] == "extra_forbidden":
        known = [*_known_keys(PipelineConfig), *_BY_TARGET]
        close = difflib.get_close_matches(location, known, n=1) or difflib.get_close_matches(
            location.rsplit(".", 1)[-1], [key.rsplit(".", 1)[-1] for key in known], n=1
        )
        hint = f"Did you mean {close[0]}?" if close else "See configs/lead_ads.yaml for every key."
        told = "" if location.startswith(_SECRETIVE) else f" (value {item['input']!r})"
        return scrubbed(f"{source}: {location}: this key does not exist{told}. {hint}")
    if item["type"] == "missing":
        return f"{source}: {location}: this key is required and missing. See configs/lead_ads.yaml."
    if location.endswith("_variable"):  # the value may be the secret itself
        return (
            f"{source}: {location}: this must be the name of an environment variable, such as ELV_SOURCE_URL, which "
            f"holds the address; capital letters, digits and _. Its value must not stand in the file."
        )
    message = item["msg"].removeprefix("Value error, ")
    value = "" if isinstance(item["input"], dict) else f" is {item['input']!r}"
    return scrubbed(f"{source}: {location}{value}: {message}. See configs/lead_ads.yaml for what is allowed.")


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys.extend(_known_keys(field.annotation, f"{prefix}{name}."))
    return keys
