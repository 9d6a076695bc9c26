"""The pages, as each role is given them."""

import re

import pytest
from starlette.testclient import TestClient

from .conftest import ClientOf, Template, study_text

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


def test_errors_are_pages_for_people_and_problems_for_programs(viewer: TestClient, nobody: TestClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml"}
    for path, status, words in (
        ("/studies/maade", 404, "did you mean &#39;made&#39;"),
        ("/submit", 403, "viewer"),
        ("/?offset=x", 422, "offset"),
    ):
        page = viewer.get(path, headers=browser)
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert words in page.text
        assert "<h1>" in page.text
        assert viewer.get(path).headers["content-type"] == "application/problem+json"
    assert viewer.get("/v1/studies/maade", headers=browser).headers["content-type"] == "application/problem+json"
    assert viewer.get("/?state=&owner=&contains=").status_code == 200  # as the form of the page sends it
    wrong = nobody.post("/login", data={"token": "x" * 5000}, headers={"Origin": "http://127.0.0.1"} | browser)
    assert (wrong.status_code, "not known here" in wrong.text) == (401, True)
    nothing = viewer.get("/slotz", headers=browser)
    assert "There is nothing at /slotz." in nothing.text
    asked = nobody.get("/?owner=anna&state=queued")
    assert asked.headers["location"] == "/login?next_page=/%3Fowner%3Danna%26state%3Dqueued"


def test_an_error_leaves_whoever_is_logged_in_the_way_to_all_pages(nobody: TestClient, template: Template) -> None:
    browser = {"Accept": "text/html"}
    assert "<nav" not in nobody.get("/slotz", headers=browser).text
    form = {"token": template.tokens["viewer"], "next_page": "/"}
    assert nobody.post("/login", data=form, headers={"Origin": "http://127.0.0.1"}).status_code == 303
    for path in ("/slotz", "/studies/maade", "/submit", "/?offset=x"):
        page = nobody.get(path, headers=browser).text
        assert '<a href="/slots">' in page, path
        assert "vera, viewer" in page, path


def test_the_limit_of_a_study_counts_trials_and_no_slots(editor: TestClient) -> None:
    # a trial with two threads takes two slots
    for workers, shown in ((1, "one trial at a time"), (3, "3 trials at a time at most")):
        body = {"text": study_text(f"limited-{workers}"), "workers": workers}
        assert editor.post("/v1/studies", json=body).status_code == 201
        assert shown in editor.get(f"/studies/limited-{workers}").text
    assert "as many trials at a time as fit" in editor.get("/studies/queued").text
    assert "most slots" not in editor.get("/").text.lower()


def test_the_lines_of_an_event_stay_lines(editor: TestClient) -> None:
    assert editor.post("/v1/studies", json={"text": "name: bad!\nbudget: {trails: 5}\n"}).status_code == 422
    page = editor.get("/events").text
    assert re.search(r'<td class="outcome bad"[^>]*>refused: study.yaml:1: [^<]*\nstudy.yaml:2: ', page)


def test_what_people_write_is_text(editor: TestClient) -> None:
    text = study_text("written").replace("name: written", "name: written # <script>alert(1)</script>")
    assert editor.post("/v1/studies", json={"text": text}).status_code == 201
    page = editor.get("/studies/written").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<b>x" not in editor.get("/", params={"contains": "<b>x"}).text


def test_the_queue_shows_the_budget_that_was_submitted_last(editor: TestClient) -> None:
    sent = {"text": study_text("large"), "overrides": ["budget.trials=50"]}
    assert editor.post("/v1/studies", json=sent).status_code == 201
    assert "0 of 50<progress" in editor.get("/").text
