"""Fail when a lock file does not fit pyproject.toml, lacks a hash, or names a package index.

Run by `make lint`; the remedy for every message is `make lock` (`make lock-extras` for the two of the extras, which
hold only what requirements.lock lacks).
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
BASE = "requirements.lock"
EXTRAS = {
    "requirements-extras.lock": ("spark", "remote", "servers"),
    "requirements-deploy.lock": ("postgres", "sqlserver", "kubernetes"),
}
Versions = dict[str, list[str]]


def main() -> int:
    """Compare the files and print every difference."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras: dict[str, list[str]] = project["project"]["optional-dependencies"]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in (BASE, *EXTRAS)}
    base = _locked(texts[BASE])
    wanted = [*project["project"]["dependencies"], *extras["dev"], *project["dependency-groups"]["build"]]
    problems = [*_misfits(wanted, base, BASE)]
    for name, of in EXTRAS.items():
        own = _locked(texts[name])
        problems += _misfits([line for extra in of for line in extras[extra]], {**base, **own}, name)
        repeated = _lines(texts[BASE]) & _lines(texts[name])  # another marker is another system
        problems += [f"{name} repeats {line} of {BASE}" for line in sorted(repeated)]
    for name, text in texts.items():
        problems += [f"{name}: {package} has no hash" for package in _without_hash(text)]
        if re.search(r"--(index|extra-index|find)|https?://|file://", text):
            problems.append(f"{name} names a package index or a link")
    forgotten = extras.keys() - {"dev", *(extra for of in EXTRAS.values() for extra in of)}
    problems += [f"pyproject.toml: the extra {extra} is in no lock file" for extra in sorted(forgotten)]
    for problem in problems:
        print(f"{problem}; run 'make lock'", file=sys.stderr)
    return 1 if problems else 0


def _locked(text: str) -> Versions:
    locked: dict[str, Any] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, flags=re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(version)
    return locked


def _lines(text: str) -> set[str]:
    """The first line of each package: name, version and marker."""
    return {line.rstrip(" \\") for line in re.findall(r"^[A-Za-z0-9].*==.*", text, flags=re.MULTILINE)}


def _misfits(wanted: list[str], locked: Versions, name: str) -> list[str]:
    return [problem for line in wanted if (problem := _misfit(Requirement(line), locked, name))]


def _misfit(requirement: Requirement, locked: Versions, name: str) -> str | None:
    versions = locked.get(canonicalize_name(requirement.name))
    if not versions:
        return f"{name} lacks {requirement.name}"
    bad = [version for version in versions if Version(version) not in requirement.specifier]
    return f"{name} has {requirement.name} {bad[0]}, pyproject.toml wants {requirement.specifier}" if bad else None


def _without_hash(text: str) -> list[str]:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    return [block.split("==")[0] for block in blocks if "==" in block.split("\n")[0] and "--hash=sha256:" not in block]


if __name__ == "__main__":
    sys.exit(main())
