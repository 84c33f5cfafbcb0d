"""Fail when requirements.lock does not fit pyproject.toml, lacks a hash, or names a package index.

Run by `make lint`; the remedy for every message is `make lock`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Compare both files and print every difference."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, flags=re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(version)
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["dependency-groups"]["build"],
    ]
    problems = [problem for line in wanted if (problem := _misfit(Requirement(line), locked))]
    problems += [f"requirements.lock: {name} has no hash" for name in _without_hash(text)]
    if re.search(r"--(index|extra-index|find)|https?://|file://", text):
        problems.append("requirements.lock names a package index or a link")
    for problem in problems:
        print(f"{problem}; run 'make lock'", file=sys.stderr)
    return 1 if problems else 0


def _misfit(requirement: Requirement, locked: dict[str, list[str]]) -> str | None:
    versions = locked.get(canonicalize_name(requirement.name))
    if not versions:
        return f"requirements.lock lacks {requirement.name}"
    bad = [version for version in versions if Version(version) not in requirement.specifier]
    return (
        f"requirements.lock has {requirement.name} {bad[0]}, pyproject.toml wants {requirement.specifier}"
        if bad
        else None
    )


def _without_hash(text: str) -> list[str]:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    return [block.split("==")[0] for block in blocks if "==" in block.split("\n")[0] and "--hash=sha256:" not in block]


if __name__ == "__main__":
    sys.exit(main())
