"""The container stack where no engine runs: held against the compose specification, our settings and our rules."""

import base64
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from typer.main import get_command

from adapters.settings import PREFIX, Settings
from cli.main import app
from sandbox.servers import mongod
from workflows import policies

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
OURS: Final = {name for name, service in SERVICES.items() if service["image"].startswith("illajwala/")}
JOBS: Final = {name for name, service in SERVICES.items() if str(service["restart"]).startswith("on-failure")}

VARIABLE: Final = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:[-?])([^}]*))?\})")
KEY: Final = base64.b64encode(bytes(32)).decode()

FILLED: Final = {
    "VISITNOW_PUBLIC_URL": "https://api.example.in",
    "VISITNOW_TEMPORAL_UI_URL": "https://temporal.example.in",
    "VISITNOW_RAZORPAY_KEY_ID": "rzp_live_example",
    "VISITNOW_RAZORPAY_KEY_SECRET": "secret",
    "VISITNOW_RAZORPAY_WEBHOOK_SECRETS": "newest,older",
    "VISITNOW_TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "VISITNOW_TWILIO_AUTH_TOKEN": "token",
    "VISITNOW_TWILIO_SMS_FROM": "+911400000000",
    "VISITNOW_SMTP_URL": "smtps://user:password@mail.example.in:465",
    "VISITNOW_EMAIL_FROM": "VisitNow <no-reply@example.in>",
    "VISITNOW_SIGNING_KEYS": f"2026-01:{KEY}",
    "VISITNOW_CODEC_KEYS": f"2026-01:{KEY}",
    "VISITNOW_BACKUP_KEYS": f"2026-01:{KEY}",
    "VISITNOW_ID_HMAC_KEY": KEY,
    "VISITNOW_BLIND_INDEX_KEY": KEY,
    "KMS_KEY_FILE": "./secrets/kms_key",
    "MONGODB_ROOT_PASSWORD": "root",
    "MONGODB_OWNER_PASSWORD": "owner",
    "MONGODB_APPLICATION_PASSWORD": "application",
    "MONGODB_AUDIT_PASSWORD": "audit",
    "MONGODB_VAULT_PASSWORD": "vault",
    "MONGODB_READER_PASSWORD": "reader",
    "MONGODB_REPLICA_KEY": "replica",
    "REDIS_PASSWORD": "redis",
    "POSTGRES_PASSWORD": "postgres",
    "STORAGE_ACCESS_KEY": "access",
    "STORAGE_SECRET_KEY": "secret",
}
"""What an operator fills in, and nothing that has a default."""


STORAGE: Final = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
"""What every client of S3 reads, ours too."""


def filled_in(text: str, environment: Mapping[str, str]) -> str:
    """Compose's interpolation, as far as it is used here; KeyError for a required variable that is not set."""

    def value(match: re.Match[str]) -> str:
        dollar, name, operator, rest = match.groups()
        if dollar:
            return "$"
        if environment.get(name):
            return environment[name]
        if operator == ":-":
            return str(rest)
        raise KeyError(name)

    return VARIABLE.sub(value, text)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def environment_of(name: str, operator: Mapping[str, str]) -> dict[str, str]:
    return {key: filled_in(str(value), operator) for key, value in SERVICES[name].get("environment", {}).items()}


def settings_of(environment: Mapping[str, str]) -> Settings:
    return Settings.model_validate(
        {key.removeprefix(PREFIX).lower(): value for key, value in environment.items() if key.startswith(PREFIX)}
    )


def used_variables() -> set[str]:
    return {match[2] for text in texts(COMPOSE) for match in VARIABLE.finditer(text) if match[2]}


def required_variables() -> set[str]:
    return {match[2] for text in texts(COMPOSE) for match in VARIABLE.finditer(text) if match[3] == ":?"}


# The file


