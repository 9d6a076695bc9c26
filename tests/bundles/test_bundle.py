"""A finished study in one file: what is in it, and what `verify` finds on another machine."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.bundles.archive import MANIFEST_FILE, packed, read_bundle
from cifar_tune.bundles.initial import initial_files
from cifar_tune.bundles.packing import write_bundle
from cifar_tune.bundles.splits import difference
from cifar_tune.bundles.verifying import Finding, Wanted, _require_images, verify
from cifar_tune.cli.main import app
from cifar_tune.data import test_split
from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study import verifying
from cifar_tune.study.finalizing import finalize
from cifar_tune.study_spec.overrides import parse_overrides
from tests.reports.factory import MadeTrial
from tests.study.left_by_a_run import LR, store


@dataclass(frozen=True)
class Made:
    record: StudyRecord
    bundle: Path
    content: bytes
    cache: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A finalized study and its bundle; no test changes them."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        storage = open_storage(storage_url(f"sqlite:///{folder}/studies.db"))
        store(storage, [MadeTrial({"lr": 0.01}, 0.6, epochs=2), MadeTrial(LR, 0.8, epochs=2)])
        with pytest.raises(CheckError, match="has no final model"):
            write_bundle(load_record(storage, "made"), folder / "early.zip")
        record = finalize(storage, "made", "cpu", lambda _: None, save=folder / "models" / "made")
        content = write_bundle(record, folder / "made.zip")
        yield Made(record, folder / "made.zip", content, folder / "cache")
        close(storage)


@pytest.fixture(autouse=True)
def cache(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(made.cache))


def found(path: Path, said: list[str] | None = None, **wanted: Any) -> dict[str, Finding]:
    say = (lambda _: None) if said is None else said.append
    return {finding.name: finding for finding in verify(path, Wanted(device="cpu", **wanted), say)}


def changed(made: Made, path: Path, **changes: bytes) -> Path:
    """A bundle whose manifest fits, and whose files do not: somebody else's, made on purpose."""
    files = dict(read_bundle(made.bundle).files)
    files.update({name.replace("__", "/").replace("_dot_", "."): content for name, content in changes.items()})
    path.write_bytes(packed("made", files))
    return path


def test_it_holds_model_report_split_and_versions(made: Made) -> None:
    bundle = read_bundle(made.bundle)
    names = set(bundle.files)
    assert {"README.md", "requirements.txt", "split.csv", "model/model.safetensors", "model/model.json"} <= names
    assert {"report/report.html", "report/trials.csv", "report/best.yaml", "report/summary.md"} <= names
    assert bundle.manifest.study == "made"
    description = json.loads(bundle.files["model/model.json"])
    assert f"torch=={description['packages']['torch']}\n" in bundle.files["requirements.txt"].decode()
    rows = list(csv.DictReader(bundle.files["split.csv"].decode().splitlines()))
    prepared = prepare(made.record.spec.data)
    assert [int(row["index"]) for row in rows if row["split"] == "validation"] == prepared.val_indices.tolist()
    assert [int(row["index"]) for row in rows if row["split"] == "train"] == prepared.train_indices.tolist()
    assert rows[0]["class"] == prepared.classes[prepared.labels[0]]
    assert f"{made.record.openings[0].test_accuracy:.6g}" in bundle.files["README.md"].decode()


@pytest.mark.usefixtures("blank_pictures")
def test_equal_contents_are_equal_to_the_byte_and_nothing_else_is_replaced(made: Made, tmp_path: Path) -> None:
    files = dict(reversed(list(read_bundle(made.bundle).files.items())))
    assert packed("made", files) == made.content
    path = tmp_path / "made.zip"
    path.write_bytes(made.content)
    write_bundle(made.record, path)
    path.write_text("a thesis")
    with pytest.raises(UserError, match="is there, and is no bundle that could be replaced"):
        write_bundle(made.record, path)
    assert path.read_text() == "a thesis"


