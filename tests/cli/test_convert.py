"""`cifar-tune convert`: what it prints, and what it refuses before it loads anything."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.model_files.description import Origin
from cifar_tune.model_files.writing import Chosen, write_model_folder
from cifar_tune.training.loop import Training
from tests.data.images import noise
from tests.digits import CPU, small_of

from .conftest import Cli


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module", autouse=True)
def model(place: Path) -> Path:
    """A model folder; it was not trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(place / "cache"))
        spec = DataSpec(name="digits", image_size=16, val_size=100, train_size=200)
        prepared = prepare(spec)
        training = Training(small_of(), ResidentData(prepared, CPU), CPU)
        write_model_folder(place / "model", training, Chosen(spec, prepared, 1, Origin(command="train")))
    return place / "model"


@pytest.fixture(autouse=True)
def cache(place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(place / "cache"))


def test_a_file_is_written_and_described(cli: Cli, model: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures" / "of all kinds"
    pictures.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(noise(number, 20)).save(pictures / f"{number}.png")
    (pictures / "broken.png").write_bytes(b"none")
    made = cli("convert", str(model), "--to", "pt2", "--images", "pictures")
    assert made.code == 0, made.err
    found = dict(line.split("=", 1) for line in made.out.splitlines())
    assert found["file"] == str(model / "model.pt2")
    assert int(found["bytes"]) == (model / "model.pt2").stat().st_size
    assert (found["compared_on"], found["equal_classes"]) == ("3 images of pictures", "1.0")
    assert 0 <= float(found["largest_difference"]) <= float(found["allowed_difference"])
    assert "note: pictures/of all kinds/broken.png: " in made.err
    again = cli("convert", str(model), "--to", "pt2", "--weights", "fp16", "--output", "small.pt2", "--json")
    values = json.loads(again.out)
    assert values["file"] == "small.pt2"
    assert values["compared_on"] == "100 validation images"
    assert values["val_accuracy_before"] == values["val_accuracy_after"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("absent --to onnx", "there is no such folder"),
        ("MODEL --to onxn", "--to = 'onxn': must be onnx or pt2 (did you mean 'onnx'?)"),
        ("MODEL --to onnx --weights int4", "--weights = 'int4': must be fp32, fp16 or int8 (did you mean 'int8'?)"),
        ("MODEL --to pt2 --weights int8", "--weights = 'int8': pt2 files cannot have them here; --to onnx can"),
        ("MODEL --to pt2 --images absent", "--images = 'absent': there is no such folder"),
        ("MODEL --to pt2 --images empty", "--images = 'empty': holds no image that can be read"),
        ("MODEL --to pt2 --output absent/model.pt2", "--output = 'absent': there is no such folder"),
        ("MODEL --to pt2 --output model.onnx", "ends like a file of --to onnx, and --to pt2 was given"),
        ("MODEL --to pt2 --output empty/note.txt", "is there already, and `cifar-tune convert` did not write it"),
        ("MODEL --to pt2 --output empty/note.txt/model.pt2", "empty/note.txt is no directory"),
    ],
)
def test_wrong_input_is_said(arguments: str, words: str, cli: Cli, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "note.txt").write_text("mine")
    ended = cli("convert", *(arguments.replace("MODEL", str(model)).split()))
    assert ended.code == 2, ended.err
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert (tmp_path / "empty" / "note.txt").read_text() == "mine"


def test_without_onnxruntime_it_is_said_how_to_have_it(cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ended = cli("convert", str(model), "--to", "onnx")
    assert (ended.code, ended.err) == (
        2,
        "cifar-tune: --to = 'onnx': needs the package onnxruntime, which is not installed: "
        "pip install 'cifar-tune[onnx]'\n",
    )
