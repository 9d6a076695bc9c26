"""What is to be known of the images is said by every command that opens them; what becomes of their shapes, once."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from cifar_tune.data.cache import CACHE_VARIABLE

from .conftest import Cli

STUDY = """
name: stickers
budget: {{trials: 1}}
data: {{name: image_folder, root: stickers, image_size: 8, val_size: 200}}
train: {{model: cnn2, width: 8, epochs: {epochs}, batch_size: 32, optimizer: adamw, lr: 0.01}}
search_space: {{label_smoothing: {{choices: [0.0]}}}}
"""


@pytest.fixture
def stickers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits whose shape lies in the alpha channel alone, as in clip art: all are black, and one is not square."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    digits = load_digits()
    for number, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = tmp_path / "stickers" / ("test" if number >= 1500 else "train") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        alpha = np.rint(values * 255 / 16).astype(np.uint8)
        pixels = np.dstack([np.zeros((8, 8, 3), dtype=np.uint8), alpha])
        Image.fromarray(pixels).resize((8, 8 if number else 12)).save(folder / f"{number}.png")
    return tmp_path / "stickers"


@pytest.mark.usefixtures("blank_pictures")
def test_digits_drawn_in_the_alpha_channel_are_learned(cli: Cli, stickers: Path, tmp_path: Path) -> None:
    """Read as RGB alone, they would all be black, and the accuracy that of guessing."""
    (tmp_path / "study.yaml").write_text(STUDY.format(epochs=8))
    note = (
        "note: 1,500 of 1,500 images are partly transparent: the background becomes grey (128, 128, 128) "
        f"(such as {stickers.relative_to(tmp_path)}/train/0/0.png)"
    )
    checked = cli("check", "study.yaml", "--devices", "cpu")
    assert checked.code == 0
    assert note in checked.out.splitlines()
    shapes = "note: 1 of 1,500 images are not square (8 x 12 pixels); they are cropped"
    assert shapes in checked.out

    ran = cli("run", "study.yaml", "--devices", "cpu")
    assert ran.code == 0
    assert note in ran.err.splitlines()
    assert shapes in ran.err
    assert json.loads(cli("status", "stickers", "--json").out)["best"]["value"] > 0.9

    finalized = cli("finalize", "stickers", "--quick", "--device", "cpu", "--json")
    assert finalized.code == 0
    assert note in finalized.err.splitlines()
    assert "not square" not in finalized.err
    again = cli("run", "study.yaml", "--devices", "cpu")
    assert (again.code, "not square" in again.err) == (0, False)
    assert json.loads(finalized.out)["test_openings"][-1]["test_accuracy"] > 0.85


def test_commands_for_one_configuration_say_it_too(cli: Cli, stickers: Path, tmp_path: Path) -> None:
    root = stickers.relative_to(tmp_path)
    (tmp_path / "config.yaml").write_text(
        f"data: {{name: image_folder, root: {root}, image_size: 8, val_size: 200}}\n"
        "train: {model: cnn2, width: 8, epochs: 1, batch_size: 32}\n"
    )
    for command in (["train", "config.yaml", "--device", "cpu"], ["filters", "config.yaml", "--device", "cpu"]):
        ended = cli(*command)
        assert ended.code == 0
        assert "note: 1,500 of 1,500 images are partly transparent" in ended.err
        assert "Warning" not in ended.err


def test_a_damaged_cache_is_made_anew_and_said(cli: Cli, stickers: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.format(epochs=1))
    assert "damaged" not in cli("check", "study.yaml", "--devices", "cpu").out
    [images] = (tmp_path / "cache" / "training").glob("*.images.npy")
    content = bytearray(images.read_bytes())
    content[-1] ^= 0x40
    images.write_bytes(content)
    checked = cli("check", "study.yaml", "--devices", "cpu")
    assert checked.code == 0
    assert (
        f"note: the cache of decoded images was damaged ({images.name}), so the images were decoded again"
        in checked.out
    )
    assert stickers.exists()
