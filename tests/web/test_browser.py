"""The pages in a real Chromium: as each role, by keyboard alone, and looked at by axe. One browser and one server."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any, TypeVar

import pytest
from fastapi import FastAPI
from optuna.trial import TrialState
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from sqlalchemy.engine import URL
from starlette.testclient import TestClient

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.web.app import create_app
from cifar_tune.web.models.queueing import Slot, Slots
from cifar_tune.web.settings import WebSettings
from tests.browser import chromium
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import wait_until

from .conftest import Template, study_text
from .serving import serving

pytestmark = pytest.mark.browser

Found = TypeVar("Found")

PAGES = ("", "studies/made", "studies/queued", "slots", "events", "submit", "studies/none")
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
LOOK = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations.map(
    (each) => `${each.id}: ${each.help}: ${each.nodes.map((node) => node.html).slice(0, 3).join(" | ")}`)));
"""
MOST_TABS = 80
RATES = {"lr": {"low": 1e-4, "high": 1.0}, "weight_decay": {"low": 1e-6, "high": 0.1}}


@pytest.fixture(scope="module")
def app(storage: BatchStorage, url: URL) -> FastAPI:
    slots = Slots(
        slots=[Slot(number=0, device="cpu", study="made"), Slot(number=1, device="cpu", study=None)], as_of=1e9
    )
    return create_app(storage, url, replace(WebSettings()), lambda: slots)


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture
def browser(chrome: Chrome, address: str) -> Chrome:
    """Nobody is logged in, and the window is wide and light."""
    chrome.get(f"{address}login")
    chrome.delete_all_cookies()
    look(chrome, 1400, "light")
    chrome.get_log("browser")  # type: ignore[no-untyped-call]
    return chrome


def look(browser: Chrome, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def log_in(browser: Chrome, address: str, token: str) -> None:
    browser.get(f"{address}login")
    browser.find_element(By.ID, "token").send_keys(token + Keys.ENTER)
    wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "nav")))


def unrenewed(read: Callable[[], Found]) -> Found:
    """What is read of a page, again from the start where the page renews that part of itself in between."""
    while True:
        with suppress(StaleElementReferenceException):
            return read()


def words(browser: Chrome, selector: str) -> list[str]:
    return unrenewed(lambda: [each.text for each in browser.find_elements(By.CSS_SELECTOR, selector)])


def errors(browser: Chrome) -> list[str]:
    log: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [each["message"] for each in log if each["level"] == "SEVERE"]


def tab_to(browser: Chrome, is_it: Callable[[WebElement], bool]) -> None:
    """Press the key that goes on until this has the focus."""
    for _ in range(MOST_TABS):
        if unrenewed(lambda: is_it(browser.switch_to.active_element)):
            return
        ActionChains(browser).send_keys(Keys.TAB).perform()
    raise AssertionError("the keyboard does not lead there")


def press(browser: Chrome, key: str = Keys.ENTER) -> None:
    ActionChains(browser).send_keys(key).perform()


def test_nobody_sees_the_log_in_page_alone(browser: Chrome, address: str) -> None:
    for page in PAGES:
        browser.get(f"{address}{page}")
        assert browser.title.startswith("Log in"), page
        assert (words(browser, "nav"), words(browser, "button"), words(browser, "table")) == ([], ["Log in"], [])
        assert browser.find_element(By.NAME, "next_page").get_attribute("value") == f"/{page}"


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
def test_each_role_sees_what_it_may_do(browser: Chrome, address: str, template: Template, role: str) -> None:
    log_in(browser, address, template.tokens[role])
    submits = [] if role == "viewer" else ["Submit"]
    assert words(browser, "nav a") == ["Studies", "Slots", "Events", "Dashboard", *submits]

    def buttons(page: str) -> list[str]:
        browser.get(f"{address}{page}")
        return words(browser, ".tools button")

    hers = [] if role == "viewer" else ["Pause", "Sooner", "Later", "Cancel"]
    assert buttons("studies/queued") == hers
    assert buttons("studies/made") == (["Delete"] if role == "admin" else [])
    assert buttons("submit") == ([] if role == "viewer" else ["Submit"])
    assert ("submit a study" in browser.find_element(By.TAG_NAME, "main").text) == (role == "viewer")  # may not


