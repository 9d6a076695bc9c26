"""`cifar-tune predict`: a saved model looks at image files, as its training looked at its images."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from cifar_tune import load_model
from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.model_files.description import Origin
from cifar_tune.model_files.writing import Chosen, write_model_folder
from cifar_tune.training.device import configure
from cifar_tune.training.loop import Training
from tests.data.images import noise
from tests.digits import CPU, small_of

from .conftest import Cli

CLASSES = ("=cmd|' calc'!A1", "ant", "bee")
SIZE = 16
_TURNED = Image.Exif()
_TURNED[0x0112] = 6


def _deep(seed: int) -> Image.Image:
    return Image.fromarray((noise(seed, 20, 1)[..., 0].astype(np.uint16) << 4) + 15)


KINDS: dict[str, Callable[[Path, int], Any]] = {
    "0.png": lambda path, seed: Image.fromarray(noise(seed, SIZE)).save(path),
    "1.jpg": lambda path, seed: Image.fromarray(noise(seed, 40)).save(path, quality=95),
    "2-grey.png": lambda path, seed: Image.fromarray(noise(seed, SIZE, 1)[..., 0]).save(path),
    "3-clear.png": lambda path, seed: Image.fromarray(noise(seed, 24, 4)).save(path),
    "4-palette.gif": lambda path, seed: Image.fromarray(noise(seed, SIZE)).quantize(32).save(path),
    "5-deep.png": lambda path, seed: _deep(seed).save(path),
    "6-turned.jpg": lambda path, seed: Image.fromarray(noise(seed, 40)[:, :25]).save(path, exif=_TURNED),
    "7-wide.webp": lambda path, seed: Image.fromarray(noise(seed, 60)[:20]).save(path, lossless=True),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pictures` with images of all kinds, of values up to 4,095 where they are deep, and `model`, trained on them."""
    place = tmp_path_factory.mktemp("place")
    for number, split in enumerate(("train", "val")):
        for label, name in enumerate(CLASSES):
            folder = place / "pictures" / split / name
            folder.mkdir(parents=True)
            for kind, save in KINDS.items():
                save(folder / kind, 100 * number + 10 * label + int(kind[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(place / "cache"))
        spec = DataSpec(name="image_folder", root=str(place / "pictures"), image_size=SIZE, resize="crop")
        prepared = prepare(spec)
        config = small_of(epochs=2, batch_size=8)
        configure(config, CPU)
        training = Training(config, ResidentData(prepared, CPU), CPU)
        list(training.epochs())
        chosen = Chosen(spec, prepared, 2, Origin(command="train"))
        write_model_folder(place / "model", training, chosen)
    np.savez(
        place / "seen.npz",
        probabilities=_probabilities(place / "model", prepared),
        accuracy=training.results[-1].val_accuracy,
    )
    return place


@torch.inference_mode()
def _probabilities(folder: Path, prepared: PreparedData) -> npt.NDArray[np.float32]:
    """What the model says of the validation images as training has them."""
    images = torch.from_numpy(prepared.open_images()[prepared.val_indices]).permute(0, 3, 1, 2)
    probabilities: npt.NDArray[np.float32] = load_model(folder)(images).softmax(1).numpy()
    return probabilities


@pytest.fixture(autouse=True)
def inside(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder that holds them."""
    monkeypatch.chdir(place)


def test_predictions_are_those_of_the_validation(cli: Cli, place: Path) -> None:
    ended = cli("predict", "model", "pictures/val", "--json", "--top", "3", "--device", "cpu")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    seen = np.load(place / "seen.npz")
    assert found["accuracy"] == float(seen["accuracy"])
    assert found["labelled_images"] == np.sum(found["confusion"]) == 24
    assert [each["image"] for each in found["predictions"]] == [
        f"pictures/val/{name}/{kind}" for name in CLASSES for kind in sorted(KINDS)
    ]
    assert [each["label"] for each in found["predictions"]] == [name for name in CLASSES for _ in KINDS]
    probabilities = [
        [{each["class"]: each["probability"] for each in prediction["top"]}[name] for name in CLASSES]
        for prediction in found["predictions"]
    ]
    assert np.allclose(probabilities, seen["probabilities"], rtol=1e-5, atol=1e-7)
    assert found["unreadable"] == []
    assert found["classes"] == list(CLASSES)


def test_images_get_a_line_each(cli: Cli, place: Path) -> None:
    names = ["pictures/val/bee/5-deep.png", "pictures/val/ant/0.png"]
    ended = cli("predict", "model", *names, "--top", "1")
    assert ended.code == 0, ended.err
    probabilities = np.load(place / "seen.npz")["probabilities"]
    rows = [probabilities[21], probabilities[8]]
    assert ended.out.splitlines() == [
        f"{name}: {CLASSES[row.argmax()]} {100 * row.max():.2f} %" for name, row in zip(names, rows, strict=True)
    ]


def test_a_folder_gets_a_table_that_no_spreadsheet_runs(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("an older one")
    ended = cli("predict", "model", "pictures/val", "--output", str(file), "--top", "9")
    assert ended.code == 0, ended.err
    assert f"note: {file} was there already, and was replaced" in ended.err
    [header, *rows] = csv.reader(io.StringIO(file.read_text()))
    assert header == ["image", "label", *(f"{what}_{rank}" for rank in (1, 2, 3) for what in ("class", "probability"))]
    assert len(rows) == 24
    assert {row[1] for row in rows} == {f"'{CLASSES[0]}", "ant", "bee"}
    assert not any(cell.startswith("=") for row in rows for cell in row)
    right = sum(row[1] == row[2] for row in rows)
    lines = ended.out.splitlines()
    assert lines[:3] == [f"file={file}", f"accuracy={right / 24!r}", "labelled_images=24"]
    assert lines[3].startswith("confusion matrix (rows: class of the folder")
    assert len(lines) == 8
    assert "note: labels were taken from the folders in pictures/val" in ended.err
    printed = cli("predict", "model", "pictures/val", "--top", "9")
    assert printed.out == file.read_text()
    assert "accuracy=" in printed.err


def test_what_cannot_be_read_is_told_and_left_out(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    Image.fromarray(noise(1)).save(tmp_path / "folder/good.jpg")
    content = (tmp_path / "folder/good.jpg").read_bytes()
    (tmp_path / "folder/cut.jpg").write_bytes(content[:-100])
    (tmp_path / "folder/text.png").write_text("hello")
    (tmp_path / "folder/notes.txt").write_text("hello")
    ended = cli("predict", "model", str(tmp_path / "folder"), "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert [each["image"] for each in found["predictions"]] == [f"{tmp_path}/folder/good.jpg"]
    assert [each["image"] for each in found["unreadable"]] == [
        f"{tmp_path}/folder/{x}" for x in ("cut.jpg", "text.png")
    ]
    assert "accuracy" not in found
    lines = ended.err.splitlines()
    assert lines[0] == "note: left out, not an image that can be read: 1 ('notes.txt')"
    assert lines[1].startswith(f"left out: {tmp_path}/folder/cut.jpg: cannot be read as an image (")
    assert lines[2] == f"left out: {tmp_path}/folder/text.png: is not an image in a format that cifar-tune reads"
    assert lines[3] == "cifar-tune: 2 of 3 images could not be read"


def test_a_deep_image_of_a_kind_that_training_did_not_have_is_told(cli: Cli, tmp_path: Path) -> None:
    Image.fromarray(noise(1, 20, 1)[..., 0].astype(np.float32) / 255).save(tmp_path / "deep.tiff")
    ended = cli("predict", "model", str(tmp_path / "deep.tiff"))
    assert ended.code == 0, ended.err
    assert (
        "1 of 1 image has more than 8 bits per channel, and none of the training images was of that kind" in ended.err
    )


@pytest.mark.parametrize("batch_size", ["1", "5"])
def test_batches_make_no_difference(cli: Cli, place: Path, batch_size: str) -> None:
    found = json.loads(cli("predict", "model", "pictures/val", "--json", "--batch-size", batch_size).out)
    best = [each["top"][0]["probability"] for each in found["predictions"]]
    assert np.allclose(best, np.load(place / "seen.npz")["probabilities"].max(1), rtol=1e-5)


def test_a_list_with_a_path_that_is_not_there_is_wrong_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.cli.prediction_run._read_stdin", lambda: b"pictures/val\ngone.png\n")
    ended = cli("predict", "model", "-")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "cifar-tune: IMAGE = 'gone.png': there is no such file or folder\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["modell", "pictures/val"], "FOLDER = 'modell': there is no such folder (did you mean 'model'?)"),
        (["pictures", "pictures/val"], "pictures: holds no model: there is no model.json in it."),
        (["model", "picture/val"], "IMAGE = 'picture/val': there is no such file or folder"),
        (["model", "pictures/val", "--output", "pictures"], "--output = 'pictures': is a folder: name a file in it"),
        (["model", "pictures/val", "--output", "a/b.csv"], "--output = 'a': there is no such folder"),
    ],
)
def test_wrong_input_is_told(cli: Cli, arguments: list[str], said: str) -> None:
    ended = cli("predict", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"cifar-tune: {said}"), ended.err
