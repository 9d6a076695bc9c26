"""What `load_model` refuses, and what it says; what is written over what."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from cifar_tune import load_model
from cifar_tune.data.depth import Span
from cifar_tune.data.image_reading import MOST_BYTES, Room, read
from cifar_tune.errors import UserError
from cifar_tune.files import UNFINISHED
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.plugin import PluginFile
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.model_files.description import (
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    ModelDescription,
    PluginCopy,
)
from cifar_tune.model_files.folder import place, require_model_folder
from cifar_tune.model_files.reading import read_description
from cifar_tune.plugins.files import read_plugin_file
from cifar_tune.plugins.load import load_plugins
from tests.digits import small_of
from tests.model_files.conftest import SIZE, Saved
from tests.plugins.package import written_package


@pytest.fixture
def folder(saved: tuple[Path, ModelDescription], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved[0], tmp_path / "model"))


def described(folder: Path, **changes: Any) -> None:
    path = folder / DESCRIPTION_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path | str) -> str:
    with pytest.raises(UserError) as error:
        load_model(folder)
    return str(error.value)


def test_a_folder_that_is_not_there_or_holds_no_model(folder: Path, tmp_path: Path) -> None:
    said = refused(tmp_path / "modle")
    assert "there is no such folder" in said
    assert f"(did you mean {str(folder)!r}?)" in said
    assert "is a file; give the folder that it lies in" in refused(folder / WEIGHTS_FILE)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty}: holds no model: there is no model.json in it" in refused(empty)
    with pytest.raises(UserError, match="there is no user 'nobody-here'"):
        load_model("~nobody-here/model")


def test_damage_is_told_by_file(folder: Path) -> None:
    weights = folder / WEIGHTS_FILE
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{weights}: is damaged, or belongs to another model: its sha256 is " in refused(folder)
    weights.unlink()
    assert refused(folder) == f"{weights}: is missing: copy the whole folder again"
    os.mkfifo(weights)
    assert refused(folder) == f"{weights}: cannot be read: it is no regular file"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "was not written by cifar-tune"),
        ({"format_version": FORMAT_VERSION + 1, "cifar_tune": "9.0"}, "was written by cifar-tune 9.0, in version 2 of"),
        ({"classes": ["a", "a"]}, "is damaged: classes must be different names"),
        ({"image_shape": [1, 8, 8]}, "is damaged: image_shape, mean, std, scale and shift must be"),
        ({"seed": "one"}, "seed: is damaged"),
        ({"classes": list("abc"), "confusion": None}, "does not fit the network 'cnn2' that model.json describes"),
        ({"train": {"model": "cnn2", "optimizer": "sgdd"}}, "train.optimizer = 'sgdd': must be "),
        ({"format_version": "1"}, "format_version: is damaged: must be a whole number"),
        ({"format_version": 1.0}, "format_version: is damaged: must be a whole number"),
        ({"format_version": True}, "format_version: is damaged: must be a whole number"),
        ({"scale": [float("nan")] * 3}, "is damaged: it is no JSON (NaN is no number of JSON)"),
        ({"scale": [1e300] * 3}, "is damaged: scale and shift must be numbers that float32 can hold"),
        ({"image_shape": [3, 10**30, 10**30]}, "is damaged: image_shape must be that of square images"),
        ({"image_shape": [3, 32, 16]}, "is damaged: image_shape must be that of square images"),
        ({"classes": ["\ud800", *"123456789"]}, "is damaged: classes must be text"),
        ({"ranges": {"fractions": [1, 0]}}, "is damaged: ranges must go from the smaller to the larger value"),
        ({"precision": "bf16"}, "precision is 'bf16', and train.precision 'fp32': both must be the same"),
        ({"test_time_augmentation": "x"}, "test_time_augmentation is 'x', and train.test_time_augmentation 'none'"),
        ({"seed": 7}, "seed is 7, and train.seed 0"),
        ({"epochs": 0}, "epochs: is damaged: Input should be greater than or equal to 1"),
        ({"check": {"images": 0, "loss": 1, "accuracy": 1, "trained_on": False}}, "check.images: is damaged"),
        ({"check": {"images": 1, "loss": 1, "accuracy": 5, "trained_on": False}}, "check.accuracy: is damaged"),
    ],
)
def test_a_description_that_makes_no_sense(folder: Path, changes: dict[str, Any], words: str) -> None:
    described(folder, **changes)
    assert words in refused(folder)


@pytest.mark.parametrize("start", ["[", '{"format": "cifar-tune model", "x": ['])
def test_a_description_that_is_nested_too_deeply(folder: Path, start: str) -> None:
    (folder / DESCRIPTION_FILE).write_text(start + "[" * 100_000)
    assert "is damaged: it is no JSON (it is nested too deeply)" in refused(folder)


def test_a_description_that_asks_for_too_much_memory(folder: Path) -> None:
    """Nothing is allocated before the weights are seen to fit."""
    train = json.loads((folder / DESCRIPTION_FILE).read_text())["train"]
    described(folder, train={**train, "width": 65536})
    assert "features.0.weight has the shape [4, 3, 3, 3] instead of [65536, 3, 3, 3]" in refused(folder)
    described(folder, train=train, classes=[str(number) for number in range(10**6)], confusion=None)
    assert "instead of [1000000, " in refused(folder)


def of_bytes(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda first: first * float("nan"), "is damaged: it holds numbers that are not finite (features.0.weight)"),
        (lambda first: first.to(torch.complex64) * float("inf"), "is damaged: it holds numbers that are not finite"),
        (lambda first: first.double(), "features.0.weight holds float64 instead of float32"),
        (lambda first: first.to(torch.int8), "features.0.weight holds int8 instead of float32"),
        (lambda first: first.to(torch.float8_e4m3fn), "features.0.weight holds float8_e4m3fn instead of float32"),
        (lambda first: first[1:], "features.0.weight has the shape [3, 3, 3, 3] instead of [4, 3, 3, 3]"),
        (of_bytes({"x": {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}}), "it has tensors of the type F4"),
        (
            of_bytes({"x": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}}),
            "it is not a safetensors",
        ),
        (b"", "it is not a safetensors"),
        ((2**63).to_bytes(8, "little") + b"{}", "it is not a safetensors"),
    ],
)
def test_weights_that_are_not_those_of_the_network(folder: Path, change: Any, words: str) -> None:
    """Also where their hash is right, since whoever made them wrote that too."""
    content = change
    if callable(change):
        state = load((folder / WEIGHTS_FILE).read_bytes())
        content = save({**state, "features.0.weight": change(state["features.0.weight"]).contiguous()})
    (folder / WEIGHTS_FILE).write_bytes(content)
    described(folder, weights_sha256=hashlib.sha256(content).hexdigest())
    assert words in refused(folder)


def test_an_unknown_device_is_none_of_this_machine(folder: Path) -> None:
    described(folder, device="abacus:1")
    load_model(folder)


def test_a_later_version_may_add_what_this_one_does_not_know(folder: Path) -> None:
    described(folder, carbon={"grams": 3})
    assert load_model(folder).classes == tuple("0123456789")


def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UserError, match="must be a device of this machine"):
        load_model(folder, "cuda:99")


def test_links_are_followed_as_caches_of_hubs_have_them(folder: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    for file in folder.iterdir():
        (hub / file.name).symlink_to(file)
    assert load_model(hub).description == load_model(folder).description


def test_only_a_model_of_ours_is_replaced(folder: Path, tmp_path: Path) -> None:
    require_model_folder(folder)
    require_model_folder(tmp_path / "a" / "new" / "one")
    assert not (tmp_path / "a").exists()
    killed = tmp_path / "killed" / UNFINISHED.replace("*", "1")
    killed.mkdir(parents=True)
    (killed / "model.safetensors").write_bytes(b"half")
    require_model_folder(killed.parent)
    assert not killed.exists()
    described(folder, format="other")
    with pytest.raises(UserError, match="holds other files"):
        require_model_folder(folder)


def test_nothing_is_written_or_removed_through_a_link(folder: Path, tmp_path: Path) -> None:
    """A folder of others may hold links; what lies behind them is none of ours."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").write_text("precious")
    (folder / "plugins").mkdir()
    (folder / "plugins/parts").symlink_to(elsewhere)
    described = {"sha256": "0", "parts": {}, "knobs": {}}
    copy = PluginCopy(path="parts/mine.py", file="plugins/parts/mine.py", sha256="0" * 64, described=described)
    description = read_description(folder)
    with_copy = description.model_copy(update={"plugins": (copy,)})
    with pytest.raises(UserError, match=r"plugins/parts: is a link, and plugin files are written into real folders"):
        place(folder, with_copy, {copy.file: "other"})
    (folder / DESCRIPTION_FILE).write_text(with_copy.text())
    with pytest.raises(UserError, match=r"plugins/parts: is a link, and plugin files are written into real folders"):
        place(folder, description, {})  # it would remove the plugins of the former model
    assert (elsewhere / "mine.py").read_text() == "precious"


