"""Take out of the lock files of the extras what requirements.lock installs anyway.

Run by `make lock-extras`. A package that requirements.lock holds for another system only stays: its marker differs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

BASE = Path(__file__).resolve().parent.parent / "requirements.lock"


def blocks(text: str) -> list[tuple[str, str]]:
    """Each package's first line (name without extras, version and marker), and its whole text with the hashes."""
    parts = re.split(r"\n(?=[A-Za-z0-9])", "\n" + "\n".join(line for line in text.splitlines() if line[:1] != "#"))
    return [(re.sub(r"\[[^\]]*\]", "", part.split("\n")[0]).rstrip(" \\"), part.strip("\n")) for part in parts if part]


def main() -> int:
    """Rewrite the named files."""
    installed = {requirement for requirement, _ in blocks(BASE.read_text(encoding="utf-8"))}
    for name in sys.argv[1:]:
        file = Path(name)
        own = [block for requirement, block in blocks(file.read_text(encoding="utf-8")) if requirement not in installed]
        file.write_text("\n".join(own) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
