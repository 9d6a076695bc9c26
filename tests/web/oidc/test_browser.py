"""Log-in with an account of an identity provider in a real Chromium: what it keeps, follows and sends."""

from collections.abc import Iterator
from importlib.resources import files

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from cifar_tune.web.oidc_settings import OidcSettings
from cifar_tune.web.settings import WebSettings
from tests.browser import chromium
from tests.ports import held_port
from tests.waiting import wait_until
from tests.web.conftest import AppOf
from tests.web.serving import serving

from .provider import CLIENT_ID, SECRET, Provider, provider

pytestmark = pytest.mark.browser

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with provider() as made:
        yield made


def test_somebody_presses_the_button(chrome: Chrome, idp: Provider, app_of: AppOf) -> None:
    with held_port() as port:
        address = f"http://127.0.0.1:{port}"
        settings = WebSettings(port=port)
        oidc = OidcSettings(idp.issuer, CLIENT_ID, SECRET, address, "the lab", roles=("editor=lab",))
        with serving(app_of(oidc=oidc), settings):
            chrome.get(f"{address}/slots")
            assert chrome.current_url == f"{address}/login?next_page=/slots"
            chrome.execute_script(AXE)
            look = "const done = arguments[0]; axe.run().then((found) => done(found.violations.map((each) => each.id)))"
            assert chrome.execute_async_script(look) == []
            chrome.find_element(By.LINK_TEXT, "Log in with the lab").click()
            wait_until(lambda: chrome.current_url == f"{address}/slots")
            assert "ada@example.org, editor" in chrome.find_element(By.CSS_SELECTOR, ".who").text
            assert [each["name"] for each in chrome.get_cookies()] == ["cifar_tune_session"]
            chrome.find_element(By.CSS_SELECTOR, ".who button").click()
            wait_until(lambda: chrome.current_url == f"{address}/login")
            idp.claims = {"groups": []}
            chrome.find_element(By.LINK_TEXT, "Log in with the lab").click()
            wait_until(lambda: "in no group of the lab" in chrome.find_element(By.CSS_SELECTOR, ".warning").text)
            assert chrome.get_cookies() == []