def test_it_keeps_to_the_compose_specification() -> None:
    schema = json.loads((resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    assert schema["title"] == "Compose Specification"
    validator = Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = {**COMPOSE, "services": {**SERVICES, "api": {**SERVICES["api"], "comand": ["api"]}}}
    assert not validator.is_valid(broken), "the schema would have let a misspelt key pass"


def test_what_it_refers_to_exists() -> None:
    for name, service in SERVICES.items():
        for other, needs in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if needs["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}"
            assert (needs["condition"] == "service_completed_successfully") == (other in JOBS), f"{name} on {other}"
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (ROOT / source).is_dir(), volume
                assert mode == ["ro"], volume
            else:
                assert source in COMPOSE["volumes"], volume


def test_no_circle_of_services_waits_for_itself() -> None:
    done: set[str] = set()
    left = set(SERVICES)
    while left:
        free = {name for name in left if set(SERVICES[name].get("depends_on", {})) <= done}
        assert free, f"these wait for each other: {left}"
        done |= free
        left -= free


def test_every_job_is_awaited_by_somebody() -> None:
    awaited = {other for service in SERVICES.values() for other in service.get("depends_on", {})}
    assert awaited >= {name for name in JOBS if "profiles" not in SERVICES[name]}


# Settings


@pytest.mark.parametrize("name", sorted(OURS - {"sandbox"}))
def test_every_variable_is_a_setting_and_production_starts_with_them(name: str) -> None:
    environment = environment_of(name, FILLED)
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert {key for key in environment if key.startswith(PREFIX)} <= known
    assert set(environment) <= known | STORAGE, "ours read no other variables"
    settings = settings_of(environment)
    assert not settings.is_development
    assert settings.razorpay_base_url == "https://api.razorpay.com"


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_no_setting_that_production_asks_for_is_missing(field: str) -> None:
    """Whatever the settings refuse to do without, the stack sets: dropping it is noticed."""
    environment = environment_of("api", FILLED)
    without = {key: value for key, value in environment.items() if key != PREFIX + field.upper()}
    try:
        settings_of(without)
    except ValidationError:
        assert PREFIX + field.upper() in environment


def test_the_check_above_would_see_a_missing_secret() -> None:
    environment = environment_of("api", FILLED)
    for name in ("CODEC_KEYS", "SIGNING_KEYS", "KMS_URL", "MONGODB_URL", "RAZORPAY_WEBHOOK_SECRETS", "PUBLIC_URL"):
        with pytest.raises(ValidationError):
            settings_of({key: value for key, value in environment.items() if key != PREFIX + name})


def test_the_sandbox_serves_the_same_stack_in_development() -> None:
    operator = {
        **FILLED,
        "VISITNOW_PROFILE": "development",
        "VISITNOW_RAZORPAY_BASE_URL": "http://sandbox:9000",
        "VISITNOW_RAZORPAY_WEBHOOK_SECRETS": "only",
        "VISITNOW_TWILIO_BASE_URL": "http://sandbox:9000",
        "VISITNOW_SMTP_URL": "smtp://sandbox:9025",
    }
    settings = settings_of(environment_of("api", operator))
    sandbox = environment_of("sandbox", operator)
    assert settings.razorpay_base_url == f"http://sandbox:{sandbox['SANDBOX_PORT']}"
    assert settings.razorpay_key_id == sandbox["SANDBOX_KEY_ID"]
    assert settings.webhook_secrets == (sandbox["SANDBOX_WEBHOOK_SECRET"].encode(),)
    assert settings.twilio_base_url == settings.razorpay_base_url
    assert settings.twilio_account_sid == sandbox["SANDBOX_ACCOUNT_SID"]
    assert settings.twilio_auth_token is not None
    assert settings.twilio_auth_token.get_secret_value() == sandbox["SANDBOX_AUTH_TOKEN"]
    assert settings.smtp_url is not None
    assert settings.smtp_url.get_secret_value() == f"smtp://sandbox:{sandbox['SANDBOX_SMTP_PORT']}"
    with pytest.raises(ValidationError, match="sandbox"):
        settings_of(environment_of("api", {**operator, "VISITNOW_PROFILE": "production"}))


@pytest.mark.parametrize("missing", sorted(FILLED))
def test_a_secret_that_is_not_filled_in_stops_everything(missing: str) -> None:
    operator = {key: value for key, value in FILLED.items() if key != missing}
    everything = "\n".join(texts(COMPOSE))
    assert filled_in(everything, FILLED)
    with pytest.raises(KeyError, match=missing):
        filled_in(everything, operator)


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(example) == used_variables()
    assert required_variables() == set(FILLED)
    unset = {name for name, value in example.items() if not value}
    assert unset == (set(FILLED) - {"KMS_KEY_FILE"}) | {"VISITNOW_TWILIO_WHATSAPP_FROM"}


def test_every_secret_comes_from_outside() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|PWD|SECRET|_KEYS?$|REPLICA_KEY|AUTH$", key) or "@" in str(value)
            assert not secret or ":?}" in str(value), f"{name}: {key}"


# Commands


def test_every_command_of_ours_exists_with_these_options() -> None:
    group = get_command(app)
    commands = [SERVICES[name]["command"] for name in sorted(OURS - {"sandbox"})]
    commands.append(json.loads(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1]))
    for command in commands:
        node: Any = group
        context: typer.Context | None = None
        words = list(command)
        while words and hasattr(node, "get_command"):
            context = typer.Context(node, parent=context, info_name=node.name)
            node = node.get_command(context, words.pop(0))
            assert node is not None, command
        node.make_context(node.name, words, parent=context)


def test_every_task_queue_is_served_and_no_other() -> None:
    queues = {name: SERVICES[name]["command"][2] for name in SERVICES if name.startswith("worker-")}
    assert sorted(queues.values()) == sorted(value for name, value in vars(policies).items() if name.endswith("_QUEUE"))
    for name, queue in queues.items():
        assert SERVICES[name]["command"][:2] == ["worker", "--queue"]
        assert SERVICES[name]["healthcheck"]["test"][-2:] == ["deploy/worker_health.py", queue]


# Hardening


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    uid, _, gid = service["user"].partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    forbidden = {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "volumes_from"}
    assert not forbidden & set(service)
    assert not any("docker.sock" in text for text in texts(service))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_that_stays_has_a_health_check_and_a_job_ends(name: str) -> None:
    service = SERVICES[name]
    if name in JOBS:
        assert "healthcheck" not in service
        assert "ports" not in service
        return
    assert service["restart"] == "unless-stopped"
    assert {"test", "interval", "timeout", "start_period", "retries"} <= set(service["healthcheck"])
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_ports_are_published_on_this_host_only_and_databases_not_at_all() -> None:
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api", "temporal-ui", "sandbox"}
    assert all(str(port).startswith("127.0.0.1:") for name in published for port in SERVICES[name]["ports"])
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in SERVICES.keys() - OURS - {"temporal-ui"}:
        assert SERVICES[name]["networks"] == ["inside"], name
    [outside] = COMPOSE["networks"]["outside"]["ipam"]["config"]
    assert settings_of(environment_of("api", FILLED)).trusted_proxies == outside["gateway"], "and no other container"


# Images

PINNED: Final = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)*(@sha256:[0-9a-f]{64})?")


def test_images_are_pinned() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1, "what was built on one system must run on it"
    for image in [*bases, *(service["image"] for service in SERVICES.values())]:
        assert PINNED.fullmatch(image), image
        if not image.startswith("postgres:"):  # has had two numbers since version 10
            assert re.search(r":v?\d+\.\d+\.\d+", image), image
    temporal = {SERVICES[name]["image"].split(":")[1] for name in ("temporal", "temporal-schema", "temporal-namespace")}
    assert len(temporal) == 1, "the schema's tool and the server are of one version"


def test_the_image_runs_as_nobody_special_and_checks_itself() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert re.findall(r"^USER (\S+)", final, re.MULTILINE) == ["10001:10001"]
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    assert re.search(r"pip uninstall .*\bpip setuptools wheel\b", final)
    assert not re.search(r"apt-get|pip install|\bgcc\b|build-essential", final)
    assert "--require-hashes --only-binary :all:" in DOCKERFILE
    assert all(SERVICES[name]["user"] == "10001:10001" for name in OURS)


def test_the_image_holds_every_package_that_runs_and_is_told_what_to_copy() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]} - {"bench"}
    copied = set(re.findall(r"^COPY (\w+) /app/\1$", DOCKERFILE, re.MULTILINE))
    assert copied == packages
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    sources = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def locked(name: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE)
    return dict(found)


