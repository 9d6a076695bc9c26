"""The pages, as each role sees them, and in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from starlette.testclient import TestClient

from cifar_tune.optuna_internals import BatchStorage
from tests.browser import chromium
from tests.waiting import wait_until

from .conftest import ClientOf, Template, study_text
from .test_streams import serving

PAGES = ("/", "/studies/made", "/studies/queued", "/slots", "/events", "/login")


def buttons(page: str) -> set[str]:
    return set(re.findall(r'<button id="(\w+)"', page))


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_elsewhere_and_hold_no_script(viewer: TestClient, path: str) -> None:
    page = viewer.get(path)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(
        r"<script(?![^>]* src=\"/assets/)|<style|\sstyle=|\son\w+=|(?:src|href)=\"(?:https?:)?//", page.text
    )
    for asset in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text):
        assert viewer.get(asset).status_code == 200
    assert page.text.count("<h1>") == 1
    assert '<html lang="en">' in page.text


def test_buttons_are_those_of_the_role(client_of: ClientOf) -> None:
    def seen(role: str, study: str) -> set[str]:
        return buttons(client_of(role).get(f"/studies/{study}").text)

    assert seen("viewer", "queued") == seen("other editor", "queued") == set()
    assert seen("editor", "queued") == seen("admin", "queued") == {"pause", "sooner", "later", "cancel"}
    assert seen("editor", "paused") == {"resume", "sooner", "later", "cancel"}
    assert (seen("editor", "made"), seen("admin", "made")) == (set(), {"delete"})
    assert client_of("viewer").get("/submit").status_code == 403


def test_nobody_is_sent_to_log_in_and_back(nobody: TestClient, template: Template) -> None:
    sent = nobody.get("/studies/made")
    assert (sent.status_code, sent.headers["location"]) == (303, "/login?next_page=/studies/made")
    own = {"Origin": "http://127.0.0.1"}
    for wanted, reached in (("/studies/made", "/studies/made"), ("//evil.example", "/"), ("https://evil.example", "/")):
        form = {"token": template.tokens["viewer"], "next_page": wanted}
        assert nobody.post("/login", data=form, headers=own).headers["location"] == reached
    wrong = nobody.post("/login", data={"token": "ct_<b>", "next_page": "/slots"}, headers=own)
    assert wrong.status_code == 401
    assert "not known here" in wrong.text
    assert "ct_" not in wrong.text.replace("ct_…", "")


def test_what_people_write_is_text(editor: TestClient) -> None:
    text = study_text("written").replace("name: written", "name: written # <script>alert(1)</script>")
    assert editor.post("/v1/studies", json={"text": text}).status_code == 201
    page = editor.get("/studies/written").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>x" not in editor.get("/", params={"contains": "<b>x"}).text


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as browser:
        yield browser


@pytest.mark.browser
def test_a_person_logs_in_watches_and_changes(
    browser: Chrome, app: FastAPI, template: Template, storage: BatchStorage, editor: TestClient
) -> None:
    assert editor.post("/v1/studies", json={"text": study_text("clicked")}).status_code == 201
    with serving(app) as address:
        browser.get(f"{address}studies/made")
        browser.find_element(By.ID, "token").send_keys(template.tokens["editor"])
        browser.find_element(By.CSS_SELECTOR, "button.main").click()
        wait_until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#curves circle")) == 1)
        drawn = browser.find_element(By.CSS_SELECTOR, "#curves path:not(.ended)").get_attribute("d") or ""
        study = storage.get_study_id_from_name("made")
        trial = storage.get_trial_id_from_study_id_trial_number(study, 40)
        storage.set_trial_intermediate_value(trial, 3, 0.45)

        def path() -> str:
            found: str = browser.execute_script(
                "return document.querySelector('#curves path:not(.ended)')?.outerHTML || ''"
            )
            return found

        wait_until(lambda: path().count("L") == drawn.count("L") + 1)  # the curve has grown
        wait_until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "#importances meter")))
        browser.get(f"{address}studies/clicked")
        browser.find_element(By.ID, "pause").click()
        wait_until(lambda: bool(browser.find_elements(By.ID, "resume")))
        assert editor.get("/v1/submissions/clicked").json()["state"] == "paused"
        browser.get(address)
        name = browser.find_element(By.CSS_SELECTOR, "#all-table th button")
        name.send_keys("\n")  # by keyboard
        rows = [each.text for each in browser.find_elements(By.CSS_SELECTOR, "#all-table td.name")]
        assert rows == sorted(rows)
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True})  # fmt: skip
        for page in ("", "studies/made", "slots", "events", "submit"):
            browser.get(f"{address}{page}")
            assert browser.execute_script("return document.documentElement.scrollWidth") == 390, page
        log: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
        assert [each for each in log if each["level"] == "SEVERE"] == []