PLUGIN = """
from torch import nn
from cifar_tune.plugins import ModelPart, Part

def tiny(image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], classes))

MODELS = {"tiny": ModelPart(tiny, "one linear layer")}
ACTIVATIONS = {"mine": Part(nn.ReLU, "as it is")}
"""


def with_plugin(**chosen: Any) -> Configuration:
    content = PLUGIN.encode()
    plugins = load_plugins([PluginFile("parts/mine.py", hashlib.sha256(content).hexdigest(), PLUGIN)])
    small = {name: value for name, value in small_of(epochs=1).items() if name in ("lr", "precision", "epochs")}
    return complete({**small, "batch_size": 32, **chosen}, vocabulary_with(plugins))


def forget_plugins(patch: pytest.MonkeyPatch) -> None:
    """As in a new process, which has run nothing yet."""
    for name in [name for name in sys.modules if name.startswith("cifar_tune_plugin_")]:
        patch.delitem(sys.modules, name)


def test_a_plugin_of_the_network_runs_only_by_a_word(
    tmp_path: Path, save: Callable[[Path, Configuration], Saved], monkeypatch: pytest.MonkeyPatch
) -> None:
    training, description = save(tmp_path, with_plugin(model="tiny"))
    copy = tmp_path / "plugins" / "parts" / "mine.py"
    assert copy.read_text() == PLUGIN
    assert load_model(tmp_path).description == description  # this process has run it already
    forget_plugins(monkeypatch)
    said = refused(tmp_path)
    assert "They are Python programs and would run with your rights" in said
    assert f"{copy}: {len(PLUGIN.splitlines())} lines, sha256 {description.plugins[0].sha256}" in said
    assert not [name for name in sys.modules if name.startswith("cifar_tune_plugin_")]
    loaded = load_model(tmp_path, run_plugins=True).network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in training.learner.model.state_dict().items())

    forget_plugins(monkeypatch)
    copy.write_text(PLUGIN + "raise SystemExit\n")
    with pytest.raises(UserError, match="is not the plugin that the model was trained with"):
        load_model(tmp_path, run_plugins=True)
    described(tmp_path, plugins=[{**description.plugins[0].model_dump(), "file": "plugins/../../mine.py"}])
    assert "must be a file below plugins/, without `..`" in refused(tmp_path)


