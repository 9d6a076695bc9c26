"""Notes, files and reports that the dashboard makes when somebody looks at them, and that nobody writes."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import optuna
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy.engine import URL, make_url

from cifar_tune.dashboard.serve import Dashboard
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from tests.reports.factory import make_record, make_spec, random_trials

from .conftest import serving
from .test_browser import follow, wait_for_text

SPEC = make_spec(
    {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "optimizer": {"choices": ["sgd", "adamw"]}},
    train={"epochs": 4}, constraints=["val_accuracy >= 0.5"],
)  # fmt: skip


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> URL:
    """A storage with a study of ours."""
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "artifacts"))
    url = make_url(f"sqlite:///{tmp_path / 'ours.db'}")
    storage = open_storage(url)
    record = make_record(SPEC, random_trials(SPEC, 12, pruned=0.3), storage)
    record.study.set_metric_names(["val_accuracy"])
    close(storage)
    return url


@pytest.fixture
def shown(ours: URL) -> Iterator[Dashboard]:
    with serving(ours) as dashboard:
        yield dashboard


def fetch(dashboard: Dashboard, path: str, method: str = "GET", body: Any = None) -> bytes:
    address = dashboard.address.removesuffix("/dashboard") + path
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, method=method, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: bytes = answer.read()
        return found


def detail(dashboard: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetch(dashboard, "/api/studies/1"))
    return found


def test_every_trial_has_its_curves_and_its_summary(shown: Dashboard, tmp_path: Path) -> None:
    trials = detail(shown)["trials"]
    assert len(trials) == 12
    for trial in trials[:3]:
        files = {meta["filename"]: meta["artifact_id"] for meta in trial["artifacts"]}
        assert set(files) == {"learning-curves.png", "summary.md"}
        picture = tmp_path / "curves.png"
        picture.write_bytes(fetch(shown, f"/artifacts/1/{trial['trial_id']}/{files['learning-curves.png']}"))
        assert Image.open(picture).size[0] > 800
        text = fetch(shown, f"/artifacts/1/{trial['trial_id']}/{files['summary.md']}").decode()
        assert f"# Trial {trial['number']} of made" in text
        assert "| `lr` | **" in text


def test_looking_writes_nothing(ours: URL, shown: Dashboard) -> None:
    trial = detail(shown)["trials"][0]
    for meta in trial["artifacts"]:
        fetch(shown, f"/artifacts/1/{trial['trial_id']}/{meta['artifact_id']}")
    fetch(shown, "/report/made/")
    study = optuna.load_study(study_name="made", storage=ours.render_as_string())
    assert not [key for key in study._storage.get_study_system_attrs(study._study_id) if key.startswith("dashboard")]
    assert not [key for each in study.trials for key in each.system_attrs if key.startswith("artifacts:")]


def test_the_note_leads_to_the_report_until_somebody_writes_another(shown: Dashboard) -> None:
    note = detail(shown)["note"]
    assert "[Open the report](/report/made/)" in note["body"]
    assert "`val_accuracy >= 0.5`" in note["body"]
    fetch(shown, "/api/studies/1/note", "PUT", {"body": "my own words", "version": note["version"] + 1})
    assert detail(shown)["note"]["body"] == "my own words"


def test_our_files_cannot_be_deleted_and_uploads_can(ours: URL, shown: Dashboard) -> None:
    trial = detail(shown)["trials"][0]
    path = f"/api/artifacts/1/{trial['trial_id']}"
    fetch(shown, f"{path}/{trial['artifacts'][0]['artifact_id']}", "DELETE")
    study = optuna.load_study(study_name="made", storage=ours.render_as_string())
    assert not study.trials[0].system_attrs.keys() & {f"artifacts:{trial['artifacts'][0]['artifact_id']}"}
    assert fetch(shown, f"/artifacts/1/{trial['trial_id']}/{trial['artifacts'][0]['artifact_id']}")


def test_the_report_stands_as_the_database_does_now(ours: URL, shown: Dashboard) -> None:
    assert b"12 <small>of 50" in fetch(shown, "/report/made/")
    assert fetch(shown, "/report/made").startswith(b"<!doctype html>")  # follows the redirection
    assert fetch(shown, "/report/made/best.yaml").startswith(b"# The best configuration of the study made")
    assert fetch(shown, "/report/made/trials.csv").count(b"\n") == 13
    study = optuna.load_study(study_name="made", storage=ours.render_as_string())
    study.add_trial(study.trials[0])
    assert b"13 <small>of 50" in fetch(shown, "/report/made/")


@pytest.mark.parametrize(("path", "method", "status"), [
    ("/report/mad/", "GET", 404), ("/report/made/../../etc/passwd", "GET", 404), ("/report/made/", "POST", 405),
    ("/report/%3Cscript%3E/", "GET", 404),
])  # fmt: skip
def test_what_there_is_no_report_of(shown: Dashboard, path: str, method: str, status: int) -> None:
    with pytest.raises(HTTPError) as raised:
        fetch(shown, path, method)
    assert raised.value.code == status
    assert raised.value.headers["Content-Type"].startswith("text/plain")


@pytest.mark.browser
def test_from_the_list_to_the_report_in_a_browser(browser: Chrome, shown: Dashboard) -> None:
    browser.get(shown.address)
    follow(browser, "/dashboard/studies/1")
    wait_for_text(browser, "val_accuracy", "Hyperparameter Importance", "lr", "optimizer")
    follow(browser, "/dashboard/studies/1/note")
    wait_for_text(browser, "Open the report", "Budget: 50 trials")
    browser.get(f"{shown.address}/studies/1/trials?numbers=0")
    wait_for_text(browser, "Trial 0", "learning-curves.png", "summary.md")
    found = WebDriverWait(browser, 30).until(
        lambda _: [
            image
            for image in browser.find_elements(By.CSS_SELECTOR, "img[src*='/artifacts/1/']")
            if browser.execute_script("return arguments[0].naturalWidth", image) > 800
        ]
    )
    assert found
    browser.get(f"{shown.address}/studies/1/note")
    wait_for_text(browser, "Open the report")
    browser.find_element(By.LINK_TEXT, "Open the report").click()
    WebDriverWait(browser, 30).until(lambda _: len(browser.window_handles) > 1 or "/report/" in browser.current_url)
    browser.switch_to.window(browser.window_handles[-1])
    wait_for_text(browser, "made", "How the best value grew")