def test_pages_are_printed_on_white_as_tables_without_buttons(
    browser: Chrome, address: str, template: Template
) -> None:
    log_in(browser, address, template.tokens["editor"])
    browser.get(address)
    look(browser, 700, "dark")
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    style = browser.find_element(By.TAG_NAME, "body").value_of_css_property
    assert style("background-color") == "rgba(255, 255, 255, 1)"
    assert not any(each.is_displayed() for each in browser.find_elements(By.CSS_SELECTOR, "nav, form, .who"))
    assert (
        browser.find_element(By.CSS_SELECTOR, "#queue-table tbody tr").value_of_css_property("display") == "table-row"
    )
    assert browser.find_element(By.CSS_SELECTOR, "#queue-table thead").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_the_dashboard_works_behind_the_door(browser: Chrome, address: str, template: Template) -> None:
    log_in(browser, address, template.tokens["viewer"])
    browser.get(f"{address}dashboard")
    wait_until(lambda: "made" in words(browser, "body")[0])
    assert errors(browser) == []


def test_everything_is_done_by_keyboard_alone(
    browser: Chrome, address: str, template: Template, editor: TestClient
) -> None:
    assert editor.post("/v1/studies", json={"text": study_text("keyed")}).status_code == 201
    browser.get(address)
    press(browser, template.tokens["editor"] + Keys.ENTER)  # the field has the focus
    wait_until(lambda: bool(browser.find_elements(By.ID, "all-table")))
    tab_to(browser, lambda focused: focused.text == "Skip to the content")
    press(browser)
    heading = "#all-table th[aria-sort]"
    tab_to(browser, lambda focused: focused.text == "Study" and focused == find(browser, f"{heading} button"))
    for order in ("ascending", "descending"):
        press(browser)
        wait_until(lambda order=order: unrenewed(lambda: find(browser, heading).get_attribute("aria-sort")) == order)  # type: ignore[misc]
        names = words(browser, "#all-table td.name")
        assert names == sorted(names, reverse=order == "descending")
    browser.execute_script("shownParts.clear(); return renew()")  # as it happens each few seconds
    assert unrenewed(lambda: browser.switch_to.active_element.text).startswith("Study")  # the focus stays
    assert words(browser, "#all-table td.name") == names
    tab_to(browser, lambda focused: focused.text == "keyed")
    press(browser)
    wait_until(lambda: bool(browser.find_elements(By.ID, "pause")))
    tab_to(browser, lambda focused: focused.get_attribute("id") == "pause")
    press(browser)
    wait_until(lambda: bool(browser.find_elements(By.ID, "resume")))
    tab_to(browser, lambda focused: focused.get_attribute("id") == "cancel")
    press(browser)
    tab_to(browser, lambda focused: focused.text == "Yes")
    press(browser)
    wait_until(lambda: editor.get("/v1/submissions/keyed").json()["state"] == "cancelled")


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def test_axe_finds_nothing(browser: Chrome, address: str, template: Template) -> None:
    found: dict[str, Any] = {"login": looked_at(browser)}
    log_in(browser, address, template.tokens["admin"])
    for page in PAGES:
        browser.get(f"{address}{page}")
        if page == "studies/made":
            wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "#importances meter, #curves circle")))
        found[page] = looked_at(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390, page
    assert {page: each for page, each in found.items() if each} == {}


def looked_at(browser: Chrome) -> list[str]:
    """What axe finds on a page that is wide and light, and narrow and dark."""
    browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; });" + AXE)
    found: list[str] = []
    for width, scheme in ((1400, "light"), (390, "dark")):
        look(browser, width, scheme)
        found += [f"{width} {scheme}: {each}" for each in browser.execute_async_script(LOOK)]
    return found


def test_only_pages_that_somebody_looks_at_listen(
    browser: Chrome, address: str, template: Template, app: FastAPI
) -> None:
    """A browser opens six connections to a server at most: pages in the background must not use them up."""
    listeners = app.state.here.listeners
    log_in(browser, address, template.tokens["viewer"])
    browser.get(f"{address}studies/made")
    wait_until(lambda: listeners.open == 2)
    for hidden, streams in ((True, 0), (False, 2)):
        browser.execute_script(
            "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))",
            hidden,
        )
        wait_until(lambda streams=streams: listeners.open == streams)  # type: ignore[misc]