def test_a_model_of_an_installed_plugin_needs_its_package(
    tmp_path: Path, save: Callable[[Path, Configuration], Saved], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = written_package(tmp_path / "site", "acme_of_models", monkeypatch)
    plugins = load_plugins([read_plugin_file("acme")])
    config = with_plugin().replaced()
    small = {name: config[name] for name in ("lr", "precision", "epochs", "batch_size")}
    folder = tmp_path / "model"
    training, description = save(folder, complete({**small, "model": "tiny"}, vocabulary_with(plugins)))
    assert (folder / "plugins/acme.py").read_text() == (package / "parts.py").read_text()
    assert description.plugins[0].module == "acme_of_models.parts"
    loaded = load_model(folder, run_plugins=True).network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in training.learner.model.state_dict().items())
    (package / "parts.py").write_text((package / "parts.py").read_text() + "OTHER = 1\n")
    with pytest.raises(UserError, match="acme: the package that is installed here has other code"):
        load_model(folder, run_plugins=True)


def test_a_plugin_that_is_not_in_the_network_never_runs(
    tmp_path: Path, save: Callable[[Path, Configuration], Saved], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, with_plugin(model="cnn2", width=4))
    forget_plugins(monkeypatch)
    load_model(tmp_path)
    assert not [name for name in sys.modules if name.startswith("cifar_tune_plugin_")]


def made_image(kind: str) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (40, 90, 4), dtype=np.uint8)
    if kind == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    if kind == "P":
        return Image.fromarray(values[..., :3]).quantize(16)
    return Image.fromarray(values).convert(kind)


@pytest.mark.parametrize(
    ("kind", "format_"),
    [("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("CMYK", "JPEG")],
)
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_images_are_made_ready_as_training_made_them(
    folder: Path, tmp_path: Path, kind: str, format_: str, resize: Any
) -> None:
    described(folder, resize=resize, ranges={"whole numbers": [0, 65535]})
    preprocess = load_model(folder).preprocess
    with pytest.raises(TypeError, match=r"takes an image of Pillow, not str: model.preprocess\(Image.open"):
        preprocess("photo.jpg")  # type: ignore[arg-type]  # what people try
    path = tmp_path / "image"
    exif = Image.Exif()
    exif[0x0112] = 6
    made_image(kind).save(path, format_, exif=exif)
    expected = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    read(path, expected, {"whole numbers": Span(0, 65535)}, Room(MOST_BYTES), resize)
    with Image.open(path) as image:
        found = preprocess(image)
        assert (found.dtype, found.shape) == (torch.uint8, (3, SIZE, SIZE))
        assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)
        image.load()
        decoded = preprocess(image).permute(1, 2, 0).numpy()
    assert np.abs(decoded.astype(int) - expected).max() <= 1


def test_the_page_shows_what_works(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "model-files.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "models/my-study")
    made_image("RGB").save("photo.jpg")
    exec(code, {})  # noqa: S102 (our own page)
    card = (folder / "README.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0]
    shutil.copytree(folder, "this/folder")
    exec(code, {})  # noqa: S102 (our own card)
