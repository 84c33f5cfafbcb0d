"""The deployment files fit the project, Dagster and the chart. Nothing here starts a container or a cluster."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import Shape, validate_config
from dagster._core.instance.config import dagster_instance_config_schema

from elv_pipeline import definitions
from elv_pipeline.home import HOME_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"

CHART_KEYS = [
    "global.postgresqlSecretName",
    "generatePostgresqlPasswordSecret",
    "postgresql.enabled",
    "postgresql.postgresqlHost",
    "postgresql.postgresqlUsername",
    "postgresql.postgresqlDatabase",
    "postgresql.postgresqlScheme",
    "postgresql.service.port",
    "telemetry.enabled",
    "dagsterWebserver.image.repository",
    "dagsterWebserver.image.tag",
    "dagsterWebserver.image.pullPolicy",
    "dagsterWebserver.resources",
    "dagsterDaemon.image.repository",
    "dagsterDaemon.image.tag",
    "dagsterDaemon.image.pullPolicy",
    "dagsterDaemon.resources",
    "dagsterDaemon.runCoordinator.enabled",
    "dagsterDaemon.runCoordinator.type",
    "dagsterDaemon.runMonitoring.enabled",
    "dagsterDaemon.runMonitoring.startTimeoutSeconds",
    "dagsterDaemon.runMonitoring.pollIntervalSeconds",
    "dagsterDaemon.runRetries.enabled",
    "dagsterDaemon.runRetries.maxRetries",
    "concurrency.enabled",
    "concurrency.runs.maxConcurrentRuns",
    "concurrency.pools.defaultLimit",
    "dagster-user-deployments.enabled",
    "dagster-user-deployments.deployments[].name",
    "dagster-user-deployments.deployments[].image.repository",
    "dagster-user-deployments.deployments[].image.tag",
    "dagster-user-deployments.deployments[].image.pullPolicy",
    "dagster-user-deployments.deployments[].dagsterApiGrpcArgs",
    "dagster-user-deployments.deployments[].port",
    "dagster-user-deployments.deployments[].includeConfigInLaunchedRuns.enabled",
    "dagster-user-deployments.deployments[].env",
    "dagster-user-deployments.deployments[].envSecrets",
    "dagster-user-deployments.deployments[].volumes",
    "dagster-user-deployments.deployments[].volumeMounts",
    "dagster-user-deployments.deployments[].podSecurityContext",
    "dagster-user-deployments.deployments[].nodeSelector",
    "runLauncher.type",
    "runLauncher.config.k8sRunLauncher.imagePullPolicy",
    "runLauncher.config.k8sRunLauncher.failPodOnRunFailure",
    "runLauncher.config.k8sRunLauncher.resources",
    "runLauncher.config.k8sRunLauncher.runK8sConfig.podSpecConfig",
    "runLauncher.config.k8sRunLauncher.runK8sConfig.jobSpecConfig",
    "computeLogManager.type",
    "extraManifests",
]
"""Keys of the official chart that our values set, copied from its values.yaml and its schema, helm/dagster/values.yaml,
helm/dagster/schema/schema/charts/dagster/subschema/{concurrency,daemon,run_launcher}.py and
.../dagster_user_deployments/subschema/user_deployments.py of github.com/dagster-io/dagster. A leaf may be free-form:
what lies under it is Kubernetes' own."""


