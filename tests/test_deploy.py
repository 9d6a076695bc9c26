"""The files in deploy/: what they start exists and can be started so, and they agree with each other.

No container is built here, and no unit is started.
"""

import configparser
import ipaddress
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml

from cifar_tune.cli import oidc_options
from cifar_tune.cli.main import app
from cifar_tune.service.addresses import SECRET_VARIABLE
from cifar_tune.web.serving import KEEP_ALIVE_SECONDS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.exists(), reason="not in this copy of the project")


def options_of(arguments: list[str]) -> dict[str, Any]:
    """The options of a `cifar-tune` command; fails where it has no such ones."""
    program = cast(typer.core.TyperGroup, typer.main.get_command(app))
    name, *rest = arguments
    with program.commands[name].make_context(name, rest) as context:
        return dict(context.params)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose) == {"services", "volumes", "networks"}
    return cast(dict[str, Any], compose)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "cifar-tune.service")
    return parser


def settings() -> dict[str, str]:
    """The environment file, as systemd reads it; what is a comment may be used, so it counts."""
    lines = (DEPLOY / "cifar-tune.env").read_text().splitlines()
    return dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))


def test_the_unit_starts_a_server_that_parks_before_it_is_killed() -> None:
    service = unit()["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "cifar-tune"
    assert arguments == ["serve", "$CIFAR_TUNE_OPTIONS"]
    found = options_of(["serve", *shlex.split(settings()["CIFAR_TUNE_OPTIONS"])])
    assert found["host"] == "127.0.0.1", "Caddy stands before it"
    variables = {"CIFAR_TUNE_STORAGE", "CIFAR_TUNE_OPTIONS", SECRET_VARIABLE, oidc_options.SECRET_VARIABLE}
    assert set(settings()) == variables
    assert (service["KillMode"], service["OOMPolicy"]) == ("process", "continue")
    assert int(service["TimeoutStopSec"]) > 60
    places = [f"/var/lib/{folder}" for folder in service["StateDirectory"].split()]
    environment = dict(each.split("=", 1) for each in service["Environment"].split())
    assert service["PrivateTmp"] == "yes"
    assert environment["TMPDIR"] in places, "a private /tmp is removed at a restart, which studies outlive"
    assert "RemoveIPC" not in service
    assert (service["UMask"], service["NoNewPrivileges"], service["ProtectSystem"]) == ("0077", "yes", "strict")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "cifar-tune.service").read_text().replace("/opt/cifar-tune/bin/cifar-tune", sys.executable)
    (tmp_path / "cifar-tune.service").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "cifar-tune.service")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", "--no-pager", command[-1]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"it may do too much: {ended.stdout}"


def test_the_image_is_built_of_what_is_there(project: dict[str, Any]) -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert "/deploy" in included
    for word, rest in lines:
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"/{source}" in included or source == "pyproject.toml", f"{source} is in no sdist"
    images = [rest.split()[0] for word, rest in lines if word == "FROM"]
    assert len(set(images)) == 1
    assert "/" not in images[0], "the host of the registry is for others to choose"
    [extras] = re.findall(r"/source\[([\w,]+)\]", text)
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
    last = dict(line for line in lines if len(line) == 2)
    assert options_of(json.loads(last["CMD"]))["port"] == int(last["EXPOSE"])
    assert json.loads(last["ENTRYPOINT"]) == ["cifar-tune"]
    assert last["USER"] != "root"


def test_the_containers_fit_each_other(services: dict[str, Any]) -> None:
    each = services["services"]
    assert set(each) == {"database", "server", "proxy"}
    for name, service in each.items():
        assert "/" not in service.get("image", ""), name
        assert set(service.get("depends_on", ())) <= set(each)
        for volume in service.get("volumes", ()):
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            assert source in services["volumes"] or source in ("./Caddyfile", "./images"), volume
        assert set(service["networks"]) == {"inside"}
        assert "ports" not in service or name == "proxy"
    server, proxy = each["server"], each["proxy"]
    built = (DEPLOY / server["build"]["context"]).resolve()
    assert (built / server["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    found = options_of(server["command"])
    address = proxy["networks"]["inside"]["ipv4_address"]
    assert found["trusted_proxy"] == [address]
    [config] = services["networks"]["inside"]["ipam"]["config"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(config["subnet"])
    assert proxy["environment"]["LAB_SERVER"] == f"server:{found['port']}"
    assert f":{found['port']}/readyz" in server["healthcheck"]["test"][-1]
    compile(server["healthcheck"]["test"][-1], "healthcheck", "exec")
    url = server["environment"]["CIFAR_TUNE_STORAGE"]
    database = each["database"]["environment"]
    password = "${POSTGRES_PASSWORD}"  # noqa: S105 (of the environment)
    assert url == f"postgresql://{database['POSTGRES_USER']}:{password}@database/{database['POSTGRES_DB']}"
    assert int(server["stop_grace_period"].removesuffix("s")) > 60
    client = re.search(r"postgresql-client-(\d+)", (DEPLOY / "Dockerfile").read_text())
    assert client is not None
    assert int(client[1]) >= int(each["database"]["image"].partition(":")[2]), "else pg_dump refuses"


def test_the_commands_in_comments_can_be_typed() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    found = re.findall(r"exec server cifar-tune (.*)", text)
    assert len(found) == 2
    for line in found:
        program = cast(typer.core.TyperGroup, typer.main.get_command(app))
        with program.make_context("cifar-tune", shlex.split(line), resilient_parsing=True):
            pass
        group, name, *rest = shlex.split(line)
        with program.commands[group].commands[name].make_context(name, rest):  # type: ignore[attr-defined]
            pass


def test_the_proxy_passes_on_events_and_no_made_up_names() -> None:
    text = (DEPLOY / "Caddyfile").read_text()
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
    assert sum(line.endswith("{") for line in lines) == lines.count("}") == 4
    assert "flush_interval -1" in lines
    [keeps] = [int(line.split()[1].removesuffix("s")) for line in lines if line.startswith("keepalive ")]
    assert keeps < KEEP_ALIVE_SECONDS
    served = options_of(["serve"])
    assert f"header_up -{served['proxy_user_header']}" in lines
    assert f"reverse_proxy {{$LAB_SERVER:{served['host']}:{served['port']}}} {{" in lines
    assert settings()["CIFAR_TUNE_OPTIONS"].split()[1] in text


@pytest.mark.skipif(shutil.which("caddy") is None, reason="there is no Caddy")
def test_caddy_understands_its_file(tmp_path: Path) -> None:
    folders = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    ended = subprocess.run(command, env=os.environ | folders, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
