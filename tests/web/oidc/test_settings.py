"""Log-in at a public address with TLS, without a provider, and settings that cannot work."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from cifar_tune.errors import UserError
from cifar_tune.web.oidc_settings import OidcSettings
from cifar_tune.web.settings import TrustedProxy, WebSettings, check_settings
from tests.web.conftest import AppOf, ClientOf, Template

from .conftest import ROLES, at_provider, me
from .provider import SECRET, Provider


def test_behind_a_proxy_with_tls(app_of: AppOf, oidc: OidcSettings, idp: Provider) -> None:
    """The provider sends people to the public address, whatever host the proxy asks for."""
    public = replace(oidc, address="https://tune.example.org/")
    app = app_of(oidc=public, proxy=TrustedProxy(("10.9.1.2",)))
    browser = TestClient(app, "https://tune.example.org", client=("10.9.1.2", 1), follow_redirects=False)
    browser.headers["X-Forwarded-Proto"] = "https"
    idp.claims = {"sub": "proxied", "email": "proxied@example.org"}
    answer = browser.get("/login/oidc")
    assert answer.headers["set-cookie"].startswith("__Host-cifar_tune_log_in=")
    assert "Secure" in answer.headers["set-cookie"]
    back = at_provider(browser)
    assert back.startswith("https://tune.example.org/login/oidc/callback?")
    answer = browser.get(back)
    assert answer.headers["location"] == "/"
    assert "__Host-cifar_tune_session=" in answer.headers["set-cookie"]
    assert me(browser) == {"name": "proxied@example.org", "role": "editor"}


def test_cookies_of_a_public_address_with_tls_are_kept_to_tls(
    app_of: AppOf, oidc: OidcSettings, template: Template, client_of: ClientOf
) -> None:
    """Also where the proxy with TLS is not trusted with anything, as on a machine that others use."""
    app = app_of(oidc=replace(oidc, address="https://tune.example.org"))
    public = TestClient(app, "https://tune.example.org", follow_redirects=False)
    here = client_of(None, app)
    for browser, name in ((public, "__Host-cifar_tune"), (here, "cifar_tune")):
        origin = {"Origin": str(browser.base_url).rstrip("/")}
        by_token = browser.post("/login", data={"token": template.tokens["viewer"]}, headers=origin)
        by_account = browser.get("/login/oidc")
        for answer, which in ((by_token, "session"), (by_account, "log_in")):
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith(f"{name}_{which}=")
            assert ("Secure" in cookie) == (browser is public)
        assert me(browser) == {"name": "vera", "role": "viewer"}


def test_without_a_provider_there_is_no_such_log_in(client_of: ClientOf, app_of: AppOf) -> None:
    nobody = client_of(None, app_of())
    for path in ("/login/oidc", "/login/oidc/callback?code=x&state=y"):
        assert nobody.get(path).status_code == 404
    assert "oidc" not in nobody.get("/login").text


GOOD = OidcSettings("https://login.example.org", "id", SECRET, "https://tune.example.org", roles=ROLES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"issuer": "http://login.example.org"}, "--oidc-issuer = 'http://login.example.org': must begin with https"),
        ({"issuer": "login.example.org"}, "must be an address such as https://login.example.org/realms/lab"),
        ({"issuer": "https://[login"}, "must be an address"),
        ({"issuer": "https://me:pw@login.example.org"}, "must be an address"),
        ({"address": "http://tune.example.org"}, "--public-address = 'http://tune.example.org': must begin with"),
        ({"address": "https://tune.example.org/tune"}, "must end after the host and port"),
        ({"client_id": " "}, "--oidc-client-id: must not be empty"),
        ({"roles": ("editor",)}, "--oidc-role = 'editor': must be a role and a group"),
        ({"roles": ("king=lab",)}, "--oidc-role = 'king': must be viewer, editor or admin"),
        ({"role": "king"}, "--oidc-default-role = 'king'"),
        ({"roles": ()}, "lets nobody in"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], words: str) -> None:
    check_settings(WebSettings(oidc=GOOD))
    with pytest.raises(UserError) as caught:
        check_settings(WebSettings(oidc=replace(GOOD, **changes)))
    assert words in str(caught.value)