def values() -> dict[str, Any]:
    loaded = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted path down to a key of the chart, or to a leaf where the chart has no such key."""
    if prefix in CHART_KEYS:
        yield prefix
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from paths(below, f"{prefix}.{key}".lstrip("."))
    elif isinstance(value, list):
        for below in value:
            yield from paths(below, f"{prefix}[]")
    else:
        yield prefix


def test_the_helm_values_set_only_keys_that_the_chart_has() -> None:
    found = set(paths(values()))
    assert found == set(CHART_KEYS)
    assert list(paths({"dagsterDaemon": {"runCoordinatr": {"enabled": True}}})) == [
        "dagsterDaemon.runCoordinatr.enabled"
    ]


def test_the_code_location_of_the_chart_is_ours_and_runs_see_the_home() -> None:
    deployment = values()["dagster-user-deployments"]["deployments"][0]
    assert deployment["dagsterApiGrpcArgs"] == ["--module-name", definitions.__name__]
    environment = {entry["name"]: entry["value"] for entry in deployment["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in deployment["volumeMounts"]}
    assert environment[HOME_VARIABLE] == mounts["home"]
    claim = next(v["persistentVolumeClaim"]["claimName"] for v in deployment["volumes"] if v["name"] == "home")
    manifest = values()["extraManifests"][0]
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("PersistentVolumeClaim", claim)
    assert deployment["includeConfigInLaunchedRuns"]["enabled"]
    # What deploy/dagster-postgres.yaml reads, so that `elv` in the pod and the chart share one instance.
    wanted = re.findall(r"env: (DAGSTER_PG_\w+)", (DEPLOY / "dagster-postgres.yaml").read_text(encoding="utf-8"))
    assert set(wanted) <= {*environment, "DAGSTER_PG_PASSWORD"}
    assert environment["DAGSTER_PG_HOST"] == values()["postgresql"]["postgresqlHost"]
    assert "resources" not in deployment, "the chart would give them to every run instead of the launcher's"


def test_the_cluster_runs_one_run_at_a_time_on_the_node_of_the_volume_as_no_root() -> None:
    loaded = values()
    assert loaded["concurrency"]["runs"]["maxConcurrentRuns"] == 1
    assert "config" not in loaded["dagsterDaemon"]["runCoordinator"], "the chart refuses a second limit there"
    pod = loaded["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["podSpecConfig"]
    deployment = loaded["dagster-user-deployments"]["deployments"][0]
    assert pod["nodeSelector"] == deployment["nodeSelector"]
    assert pod["securityContext"] == deployment["podSecurityContext"]
    user = re.search(r"^USER (\d+)$", containerfile(), flags=re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user.group(1)) > 0
    images = [loaded["dagsterWebserver"]["image"], loaded["dagsterDaemon"]["image"], deployment["image"]]
    assert images[0] == images[1] == images[2]
    assert images[0]["tag"] not in ("", "latest")


def test_no_secret_stands_in_a_deployment_file() -> None:
    for file in DEPLOY.iterdir():
        for line in file.read_text(encoding="utf-8").splitlines():
            assert not re.search(
                r"(?i)(password|secret|token|key)\w*\s*[:=]\s*[\"']?[A-Za-z0-9+/]{12,}[\"']?\s*$", line
            ), line


def instance(file: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_the_postgres_instance_is_the_default_one_with_another_storage() -> None:
    default, server = instance(ROOT / "dagster.yaml"), instance(DEPLOY / "dagster-postgres.yaml")
    storage = server.pop("storage")
    del default["event_log_storage"]
    assert server == default
    assert storage["postgres"]["postgres_db"]["password"] == {"env": "DAGSTER_PG_PASSWORD"}
    shown = re.search(r"^# (storage:\n(?:#.*\n)+)", (ROOT / "dagster.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown is not None
    assert yaml.safe_load(re.sub(r"^# ?", "", shown.group(1), flags=re.MULTILINE)) == {"storage": storage}


@pytest.mark.parametrize("file", [ROOT / "dagster.yaml", DEPLOY / "dagster-postgres.yaml"], ids=lambda file: file.name)
def test_dagster_accepts_the_instance_files(file: Path) -> None:
    schema = Shape(dagster_instance_config_schema())
    assert validate_config(schema, instance(file)).success
    assert not validate_config(schema, {**instance(file), "storag": {}}).success


def test_the_storage_class_of_postgres_accepts_its_part() -> None:
    postgres = pytest.importorskip("dagster_postgres", reason="needs the extra: make setup-extras")
    settings = instance(DEPLOY / "dagster-postgres.yaml")["storage"]["postgres"]
    assert validate_config(postgres.DagsterPostgresStorage.config_type(), settings).success


def containerfile() -> str:
    return (DEPLOY / "Containerfile").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of the container file, with continued lines joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", containerfile(), flags=re.MULTILINE)).splitlines()
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in lines) if name]


def test_the_container_file_copies_what_exists_and_installs_only_from_locks() -> None:
    copied = [word for name, rest in instructions() if name == "COPY" for word in shlex.split(rest)[:-1]]
    missing = [source for source in copied if not (ROOT / source).exists()]
    assert not missing
    assert {"requirements.lock", "requirements-deploy.lock", "elv_pipeline", "pyproject.toml"} <= set(copied)
    installs = [
        part for name, rest in instructions() if name == "RUN" for part in rest.split("&&") if "pip install" in part
    ]
    assert len(installs) == 3
    assert all("--no-deps" in install for install in installs)
    assert all("--require-hashes" in install for install in installs if "-r " in install)


def test_the_container_names_its_base_without_an_address_and_keeps_state_on_a_volume() -> None:
    found = dict(instructions())
    assert found["FROM"] == "python:3.11-slim"
    assert "ENTRYPOINT" not in found, "the chart passes whole commands as arguments"
    assert f"{HOME_VARIABLE}={found['VOLUME']}" in found["ENV"]
    assert found["CMD"].startswith('["elv", "ui", "--host", "0.0.0.0"')
