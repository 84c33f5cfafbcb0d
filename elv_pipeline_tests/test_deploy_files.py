"""The deployment files fit the project, Dagster and the chart. Nothing here starts a container or a cluster."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._config import Shape, validate_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.workspace.config_schema import WORKSPACE_CONFIG_SCHEMA
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import dagster_webserver

from elv_pipeline import definitions
from elv_pipeline.errors import ElvError
from elv_pipeline.home import HOME_VARIABLE
from elv_pipeline_tests.test_docs import parsed_by_the_command

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
    assert {"requirements.lock", "requirements-deploy.lock", "elv_pipeline", "pyproject.toml", "sql"} <= set(copied)
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


def test_the_container_has_the_sql_files_before_the_package_is_installed() -> None:
    steps = [f"{name} {rest}" for name, rest in instructions()]
    copied = next(place for place, step in enumerate(steps) if step.startswith("COPY sql "))
    installed = next(place for place, step in enumerate(steps) if step.endswith("--no-build-isolation ."))
    assert copied < installed, "the package puts them below sys.prefix/share while it is installed"


# ------------------------------------------------------------------------------------------------------------ compose


def compose() -> dict[str, Any]:
    return instance(DEPLOY / "compose.yaml")


def services() -> dict[str, dict[str, Any]]:
    found = compose()["services"]
    assert isinstance(found, dict)
    return found


OURS = ("code-location", "daemon", "webserver")


def parsed_by_its_program(words: list[str]) -> None:
    """Parse a command as its program would, without running it: unknown commands and options raise."""
    programs: dict[str, Any] = {
        "dagster": create_dagster_cli(),
        "dagster-daemon": create_dagster_daemon_cli(),
        "dagster-webserver": dagster_webserver,
    }
    if words[0] == "elv":
        parsed_by_the_command(words[1:])
        return
    command, rest, context = programs[words[0]], words[1:], None
    while hasattr(command, "commands"):
        context = command.make_context(words[0], rest[:], parent=context, ignore_unknown_options=True)
        _, command, rest = command.resolve_command(context, rest)
    command.make_context(words[0], rest, parent=context)


def test_every_command_of_compose_exists_with_its_options() -> None:
    mounted = {"/opt/elv/workspace.yaml": str(DEPLOY / "compose-workspace.yaml")}  # the programs look whether it exists
    for name in OURS:
        parsed_by_its_program([mounted.get(word, word) for word in services()[name]["command"]])
    for name in ("code-location", "daemon"):
        kind, *check = services()[name]["healthcheck"]["test"]
        assert kind == "CMD"
        parsed_by_its_program(check)
    kind, program, option, code = services()["webserver"]["healthcheck"]["test"]
    assert (kind, program, option) == ("CMD", "python", "-c")
    compile(code, "healthcheck", "exec")


@pytest.mark.parametrize("line", ["dagster api grcp", "dagster-daemon run --werkspace x", "dagster-webserver --prot 1"])
def test_the_check_of_commands_notices_a_mistake(line: str) -> None:
    with pytest.raises(Exception, match=r"No such (command|option)"):
        parsed_by_its_program(shlex.split(line))


def test_the_services_of_compose_find_each_other() -> None:
    found = services()
    workspace = instance(DEPLOY / "compose-workspace.yaml")
    assert validate_config(WORKSPACE_CONFIG_SCHEMA, workspace).success
    server = workspace["load_from"][0]["grpc_server"]
    words = found[server["host"]]["command"]
    assert words[words.index("--port") + 1] == str(server["port"])
    assert words[words.index("--module-name") + 1] == definitions.__name__
    for name in ("daemon", "webserver"):
        path = found[name]["command"][found[name]["command"].index("--workspace") + 1]
        assert f"./compose-workspace.yaml:{path}:ro" in found[name]["volumes"]
    for name, service in found.items():
        for other, wanted in service.get("depends_on", {}).items():
            healthy = wanted["condition"] == "service_healthy"
            assert not healthy or "healthcheck" in found[other], f"{name} waits for the health of {other}"
            assert healthy or found[other]["restart"] == "no", f"{name} waits for the end of {other}"


def test_the_services_of_compose_share_one_home_and_one_instance() -> None:
    found = services()
    volume = dict(instructions())["VOLUME"]
    wanted = set(re.findall(r"env: (DAGSTER_PG_\w+)", (DEPLOY / "dagster-postgres.yaml").read_text(encoding="utf-8")))
    for name in OURS:
        environment = found[name]["environment"]
        assert f"elv_home:{volume}" in found[name]["volumes"]
        assert environment["DAGSTER_HOME"] == f"{volume}/dagster"
        assert wanted <= environment.keys()
        assert environment["DAGSTER_PG_DB"] == found["postgres"]["environment"]["POSTGRES_DB"]
        assert environment["DAGSTER_PG_USER"] == found["postgres"]["environment"]["POSTGRES_USER"]
        assert environment["DAGSTER_PG_HOST"] in found
    prepared = found["prepare"]["command"][-1]
    copied = next(rest for name, rest in instructions() if name == "COPY" and "deploy/dagster-postgres.yaml" in rest)
    assert copied.split()[-1] == "./"
    assert dict(instructions()[:8])["WORKDIR"] == "/opt/elv"
    assert f"cp /opt/elv/dagster-postgres.yaml {volume}/dagster/dagster.yaml" in prepared
    assert f"test -e {volume}/dagster/dagster.yaml" in prepared, "a file that is there must stay"
    assert {
        entry.split(":")[0] for name in found for entry in found[name]["volumes"] if not entry.startswith(".")
    } == set(compose()["volumes"])


def test_only_the_code_location_knows_the_addresses_and_only_this_machine_reaches_the_ui() -> None:
    found = services()
    secret = re.compile(r"ELV_\w+_URL|ELV_HASH_KEY")
    knows = {name for name in found if secret.search(json.dumps(found[name].get("environment", {})))}
    assert knows == {"code-location"}
    published = {name: service["ports"] for name, service in found.items() if "ports" in service}
    assert set(published) == {"webserver"}
    assert all(port.startswith("127.0.0.1:") for port in published["webserver"])
    assert found["postgres"]["networks"] == ["inside"]
    assert compose()["networks"]["inside"]["internal"] is True
    assert found["code-location"]["hostname"], "a killed run is recognised by the name of its host"


def example_variables() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_variable_of_compose_is_in_the_example_and_none_has_a_value() -> None:
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert set(example_variables()) == used
    assert set(example_variables().values()) == {""}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"deploy/.env", "deploy/config/"} <= set(ignored)


# ------------------------------------------------------------------------------------------- by the clock of a machine

UNITS = sorted(DEPLOY.glob("*.service"))
PASSING = {1, 8, 9}
"""Exit codes whose cause may pass by itself: another run in progress, a database that is away, a held day."""


def unit(file: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # keys of systemd are case-sensitive
    found.read_string(file.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_a_service_runs_a_command_that_exists_and_writes_only_the_home(file: Path) -> None:
    service = unit(file)["Service"]
    for line in filter(None, (service["ExecStart"], service.get("ExecStartPost"))):
        program, *words = shlex.split(line)
        assert program == "/opt/elv/.venv/bin/elv"
        parsed_by_the_command(words)
    assert service["Environment"] == f"{HOME_VARIABLE}={service['ReadWritePaths']}"
    assert service["ProtectSystem"] == "strict"
    assert service["User"] == "elv"


@pytest.mark.parametrize("name", ["elv-daily", "elv-weekly"])
def test_a_timer_starts_its_service_and_hopeless_errors_are_not_repeated(name: str) -> None:
    assert unit(DEPLOY / f"{name}.timer")["Timer"]["OnCalendar"]
    service = unit(DEPLOY / f"{name}.service")["Service"]
    assert service["Type"] == "oneshot"
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == hopeless_codes()


def hopeless_codes() -> set[int]:
    kinds: list[type[ElvError]] = [ElvError, *ElvError.__subclasses__()]
    return {kind.exit_code for kind in kinds} - PASSING


def test_the_training_waits_for_the_daily_run() -> None:
    assert "elv-daily.service" in unit(DEPLOY / "elv-weekly.service")["Unit"]["After"].split()


def cron_jobs() -> dict[str, dict[str, Any]]:
    documents = list(yaml.safe_load_all((DEPLOY / "cronjob.yaml").read_text(encoding="utf-8")))
    return {document["metadata"]["name"]: document["spec"] for document in documents if document["kind"] == "CronJob"}


@pytest.mark.parametrize("name", ["elv-daily", "elv-weekly", "elv-purge"])
def test_a_cron_job_runs_a_command_that_exists_one_at_a_time(name: str) -> None:
    spec = cron_jobs()[name]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][0] == "elv"
    parsed_by_the_command(container["command"][1:])
    assert spec["concurrencyPolicy"] == "Forbid"
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert set(rule["onExitCodes"]["values"]) == hopeless_codes()
    assert pod["restartPolicy"] == "Never", "Kubernetes allows a policy for failed pods only then"
    user = re.search(r"^USER (\d+)$", containerfile(), flags=re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user.group(1))
    (home,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "home")
    assert {"name": HOME_VARIABLE, "value": home} in container["env"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_each_cron_job_has_a_host_name_of_its_own_that_stays() -> None:
    names = [spec["jobTemplate"]["spec"]["template"]["spec"]["hostname"] for spec in cron_jobs().values()]
    assert len(names) == len(set(names)) == 3, "else one would take the running run of the other for an abandoned one"


def test_the_windows_task_runs_a_command_that_exists_never_twice_at_once() -> None:
    spaces = {"task": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    task = ElementTree.parse(DEPLOY / "windows-daily.xml").getroot()

    def text(path: str) -> str:
        return str(task.findtext(path, namespaces=spaces))

    assert text("task:Actions/task:Exec/task:Command").endswith("elv.exe")
    parsed_by_the_command(text("task:Actions/task:Exec/task:Arguments").split())
    assert text("task:Settings/task:MultipleInstancesPolicy") == "IgnoreNew"
    assert text("task:Settings/task:StartWhenAvailable") == "true"