def test_everything_comes_out_again_to_the_digit(made: Made, tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "copy.zip"
    shutil.copy(made.bundle, path)
    findings = found(path, said, test=True, retrain=True)
    assert [(name, finding.passed) for name, finding in findings.items()] == [
        ("hashes", True),
        ("images", True),
        ("weights, validation images", True),
        ("weights, test images", True),
        ("training, validation images", True),
        ("training, test images", True),
    ]
    accuracy = repr(made.record.openings[0].test_accuracy)
    assert findings["weights, test images"].words == f"accuracy {accuracy} of 299 test images, the same to the digit"
    words = findings["training, test images"].words
    assert words == f"trained again: accuracy {accuracy} of 299 test images, the same to the digit"
    assert "opens the test set of the images here, to measure once more what finalize has measured" in said
    assert len([line for line in said if line.startswith("epoch ")]) == 2


def test_the_test_set_stays_closed_without_a_word(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "load_test", lambda _: pytest.fail("opened"))
    findings = found(made.bundle)
    assert findings["test set"] == Finding("test set", None, "not opened; --test measures it once more")
    assert findings["training"].passed is None
    assert findings["weights, validation images"].passed
    assert list(found(made.bundle, only_hashes=True)) == ["hashes"]


def test_figures_that_do_not_come_out_are_told(made: Made, tmp_path: Path) -> None:
    plain = json.loads(read_bundle(made.bundle).files["model/model.json"])
    check = {**plain["check"], "accuracy": plain["check"]["accuracy"] - 0.1}
    forged = changed(made, tmp_path / "one.zip", model__model_dot_json=json.dumps({**plain, "check": check}).encode())
    finding = found(forged, retrain=True)
    assert [finding[f"{what}, validation images"].passed for what in ("weights", "training")] == [False, False]
    assert "on this kind of machine it must be the same" in finding["weights, validation images"].words
    elsewhere = {**plain["environment"], "device_name": "another CPU"}
    near = {**plain["check"], "accuracy": plain["check"]["accuracy"] - 1 / 300}
    for case, passed in ((check, False), (near, True)):
        text = json.dumps({**plain, "check": case, "environment": elsewhere}).encode()
        other = found(changed(made, tmp_path / "two.zip", model__model_dot_json=text), retrain=True)
        assert other["weights, validation images"].passed is passed
        assert other["training, validation images"].passed is passed  # an interval of 300 images is 10 points wide


def test_other_images_or_another_split_end_it(made: Made, tmp_path: Path) -> None:
    plain = json.loads(read_bundle(made.bundle).files["model/model.json"])
    text = json.dumps({**plain, "data": {**plain["data"], "split_seed": 1}}).encode()
    findings = found(changed(made, tmp_path / "one.zip", model__model_dot_json=text))
    assert [(name, finding.passed) for name, finding in findings.items()] == [
        ("hashes", True), ("images", False), ("weights", None), ("test set", None), ("training", None)
    ]  # fmt: skip
    assert findings["images"].words.startswith("the images here are not those that the model was trained on")
    findings = found(changed(made, tmp_path / "two.zip", split_dot_csv=b"index,split,class,file\n"))
    assert findings["images"].words == "the images are the same, and split.csv splits them in another way"


def test_what_a_bundle_does_not_state_is_not_passed_over(made: Made, tmp_path: Path) -> None:
    """Whoever forges the figures leaves out those that would not come out."""
    plain = json.loads(read_bundle(made.bundle).files["model/model.json"])
    text = json.dumps({**plain, "check": None, "metrics": {}}).encode()
    findings = found(changed(made, tmp_path / "one.zip", model__model_dot_json=text), test=True)
    assert [findings[f"weights, {name} images"].passed for name in ("validation", "test")] == [False, False]
    stated = {**plain["metrics"]["test_accuracy"], "low": 0.0, "high": 1.0, "value": 0.99}
    elsewhere = {**plain["environment"], "device_name": "another CPU"}
    forged = {**plain, "metrics": {"test_accuracy": stated}, "environment": elsewhere}
    path = changed(made, tmp_path / "two.zip", model__model_dot_json=json.dumps(forged).encode())
    finding = found(path, test=True, retrain=True)["training, test images"]
    assert finding.passed is False, finding.words  # the interval is computed, and not the one that the bundle states


def test_other_test_images_are_told(made: Made, tmp_path: Path) -> None:
    plain = json.loads(read_bundle(made.bundle).files["model/model.json"])
    [opening] = made.record.openings
    assert (
        plain["origin"]["test_fingerprint"]
        == opening.test_fingerprint
        == test_split.test_fingerprint(made.record.spec.data)
    )
    other = {**plain["origin"], "test_fingerprint": "0" * 64}
    text = json.dumps({**plain, "origin": other}).encode()
    findings = found(changed(made, tmp_path / "one.zip", model__model_dot_json=text), test=True)
    assert findings["test images"].passed is False
    assert "weights, test images" not in findings
    del other["test_fingerprint"]  # as an earlier version wrote it
    text = json.dumps({**plain, "origin": other}).encode()
    findings = found(changed(made, tmp_path / "two.zip", model__model_dot_json=text), test=True)
    assert findings["weights, test images"].passed


def test_nothing_is_downloaded_and_nothing_is_made_where_a_bundle_says(made: Made, tmp_path: Path) -> None:
    plain = json.loads(read_bundle(made.bundle).files["model/model.json"])
    folder = tmp_path / "of-others"
    for name in ("cifar10", "svhn"):
        data = {"name": name, "root": str(folder), "download": True}
        text = json.dumps({**plain, "data": data}).encode()
        with pytest.raises(UserError, match=r"download is false|are not here: say where they lie"):
            found(changed(made, tmp_path / "one.zip", model__model_dot_json=text))
    data = {"name": "image_folder", "root": "x" * 5000}
    text = json.dumps({**plain, "data": data}).encode()
    with pytest.raises(UserError, match="are not here: say where they lie"):
        found(changed(made, tmp_path / "one.zip", model__model_dot_json=text))
    assert not folder.exists()


def test_messages_name_the_bundle(made: Made, tmp_path: Path) -> None:
    path = changed(made, tmp_path / "one.zip", model__model_dot_json=b"{}")
    with pytest.raises(UserError) as error:
        found(path)
    assert str(error.value).startswith(f"{path}: model/model.json: was not written by cifar-tune")
    path.write_bytes(packed("made", {"split.csv": b""}))
    with pytest.raises(UserError, match=r"holds no model: there is no model/model\.json in it"):
        found(path)


def test_weights_that_a_training_began_with_travel_along(made: Made, tmp_path: Path) -> None:
    plain = json.loads(read_bundle(made.bundle).files["model/model.json"])
    first = tmp_path / "first"
    shutil.copytree(made.record.openings[0].model or "", first)
    digest = hashlib.sha256((first / "model.safetensors").read_bytes()).hexdigest()
    train = {**plain["train"], "init_from": f"{first}@sha256:{digest}"}
    said: list[str] = []
    files = initial_files(train, said.append)
    assert set(files) == {"init_from/model.safetensors", "init_from/model.json"}
    shutil.rmtree(first)
    assert initial_files(train, said.append) == {}
    assert f"the training began with the weights in {first}, and that file is not here any more" in said[0]
    text = json.dumps({**plain, "train": train}).encode()
    path = changed(made, tmp_path / "one.zip", model__model_dot_json=text)
    with pytest.raises(UserError, match=f"neither in the bundle nor here: {first}, with the sha256 {digest}"):
        found(path, retrain=True)
    assert found(path)["weights, validation images"].passed
    path.write_bytes(packed("made", {**read_bundle(path).files, **files}))
    assert "training, validation images" in found(path, retrain=True)
    forged = {**files, "init_from/model.safetensors": b"other"}
    path.write_bytes(packed("made", {**read_bundle(path).files, **forged}))
    with pytest.raises(UserError, match="has changed: its sha256 is"):
        found(path, retrain=True)


def test_images_that_differ_are_named() -> None:
    head = "index,split,class,file\n"
    one = head + "0,train,ant,train/ant/1.png\n1,validation,bee,train/bee/2.png\n2,train,bee,'=x.png\n"
    two = head + "0,train,bee,train/ant/1.png\n1,train,bee,train/bee/2.png\n2,train,bee,new.png\n"
    assert difference(one.encode(), two.encode()) == (
        "=x.png is not here; new.png is here and not in the bundle; train/ant/1.png is here in another class; "
        "train/bee/2.png is here in another split"
    )
    assert difference(one.encode(), one.encode()) == "the files have the same names, so some hold other pictures"
    arrays = head + "0,train,ant,\n1,train,bee,\n"
    assert difference(arrays.encode(), one.encode()) == "the bundle has 2 images, and there are 3 here"
    many = head + "".join(f"{number},train,ant,{number}.png\n" for number in range(9))
    assert difference(many.encode(), head.encode()) == "0.png, 1.png, 2.png and 6 more are not here"
    for odd in (b"", b"\xff\x00", b'index,file\n"', b"a,b\n1,2\n"):
        difference(odd, one.encode())
        difference(one.encode(), odd)


def test_where_the_images_are_not_it_is_said_how_to_name_their_folder(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data.root = .*: the images .* are not here: say where .* --set data.root=DIR"
    ):
        _require_images(DataSpec(name="image_folder", root=str(tmp_path / "photos")))
    _require_images(DataSpec(name="image_folder", root=str(tmp_path)))
    _require_images(DataSpec(name="digits"))


def test_only_the_place_of_the_images_can_be_set(made: Made) -> None:
    with pytest.raises(UserError, match=r"--set = 'epochs': changes what would be verified|--set"):
        found(made.bundle, settings=parse_overrides(["epochs=1"]))


def test_the_commands(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["verify", str(made.bundle), "--only-hashes", "--json"])
    assert ended.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["passed"], shown["findings"][0]["name"]) == (True, "hashes")
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(made.content.replace(MANIFEST_FILE.encode(), b"manifest.jsom"))
    with pytest.raises(UserError, match=r"it has no manifest.json"):
        app(["verify", str(damaged)])
