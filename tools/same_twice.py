"""Run a small seeded end-to-end twice in two fresh homes, and fail on differing checksums or a broken output contract.

Run by `.ci/run`. Each run is its own process, the second with another number of threads and another hash seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LEADS = 3_000


def main() -> int:
    """Compare the content checksums of both runs' newest bundles."""
    found = []
    for threads, hash_seed in (("1", "0"), ("2", "1")):
        with tempfile.TemporaryDirectory(prefix="elv-twice-") as folder:
            found.append(_checksums(Path(folder), threads=threads, hash_seed=hash_seed))
    if found[0] != found[1]:
        differing = sorted(name for name in found[0] | found[1] if found[0].get(name) != found[1].get(name))
        print(f"two runs of the same input differ in {', '.join(differing)}", file=sys.stderr)
        return 1
    print(f"two runs agree in {len(found[0])} files and models")
    return 0


def _checksums(home: Path, *, threads: str, hash_seed: str) -> dict[str, str]:
    environment = {
        **os.environ,
        "ELV_HOME": str(home),
        "POLARS_MAX_THREADS": threads,
        "PYTHONHASHSEED": hash_seed,
        "OMP_NUM_THREADS": threads,
    }
    environment.pop("DAGSTER_HOME", None)
    command = [str(Path(sys.executable).with_name("elv")), "demo", "--leads", str(LEADS), "--seed", "11"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    result: dict[str, str] = {}
    for manifest_file in sorted(home.glob("runs/*/metadata.json")):
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        check = manifest_file.parent / "schema_check.json"
        if check.is_file() and not json.loads(check.read_text(encoding="utf-8"))["ok"]:
            raise SystemExit(f"{check}: an output breaks its contract")
        result |= {f"{manifest['kind']}/{name}": value for name, value in manifest["content_checksums"].items()}
        if "model_sha256" in manifest:
            result[f"{manifest['kind']}/model"] = manifest["model_sha256"]
    if not any(name.startswith("score/") for name in result):
        raise SystemExit("the end-to-end run left no scored bundle")
    return result


if __name__ == "__main__":
    sys.exit(main())
