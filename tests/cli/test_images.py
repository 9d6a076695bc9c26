"""`check` and `run` say what they found in a folder of images, and what they left out."""

import os
from pathlib import Path

import pytest

from cifar_tune.data.cache import CACHE_VARIABLE
from tests.data.images import write_folder
from tests.processes import call_cifar_tune

from .conftest import Cli

STUDY = """name: folders
budget: {trials: 1}
pruner: {name: none}
data: {name: image_folder, root: pictures, image_size: 8}
train: {model: cnn2, width: 4, epochs: 1, batch_size: 16, precision: fp32}
search_space: {lr: {choices: [0.02, 0.05]}}
"""


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three splits and what belongs to none, and a study of them, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    Path("study.yaml").write_text(STUDY)
    root = Path("pictures")
    for number, (split, count) in enumerate((("train", 20), ("val", 6), ("Test", 4))):
        write_folder(root / split, {"ant": count, "bee": count // 2, "猫": count}, seed=number)
    (root / "unlabelled").mkdir()
    (root / "train/ant/notes.txt").write_text("not an image")
    return root


NOTES = [
    "note: not read in pictures: the folder 'unlabelled'",
    "note: left out, not an image that can be read: 1 ('train/ant/notes.txt')",
]


def test_check_says_what_it_found(cli: Cli) -> None:
    ended = cli("check", "study.yaml", "--devices", "cpu")
    assert ended.code == 0
    lines = ended.out.splitlines()
    start = lines.index("data: 50 training and 15 validation images (3, 8, 8), 3 classes")
    assert lines[start + 1 : start + 9] == [
        "splits: training: the images in train; validation: the images in val; test: 10 files in Test (only finalize "
        "opens them)",
        "width x height before resizing: 32 x 32 (65)",
        "training + validation images of each class: 'ant' 20 + 6, 'bee' 10 + 3, '猫' 20 + 6",
        "smallest class: 'bee', 10 training and 3 validation images",
        *NOTES,
        "equal images (by their pixels, once decoded): 0 of 65 training and validation images repeat another one",
        "equal files (by their bytes; no test image was decoded): 0 of 65 training and validation files are test "
        "files too",
    ]


@pytest.mark.usefixtures("blank_pictures")
def test_run_says_what_it_left_out(cli: Cli) -> None:
    ended = cli("run", "study.yaml", "--devices", "cpu")
    assert ended.code == 0, ended.err
    assert [line for line in ended.err.splitlines() if line.startswith("note: ")] == NOTES
    assert cli("run", "study.yaml", "--devices", "cpu", "--quiet").err == ""
    assert cli("export", "folders").code == 0
    assert "validation: the images in val; test: 10 files in Test" in Path("reports/folders/summary.md").read_text()


def test_what_is_ignored_can_be_set(cli: Cli) -> None:
    ended = cli("check", "study.yaml", "--devices", "cpu", "--set", "data.ignore=[val, unlabelled]")
    assert ended.code == 0
    assert "data: {name: image_folder, root: pictures, ignore: [val, unlabelled], " in ended.out
    assert "validation: drawn from train" in ended.out
    assert NOTES[0] not in ended.out


def test_a_study_goes_on_with_the_same_kind_of_validation_split_only(cli: Cli, pictures: Path) -> None:
    assert cli("run", "study.yaml", "--devices", "cpu").code == 0
    (pictures / "val").rename(pictures / "other")
    ended = cli("run", "study.yaml", "--devices", "cpu", "--trials", "2")
    assert ended.code == 2
    assert "the images are not those that the study 'folders' began with" in ended.err


def test_names_in_any_script_give_pictures_without_a_warning(tmp_path: Path) -> None:
    Path("config.yaml").write_text(STUDY[STUDY.index("data:") : STUDY.index("search_space:")])
    code, out, err = call_cifar_tune(("filters", "config.yaml", "--device", "cpu"), tmp_path, os.environ)
    assert code == 0, err
    assert "file=reports/config/classes.png" in out
    assert [line for line in err.splitlines() if not line.startswith("note: ")] == []
    assert "猫," in Path("reports/config/classes.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        ("3", "data.ignore = 3: must be a list of names"),
        ("[3]", "data.ignore[0] = 3: must be text"),
        ("[tset]", "data.ignore = 'tset': there is no such folder in data.root (did you mean 'Test'?)"),
    ],
)
def test_refusals(cli: Cli, ignore: str, message: str) -> None:
    ended = cli("check", "study.yaml", "--devices", "cpu", "--set", f"data.ignore={ignore}")
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
