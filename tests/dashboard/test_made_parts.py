"""Notes, files and reports that the dashboard makes when somebody looks at them, and that nobody writes."""

import copy
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy.engine import URL, make_url

from cifar_tune.dashboard import report_pages
from cifar_tune.dashboard.serve import Dashboard
from cifar_tune.dashboard.shown_storage import ShownStorage
from cifar_tune.errors import CheckError
from cifar_tune.reports.importances import Importances, importances, importances_of_each
from cifar_tune.reports.trial_markdown import trial_markdown
from cifar_tune.storage.openings import write_opening
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from tests.reports.factory import analysed_opening, make_record, make_spec, random_trials
from tests.waiting import PATIENCE

from .conftest import serving
from .test_browser import REDRAWN, follow, wait_for_text

SPEC = make_spec(
    {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "optimizer": {"choices": ["sgd", "adamw"]}},
    train={"epochs": 4}, constraints=["val_accuracy >= 0.5"],
)  # fmt: skip
NOWHERE = make_url("sqlite:///nowhere.db")


UPLOADED = {"artifact_id": "abcd", "filename": "upload.txt", "mimetype": "text/plain", "encoding": None}


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
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
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


def test_importances_are_those_of_the_report(ours: URL, shown: Dashboard) -> None:
    def told() -> dict[str, float]:
        found = json.loads(fetch(shown, "/api/studies/1/param_importances"))["param_importances"]
        assert len(found) == 1
        kinds = {row["name"]: row["distribution"] for row in found[0]}
        assert kinds == {"lr": "FloatDistribution", "optimizer": "CategoricalDistribution"}
        return {row["name"]: row["importance"] for row in found[0]}

    storage = open_storage(ours)
    record = load_record(storage, "made")
    found = importances(record)
    assert isinstance(found, Importances)
    assert told() == dict(found.shares)
    record.study.add_trials([trial for trial in record.completed if trial.params["optimizer"] == "sgd"])
    newer = importances(load_record(storage, "made"))
    assert isinstance(newer, Importances)
    assert newer.shares != found.shares
    assert told() == dict(newer.shares)
    close(storage)


def test_several_objectives_have_a_list_of_importances_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "artifacts"))
    url = make_url(f"sqlite:///{tmp_path / 'front.db'}")
    storage = open_storage(url)
    spec = make_spec(name="front", objective=[{"metric": "val_accuracy"}, {"metric": "seconds_per_epoch"}])
    record = make_record(spec, random_trials(spec, 30), storage)
    close(storage)
    with serving(url) as dashboard:
        found = json.loads(fetch(dashboard, "/api/studies/1/param_importances"))["param_importances"]
        note = detail(dashboard)["note"]["body"]
    told = [{row["name"]: row["importance"] for row in each} for each in found]
    assert told == importances_of_each(record)
    assert told[0] != told[1]
    assert "for each objective alone" in note


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


def uploaded_to(trial: FrozenTrial) -> FrozenTrial:
    """The trial with a file that somebody uploaded."""
    changed = copy.copy(trial)
    changed._system_attrs = {**trial.system_attrs, "artifacts:abcd": json.dumps(UPLOADED)}
    return changed


def rename(dashboard: Dashboard, study: int, name: str) -> int:
    answer = json.loads(fetch(dashboard, f"/api/studies/{study}/rename", "POST", {"study_name": name}))
    return int(answer["study_id"])


def test_a_renamed_study_copies_what_is_stored_and_nothing_that_is_made(ours: URL, shown: Dashboard) -> None:
    study = optuna.load_study(study_name="made", storage=ours.render_as_string())
    study.add_trial(uploaded_to(study.trials[0]))
    renamed = rename(shown, 1, "renamed")
    study = optuna.load_study(study_name="renamed", storage=ours.render_as_string())
    assert len(study.trials) == 13
    keys = [key for trial in study.trials for key in trial.system_attrs if key.startswith("artifacts:")]
    assert keys == ["artifacts:abcd"]
    stored = study._storage.get_study_system_attrs(renamed)
    assert not [value for key, value in stored.items() if "note_str" in key and value]
    page = json.loads(fetch(shown, f"/api/studies/{renamed}"))
    assert "[Open the report](/report/renamed/)" in page["note"]["body"]
    names = [sorted(meta["filename"] for meta in trial["artifacts"]) for trial in page["trials"][-2:]]
    assert names == [["learning-curves.png", "summary.md"], ["learning-curves.png", "summary.md", "upload.txt"]]
    (summary,) = (meta for meta in page["trials"][1]["artifacts"] if meta["filename"] == "summary.md")
    path = f"/artifacts/{renamed}/{page['trials'][1]['trial_id']}/{summary['artifact_id']}"
    assert b"# Trial 1 of renamed" in fetch(shown, path)


def test_a_note_of_ones_own_is_copied_with_the_study(ours: URL, shown: Dashboard) -> None:
    note = detail(shown)["note"]
    fetch(shown, "/api/studies/1/note", "PUT", {"body": "my own words", "version": note["version"] + 1})
    renamed = rename(shown, 1, "renamed")
    assert json.loads(fetch(shown, f"/api/studies/{renamed}"))["note"]["body"] == "my own words"
    fetch(shown, f"/api/studies/{renamed}/note", "PUT", {"body": "others", "version": 1})
    assert json.loads(fetch(shown, f"/api/studies/{renamed}"))["note"]["body"] == "others"


def note_of(storage: ShownStorage, name: str) -> str:
    (study,) = (study for study in storage.get_all_studies() if study.study_name == name)
    return str(study.system_attrs.get("dashboard:note_str:0", ""))


