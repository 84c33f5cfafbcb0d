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
from elv_pipeline.settings_exports import EXTRACTS
from elv_pipeline.settings_operation import EXTRACTED

_SECRETIVE = ("databases", "alerts", "privacy")
"""Parts of a configuration where a wrong key may hold the secret itself."""
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
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file}: no such configuration file. Copy configs/lead_ads.yaml and give it with --config.")
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not readable as YAML: {error}. Fix the syntax at that place.") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: holds {type(raw).__name__}; it must hold keys such as 'paths:' and 'name:'.")
    return parse_config({**raw, **(overrides or {})}, source=file)


def parse_config(raw: dict[str, Any], *, source: Path) -> PipelineConfig:
    """Check the content of a configuration; ``source`` names it in errors and anchors its relative paths."""
    raw = _with_extracts(raw, source)
    if isinstance(raw.get("paths"), dict):
        raw = {**raw, "paths": {key: _resolve(value, f"paths.{key}", source) for key, value in raw["paths"].items()}}
    try:
        return PipelineConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item, source) for item in error.errors())) from error


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
        known = _known_keys(PipelineConfig)
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
