"""The files of a final model over HTTP: whole, from where they were written, and never through memory."""

import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cifar_tune.errors import UserError
from cifar_tune.model_files.description import ModelDescription
from cifar_tune.model_files.reading import ModelFile
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.openings import write_opening
from tests.reports.factory import RESULT, make_record, make_spec
from tests.web.conftest import ClientOf, app, app_of, client_of, storage, template, url

__all__ = ["app", "app_of", "client_of", "storage", "template", "url"]


@pytest.fixture
def folder(saved: tuple[Path, ModelDescription], storage: BatchStorage, tmp_path: Path) -> Iterator[Path]:
    """A copy of a model, which is the final one of a study."""
    folder = tmp_path / "model"
    shutil.copytree(saved[0], folder)
    study = make_record(make_spec({}, name="final"), [], storage).study
    opening = replace(RESULT, model=str(folder), weights_sha256=saved[1].weights_sha256)
    write_opening(study, 0, opening)
    yield folder
    storage.delete_study(storage.get_study_id_from_name("final"))


@pytest.fixture
def viewer(client_of: ClientOf) -> TestClient:
    return client_of("viewer")


def test_a_model_is_sent_as_it_was_written(viewer: TestClient, folder: Path) -> None:
    listed = viewer.get("/v1/studies/final/model").json()["files"]
    assert {each["name"] for each in listed} == {"model.safetensors", "model.json", "README.md"}
    for each in listed:
        answer = viewer.get(f"/v1/studies/final/model/{each['name']}")
        content = (folder / each["name"]).read_bytes()
        assert answer.content == content
        assert int(answer.headers["content-length"]) == each["size"] == len(content)
        assert "sandbox" in answer.headers["content-security-policy"]


def test_what_is_no_longer_the_model_is_not_sent(viewer: TestClient, folder: Path, tmp_path: Path) -> None:
    def told(status: int) -> str:
        answer = viewer.get("/v1/studies/final/model/model.safetensors")
        assert answer.status_code == status
        return str(answer.json()["detail"]) if status != 200 else ""

    weights = folder / "model.safetensors"
    assert "there is no file 'x' in the model" in viewer.get("/v1/studies/final/model/x").json()["detail"]
    assert viewer.get("/v1/studies/final/model/../model.json").status_code == 404
    moved = weights.rename(tmp_path / "elsewhere")
    assert "is missing" in told(404)
    weights.symlink_to(moved)
    assert "cannot be read" in told(404)
    weights.unlink()
    weights.write_bytes(moved.read_bytes()[:-1] + b"x")
    assert "is damaged, or belongs to another model" in told(404)
    shutil.copy(moved, weights)
    told(200)


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(200_000_000)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    digest = "a" * 64
    tracemalloc.start()
    with pytest.raises(UserError, match=f"instead of {digest}"):
        ModelFile(tmp_path, tmp_path / "large", digest, 10**9).open()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    with pytest.raises(UserError, match="has more than 5 bytes"):
        ModelFile(tmp_path, tmp_path / "large", None, 5).size()
    with pytest.raises(UserError, match="lies behind a link"):
        ModelFile(tmp_path, tmp_path / "link" / "large", None, 10**9).size()