def test_numbers_of_studies_that_are_given_again_mix_nothing_up() -> None:
    """SQLite gives the number of the last study, once deleted, to the next one; another process may do both."""
    backend = InMemoryStorage()
    shown = ShownStorage(backend, NOWHERE)
    make_record(SPEC, [], backend)
    assert "[Open the report](/report/made/)" in note_of(shown, "made")
    with pytest.MonkeyPatch.context() as patch:
        renumbered = [copy.copy(study) for study in backend.get_all_studies()]
        renumbered[0].study_name = "other"
        optuna.create_study(study_name="other", storage=backend).set_user_attr("spec", SPEC.stored())
        patch.setattr(backend, "get_all_studies", lambda: renumbered)
        assert "[Open the report](/report/other/)" in note_of(shown, "other")


def test_what_openings_showed_is_left_to_the_report() -> None:
    backend = InMemoryStorage()
    record = make_record(SPEC, [], backend)
    write_opening(record.study, 0, analysed_opening())
    shown = ShownStorage(backend, NOWHERE)
    (study,) = shown.get_all_studies()
    assert "test_opening_1" in study.user_attrs
    assert not any(name.startswith("test_analysis") for name in study.user_attrs)
    (copied,) = load_record(shown, "made").openings  # whoever copies the study gets all of it
    assert copied.analysis is not None


def test_a_study_can_become_one_of_ours() -> None:
    """As it does while it is copied: trials come first."""
    backend = InMemoryStorage()
    shown = ShownStorage(backend, NOWHERE)
    trials = make_record(SPEC, random_trials(SPEC, 3), InMemoryStorage()).study.trials
    study = optuna.create_study(study_name="copied", storage=shown)
    study.add_trials(trials)
    assert not any(key.startswith("artifacts:") for trial in study.trials for key in trial.system_attrs)
    assert note_of(shown, "copied") == ""
    study.set_user_attr("spec", SPEC.stored())
    assert any(key.startswith("artifacts:") for trial in study.trials for key in trial.system_attrs)
    assert "/report/copied/" in note_of(shown, "copied")


def test_names_from_elsewhere_do_nothing_in_a_note() -> None:
    name = "[click](http://evil) <img src=x onerror=alert(1)> `code`"
    backend = InMemoryStorage()
    optuna.create_study(study_name=name, storage=backend).set_user_attr("spec", SPEC.stored())
    note = note_of(ShownStorage(backend, NOWHERE), name)
    link, command = note.split("\n")[0].split(" · ")
    assert link == f"**[Open the report](/report/{quote(name, safe='')}/)**"
    assert command.startswith("`cifar-tune export ")
    assert command.endswith("` writes it to disk")
    assert command.count("`") == 2
    record = make_record(SPEC, random_trials(SPEC, 2))
    heading = trial_markdown(record.trials[0], SPEC, name).split("\n")[0]
    assert heading == r"# Trial 0 of \[click\](http://evil) \<img src=x onerror=alert(1)> \`code\`"


def test_a_missing_file_is_not_found_in_a_sentence(ours: URL, shown: Dashboard, capfd: Any) -> None:
    study = optuna.load_study(study_name="made", storage=ours.render_as_string())
    study.add_trial(uploaded_to(study.trials[0]))
    with pytest.raises(HTTPError) as raised:
        fetch(shown, "/artifacts/1/13/abcd")
    assert raised.value.code == 404
    assert "The file is not there" in raised.value.read().decode()
    assert "Traceback" not in capfd.readouterr().err


def test_files_of_a_study_that_this_version_cannot_read(ours: URL, shown: Dashboard, capfd: Any) -> None:
    trial = detail(shown)["trials"][0]
    study = optuna.load_study(study_name="made", storage=ours.render_as_string())
    study.set_user_attr("spec", {"name": "made", "of": "the future"})
    with pytest.raises(HTTPError) as raised:
        fetch(shown, f"/artifacts/1/{trial['trial_id']}/{trial['artifacts'][0]['artifact_id']}")
    assert raised.value.code == 500
    assert "the stored study" in raised.value.read().decode()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["a/b", "50%25", "größe ü", "a%2Fb"])
def test_reports_of_studies_whatever_their_names(ours: URL, shown: Dashboard, name: str) -> None:
    rename(shown, 1, name)
    path = f"/report/{quote(name, safe='')}/"
    assert fetch(shown, f"{path}best.yaml").decode().startswith(f"# The best configuration of the study {name}")
    assert fetch(shown, f"{path}trials.csv").count(b"\n") == 13


def gone(_storage: object, _name: str) -> StudyRecord:
    raise KeyError("the study was deleted")


def silent(_storage: object, _name: str) -> StudyRecord:
    raise StorageInternalError("mysql://me:secret@host says no")


def failed(_storage: object, _name: str) -> StudyRecord:
    raise CheckError("The check failed")


@pytest.mark.parametrize(("trouble", "status"), [(gone, 404), (silent, 503), (failed, 500)])
def test_a_report_that_cannot_be_made_says_why(
    shown: Dashboard, monkeypatch: pytest.MonkeyPatch, trouble: Any, status: int
) -> None:
    monkeypatch.setattr(report_pages, "load_record", trouble)
    with pytest.raises(HTTPError) as raised:
        fetch(shown, "/report/made/")
    assert raised.value.code == status
    text = raised.value.read().decode()
    assert text.startswith("The ")
    assert "secret" not in text


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
    assert fetch(shown, "/report/made/epochs.csv").startswith(b"number,epoch,value,train_loss,")
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
    found = WebDriverWait(browser, PATIENCE, ignored_exceptions=REDRAWN).until(
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
    WebDriverWait(browser, PATIENCE).until(
        lambda _: len(browser.window_handles) > 1 or "/report/" in browser.current_url
    )
    browser.switch_to.window(browser.window_handles[-1])
    wait_for_text(browser, "made", "How the best value grew")