def test_a_page_grows_while_one_watches(
    browser: Chrome, address: str, template: Template, storage: BatchStorage
) -> None:
    browser.get(f"{address}studies/made")
    find(browser, "#token").send_keys(template.tokens["editor"] + Keys.ENTER)
    wait_until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#curves circle")) == 2)  # it runs, and the best
    curve = "return document.querySelector('#curves path:not(.ended):not(.best)')?.outerHTML || ''"
    drawn: str = browser.execute_script(curve)
    study = storage.get_study_id_from_name("made")
    trial = storage.get_trial_id_from_study_id_trial_number(study, 40)
    storage.set_trial_intermediate_value(trial, 3, 0.45)
    wait_until(lambda: browser.execute_script(curve).count("L") == drawn.count("L") + 1)
    wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "#importances meter")))
    storage.set_trial_state_values(trial, TrialState.WAITING)
    wait_until(lambda: words(browser, "#parked") == ["Parked after an epoch, to go on later: 40."])
    assert words(browser, "#running tbody") == ["No trial runs."]
    storage.set_trial_state_values(trial, TrialState.RUNNING)
    assert errors(browser) == []


def test_the_curve_of_the_best_trial_is_drawn_however_long_ago_it_ended(
    browser: Chrome, address: str, template: Template, storage: BatchStorage, viewer: TestClient
) -> None:
    ends = [MadeTrial({"lr": 0.5, "weight_decay": 1e-3}, 0.9, history={"val_accuracy": [0.5, 0.8, 0.9]})]
    ends += [MadeTrial({"lr": 0.01, "weight_decay": 1e-3}, 0.1, history={"val_accuracy": [0.1]}) for each in range(12)]
    make_record(make_spec(RATES, name="long-ago"), ends, storage)
    assert 0 not in [each["number"] for each in viewer.get("/v1/studies/long-ago/live").json()["ended"]]
    log_in(browser, address, template.tokens["viewer"])
    browser.get(f"{address}studies/long-ago")
    drawn = "return [...document.querySelectorAll('#curves path.best')].map((each) => each.outerHTML)"
    wait_until(lambda: len(browser.execute_script(drawn)) == 1)
    (best,) = browser.execute_script(drawn)
    assert ("trial 0" in best, best.count("L")) == (True, 2)
    assert words(browser, "#curves text")[-1] == "best: 0"
    assert len(browser.find_elements(By.CSS_SELECTOR, "#curves path.ended.point")) == 10, "one epoch is a point"
    assert errors(browser) == []


def test_a_figure_reads_the_same_wherever_the_page_shows_it(
    browser: Chrome, address: str, template: Template, storage: BatchStorage
) -> None:
    make_record(
        make_spec(RATES, name="figures"), [MadeTrial({"lr": 0.000603, "weight_decay": 1.1212e-5}, 0.9)], storage
    )
    log_in(browser, address, template.tokens["viewer"])
    browser.get(f"{address}studies/figures")
    wait_until(lambda: words(browser, "#ended tbody td:first-child") == ["0"])
    assert {"0.000603", "1.121e-05"} <= set(words(browser, "#best td"))
    (knobs,) = words(browser, "#ended tbody td:last-child")
    assert {"lr 0.000603", "weight_decay 1.121e-05"} <= set(knobs.split(", "))


def test_a_queued_study_is_drawn_as_soon_as_its_first_run_has_begun(
    browser: Chrome, address: str, template: Template, storage: BatchStorage, editor: TestClient
) -> None:
    assert editor.post("/v1/studies", json={"text": study_text("begins")}).status_code == 201
    log_in(browser, address, template.tokens["editor"])
    browser.get(f"{address}studies/begins")
    assert not browser.find_elements(By.ID, "live")
    make_record(make_spec(name="begins"), [], storage)
    wait_until(lambda: bool(browser.find_elements(By.ID, "live")))