def test_the_image_installs_what_was_tested_and_no_tool_of_the_tests() -> None:
    runtime, everything = locked("requirements-runtime.lock"), locked("requirements.lock")
    assert runtime.items() <= everything.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert direct <= runtime.keys()
    assert not {"check-jsonschema", "hypothesis", "mypy", "pytest", "ruff", "schemathesis", "uv"} & runtime.keys()


# What the containers run


def test_the_scripts_are_executable_and_of_good_grammar() -> None:
    scripts = sorted((ROOT / "deploy").rglob("*.sh"))
    assert len(scripts) == 5
    for script in scripts:
        assert script.stat().st_mode & 0o111, script
        shell = script.read_text().splitlines()[0].removeprefix("#!")
        subprocess.run([shell, "-n", script], check=True, timeout=10)
    assert (ROOT / "deploy/visitnow").stat().st_mode & 0o111


def test_the_database_s_roles_are_those_that_the_tests_run_under() -> None:
    def granted(privileges: list[Any]) -> set[tuple[str, str]]:
        return {
            (collection, action)
            for privilege in privileges
            for collection in privilege.get("collections") or [privilege["resource"]["collection"]]
            for action in privilege["actions"]
        }

    deployed = json.loads((ROOT / "deploy/mongodb/roles.json").read_text())
    assert deployed.keys() == mongod._ROLES.keys()
    for role, privileges in mongod._ROLES.items():
        assert granted(deployed[role]) == granted(privileges), role
        assert f"MONGODB_{role.upper()}_PASSWORD" in SERVICES["mongodb-init"]["environment"]
