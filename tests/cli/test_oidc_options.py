"""The options of `serve` for an identity provider: what they need, and where the secret may stand."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.cli import oidc_options
from cifar_tune.cli.oidc_options import SECRET_VARIABLE, oidc_settings
from cifar_tune.errors import UserError
from cifar_tune.web.oidc_settings import OidcSettings
from tests.processes import call_cifar_tune

GIVEN: Mapping[str, Any] = {
    "issuer": "https://login.example.org", "client_id": "tune", "secret_file": None,
    "address": "https://tune.example.org", "label": "", "name_claim": "email", "groups_claim": "groups",
    "roles": ["editor=lab"], "role": "none", "scopes": None,
}  # fmt: skip
NOTHING: Mapping[str, Any] = {**GIVEN, "issuer": None, "client_id": None, "address": None, "roles": None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "secret"
    made.write_text("of-a-file\n")
    made.chmod(0o600)
    return made


def test_the_secret_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, " of-the-environment ")
    found = oidc_settings(**GIVEN)
    assert found is not None
    assert found.secret == "of-the-environment"  # noqa: S105 (of this test alone)
    assert SECRET_VARIABLE not in os.environ, "studies would inherit it"
    assert "of-the-environment" not in repr(found)


def test_the_secret_may_stand_in_a_file_that_nobody_else_reads(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "of-the-environment")
    assert oidc_settings(**{**GIVEN, "secret_file": file}) == OidcSettings(
        "https://login.example.org", "tune", "of-a-file", "https://tune.example.org", roles=("editor=lab",)
    )
    file.chmod(0o640)
    with pytest.raises(UserError, match=rf"others can read the client secret in it; change that: chmod 600 {file}"):
        oidc_settings(**{**GIVEN, "secret_file": file})


def test_without_any_of_them_there_is_no_provider() -> None:
    assert oidc_settings(**NOTHING) is None


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    with pytest.raises(UserError) as caught:
        oidc_settings(**{**NOTHING, "issuer": "https://login.example.org"})
    said = str(caught.value)
    assert "--oidc-client-id: is missing" in said
    assert "--public-address: is missing" in said
    assert f"the client secret: is missing: set {SECRET_VARIABLE}" in said
    assert "--oidc-issuer" not in said.splitlines()[0].partition(":")[0]


def test_without_authlib_a_command_installs_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc_options, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        oidc_settings(**{**GIVEN, "secret_file": file})
    assert str(caught.value) == "--oidc-issuer: needs authlib: pip install 'cifar-tune[service,oidc]'"


def test_the_command_refuses_what_cannot_work(tmp_path: Path, file: Path) -> None:
    wrong = ("--oidc-issuer", "http://login.example.org", "--oidc-client-id", "tune", "--oidc-secret-file", "secret")
    more = ("--public-address", "https://tune.example.org", "--oidc-role", "king=lab", "--devices", "cpu")
    code, _, said = call_cifar_tune(("serve", *wrong, *more), tmp_path, os.environ)
    assert code == 2
    assert "--oidc-issuer = 'http://login.example.org': must begin with https://" in said
    assert "--oidc-role = 'king': must be viewer, editor or admin" in said
    assert not (tmp_path / "storage").exists()
