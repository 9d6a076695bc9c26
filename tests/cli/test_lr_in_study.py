"""A range is written into a study file, and every other byte stays."""

import stat
from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import complete
from cifar_tune.study_spec.lr_in_file import lr_in_study

FLOW = """# mine
name: made   # comment
data: {name: digits}
train: {model: cnn2, width: 4}
search_space:
  "lr":   {high: 1.0, log: true, low: 1e-4, when: {optimizer: [sgd]}}  # searched
  optimizer: {choices: [sgd, adam]}

# the end, without a line end"""
BLOCK = """name: made
search_space:
  momentum: {low: 0.5, high: 0.99}
  lr:
    low: 0.0001   # low
    high: 1.0     # high
    log: true
  weight_decay: {low: 0.0001, high: 1.0, log: true}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FLOW, FLOW.replace("high: 1.0", "high: 0.12").replace("low: 1e-4", "low: 0.0022")),
        (
            BLOCK,
            BLOCK.replace("low: 0.0001   #", "low: 0.0022   #").replace("high: 1.0     #", "high: 0.12     #"),
        ),
    ],
    ids=["flow", "block"],
)
def test_every_other_byte_stays(text: str, expected: str, study: Path) -> None:
    study.write_bytes(text.encode())
    lr_in_study(study).write(0.0022, 0.12)
    assert study.read_bytes() == expected.encode()


def test_what_is_searched_per_something_is_written_so(study: Path) -> None:
    study.write_text(BLOCK.replace("    log: true\n", "    log: true\n    per: batch_size\n"))
    found = lr_in_study(study)
    assert found.searched(0.001, complete({"batch_size": 512})) == 0.00025
    assert found.searched(0.001, complete({"batch_size": 48})) == 0.00267
    study.write_text(BLOCK)
    assert lr_in_study(study).searched(0.001, complete({"batch_size": 512})) == 0.001


def test_line_ends_of_windows_stay(study: Path) -> None:
    study.write_bytes(BLOCK.replace("\n", "\r\n").encode())
    lr_in_study(study).write(1e-5, 0.5)
    assert study.read_bytes().count(b"\r\n") == BLOCK.count("\n")
    assert b"    low: 1e-05   # low\r\n    high: 0.5     # high\r\n" in study.read_bytes()


def test_links_and_permissions_stay(study: Path, tmp_path: Path) -> None:
    study.write_text(BLOCK)
    study.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(study)
    lr_in_study(link).write(1e-3, 0.5)
    assert link.is_symlink()
    assert "low: 0.001 " in study.read_text()
    assert stat.S_IMODE(study.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "study.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: made\ntrain: {lr: 0.1}\n", "study.yaml:2: train.lr = 0.1: lr is fixed here: to search it, move it"),
        ("name: made\n", "search_space.lr: stands nowhere in this file: write lr: {low: 1e-4, high: 1, log: true}"),
        (
            "name: made\nsearch_space:\n  lr: {choices: [0.1, 0.2]}\n",
            "study.yaml:3: search_space.lr: holds choices: only low and high can be written",
        ),
        (
            "name: made\nsearch_space:\n  lr: {low: 0.1, high: 0.2}\n",
            "study.yaml:3: search_space.lr: is searched in even steps: give it log: true first",
        ),
        ("name: made\nsearch_space: {lr: {low: 2, high: 1}}\n", "search_space.lr.low = 2"),
    ],
    ids=["fixed", "absent", "choices", "even", "wrong"],
)
def test_what_cannot_be_written_is_refused(text: str, message: str, study: Path) -> None:
    study.write_text(text)
    with pytest.raises(UserError) as refused:
        lr_in_study(study)
    assert message in str(refused.value)


def test_a_range_that_others_share_is_refused(study: Path) -> None:
    text = "name: made\nsearch_space:\n  weight_decay: &range {low: 1e-4, high: 1.0, log: true}\n  lr: *range\n"
    study.write_text(text)
    with pytest.raises(UserError, match=r"search_space\.lr: is shared with other parts of the file by an anchor"):
        lr_in_study(study).write(1e-3, 0.1)
    assert study.read_text() == text


@pytest.mark.parametrize(
    "space",
    [
        "{weight_decay: &range {low: 1e-4, high: 1.0, log: true}, lr: {<<: *range, high: 0.5}}",
        "{<<: {lr: {low: 1e-4, high: 1.0, log: true}}, weight_decay: {low: 1e-4, high: 1.0, log: true}}",
    ],
)
def test_a_range_out_of_a_merged_mapping_is_refused(space: str, study: Path) -> None:
    text = f"name: made\nsearch_space: {space}\n"
    study.write_text(text)
    with pytest.raises(UserError, match=r"search_space\.lr: \w+ comes from another part of the file: write it by hand"):
        lr_in_study(study).write(1e-3, 0.1)
    assert study.read_text() == text


def test_a_range_that_the_study_cannot_take_is_refused(study: Path) -> None:
    text = "name: made\ntrain: {schedule: cyclic, base_lr: 0.01}\nsearch_space: {lr: {low: 0.1, high: 1, log: true}}\n"
    study.write_text(text)
    with pytest.raises(UserError):
        lr_in_study(study).write(1e-4, 1e-3)
    assert study.read_text() == text


def test_a_file_that_changed_meanwhile_is_left_alone(study: Path) -> None:
    study.write_text(BLOCK)
    found = lr_in_study(study)
    study.write_text(BLOCK + "# more\n")
    with pytest.raises(UserError, match="was changed meanwhile"):
        found.write(1e-3, 0.1)
    assert study.read_text() == BLOCK + "# more\n"
