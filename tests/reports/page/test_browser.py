"""The page in a real Chromium, from disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser import chromium

from .studies import page_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


def show(browser: Chrome, text: str, folder: Path, width: int, scheme: str) -> str:
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    console(browser, "browser")
    console(browser, "performance")
    browser.get(file.as_uri())
    return file.as_uri()


def console(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    return browser.get_log(kind)  # type: ignore[no-untyped-call, no-any-return]


def requests(browser: Chrome) -> set[str]:
    messages: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"] for entry in console(browser, "performance")
    ]
    return {each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (375, "dark")])
@pytest.mark.parametrize("name", ["one trial", "thirty trials", "two thousand trials", "all pruned", "two objectives",
                                  "tested", "tested three times"])  # fmt: skip
def test_it_fits_and_asks_nobody(browser: Chrome, name: str, width: int, scheme: str, tmp_path: Path) -> None:
    address = show(browser, page_of(name), tmp_path, width, scheme)
    seen = browser.execute_script("return [document.documentElement.clientWidth, document.documentElement.scrollWidth]")
    assert width - 20 < seen[0] == seen[1]
    assert console(browser, "browser") == []
    assert {url for url in requests(browser) if not url.startswith("data:")} == {address}
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}[scheme]
    if name.startswith("tested"):  # without scrolling sideways anywhere
        right = "element => element.getBoundingClientRect().right > document.documentElement.clientWidth"
        beyond = f"return [...document.querySelectorAll('#test *')].filter({right}).length"
        assert browser.execute_script(beyond) == 0
    # no text smaller than can be read, wherever a picture is squeezed
    smallest = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('figure svg text')].filter(t => t.getClientRects().length)"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a), 99)"
    )
    assert smallest > 7


@pytest.mark.parametrize("name", ["thirty trials", "two objectives"])
def test_it_prints_whole_and_on_white(browser: Chrome, name: str, tmp_path: Path) -> None:
    show(browser, page_of(name), tmp_path, 720, "dark")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    style = "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    assert browser.execute_script(style) == ["rgb(255, 255, 255)", "rgb(35, 39, 46)"]
    ends = "return [...document.querySelectorAll('table, pre, figure')].map(e => e.getBoundingClientRect().right)"
    assert max(browser.execute_script(ends)) <= 720
    for element in ("button", "nav"):
        assert not any(each.is_displayed() for each in browser.find_elements(By.TAG_NAME, element))
    closed = "return document.querySelector('#tables details:not([open]) table').checkVisibility()"
    assert browser.execute_script(closed)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_on_a_telephone_the_button_covers_nothing(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 375, "light")
    for name in ("command", "configuration"):
        button = browser.find_element(By.CSS_SELECTOR, f"button[data-copy={name}]").rect
        assert button["y"] + button["height"] <= browser.find_element(By.ID, name).rect["y"]


def test_the_copy_button_copies(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 1280, "light")
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    for wanted, start in (("command", "cifar-tune train reports/made/best.yaml"), ("configuration", "# The best")):
        button = browser.find_element(By.CSS_SELECTOR, f"button[data-copy={wanted}]")
        assert button.is_displayed()
        button.click()
        copied = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")
        assert str(copied).startswith(start)
        assert button.text == "Copied"


def test_a_dot_leads_to_its_trial(browser: Chrome, tmp_path: Path) -> None:
    show(browser, page_of("thirty trials"), tmp_path, 1280, "light")
    dot = browser.find_element(By.CSS_SELECTOR, "#course .wide a")
    target = (dot.get_dom_attribute("href") or "").removeprefix("#")
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", dot)
    assert browser.execute_script("return document.querySelector(':target').id") == target
