"""Checkpoints: what is written is read, and what does not belong is refused."""

import os
import random
import socket
import zipfile
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS
from cifar_tune.training.checkpoint import CheckpointError, first_line, load, save
from cifar_tune.training.checkpoint_fit import largest
from cifar_tune.training.loop import Training

from .conftest import CPU, small


@pytest.fixture(scope="module")
def training(digits: ResidentData) -> Training:
    """One epoch old."""
    training = Training(small(optimizer="adam"), digits, CPU)
    next(training.epochs())
    return training


@pytest.fixture
def path(training: Training, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    save(path, training.state_dict())
    return path


def forge(path: Path, content: bytes) -> None:
    """A file with the digest that this content should have."""
    path.write_bytes(first_line(content) + content)


def saved(value: object) -> bytes:
    buffer = BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def archive_of(path: Path) -> bytes:
    return path.read_bytes().partition(b"\n")[2]


def is_same(found: object, expected: object) -> bool:
    found_leaves, found_tree = tree_flatten(found)
    leaves, tree = tree_flatten(expected)
    return found_tree == tree and all(
        torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one == other
        for one, other in zip(found_leaves, leaves, strict=True)
    )


def test_a_training_goes_on_from_its_file(training: Training, path: Path) -> None:
    data = training.data
    continued = Training(training.config, data, CPU)
    state = load(path, training.config, data.fingerprint)
    assert (state["epoch"], state["results"]) == (1, [training.results[0].as_dict()])
    continued.load_state_dict(state)
    undisturbed = Training(training.config, data, CPU)
    for one in (undisturbed, continued):
        list(one.epochs())
    assert [r.val_loss for r in continued.results] == [r.val_loss for r in undisturbed.results]
    for name, tensor in undisturbed.learner.model.state_dict().items():
        assert tensor.equal(continued.learner.model.state_dict()[name]), name


def test_the_next_one_replaces_it_and_leaves_nothing_behind(training: Training, path: Path) -> None:
    save(path, {**training.state_dict(), "epoch": 2})
    assert load(path, training.config, training.data.fingerprint)["epoch"] == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated(training: Training, path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, training.config, training.data.fingerprint)


def chosen_bits(size: int) -> list[int]:
    """All of the first line and of the archive's last bytes, where its directory ends, and some of everywhere."""
    draw = random.Random(0)  # noqa: S311
    line, directory = range(8 * 100), range(8 * (size - 40), 8 * size)
    return [*line[::3], *directory[::3], *(draw.randrange(8 * size) for _ in range(400))]


def test_a_flipped_bit_is_never_loaded(training: Training, path: Path) -> None:
    content = path.read_bytes()
    whole = load(path, training.config, training.data.fingerprint)
    refused, others = 0, []
    for bit in chosen_bits(len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            loaded = load(path, training.config, training.data.fingerprint)
        except CheckpointError:
            refused += 1
        else:
            others += [] if is_same(loaded, whole) else [bit]
    assert others == []
    assert refused > 700
    path.write_bytes(content)
    assert is_same(load(path, training.config, training.data.fingerprint), whole)


def test_torch_itself_would_load_a_flipped_bit(training: Training, path: Path) -> None:
    """Why there is a digest."""
    content = bytearray(archive_of(path))
    weight = next(tensor for tensor in training.learner.model.state_dict().values() if tensor.dim() == 2)
    content[content.index(weight.numpy().tobytes()) + 3] ^= 0x40
    loaded = torch.load(BytesIO(content), weights_only=True)
    assert not is_same(loaded["model"], training.learner.model.state_dict())


def test_more_behind_the_end(training: Training, path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="its content is not what was written"):
        load(path, training.config, training.data.fingerprint)


def test_damaged_before_it_was_written(training: Training, path: Path) -> None:
    """Its digest is right, and still it is refused."""
    forge(path, archive_of(path)[:-1000])
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_a_real_one(path: Path) -> None:
    path.symlink_to(path.with_name("real.pt"))


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


NO_FILES: list[tuple[Callable[[Path], None], str]] = [
    (Path.mkdir, "is no regular file"),
    (make_fifo, "is no regular file"),
    (make_socket, "cannot read the checkpoint"),
    (link_to_zeros, "it is a link"),
    (link_to_a_real_one, "it is a link"),
    (link_to_itself, "it is a link"),
]


@pytest.mark.parametrize(("make", "words"), NO_FILES, ids=[make.__name__ for make, _ in NO_FILES])
def test_what_is_no_file_of_its_own_is_refused_and_holds_up_nothing(
    training: Training, path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], words: str
) -> None:
    monkeypatch.chdir(path.parent)
    path.rename(path.with_name("real.pt"))
    make(path)
    with pytest.raises(CheckpointError, match=words):
        load(path, training.config, training.data.fingerprint)


@pytest.mark.parametrize("make", [make_fifo, make_socket, link_to_zeros, link_to_a_real_one])
def test_what_is_no_file_of_its_own_is_replaced(
    training: Training, path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(path.parent)
    content = path.read_bytes()
    path.rename(path.with_name("real.pt"))
    make(path)
    save(path, {**training.state_dict(), "epoch": 2})
    assert load(path, training.config, training.data.fingerprint)["epoch"] == 2
    assert not path.is_symlink()
    assert path.with_name("real.pt").read_bytes() == content


def test_a_file_larger_than_any_state_is_not_read(training: Training, path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**40)  # no block of it is on the disk
    with pytest.raises(CheckpointError, match="1,099,511,627,776 bytes: more than any state of this training"):
        load(path, training.config, training.data.fingerprint, most_bytes=largest(training))
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="not a checkpoint of cifar-tune"):
        load(path, training.config, training.data.fingerprint, most_bytes=2**50)


@pytest.mark.parametrize("found", [(), ("b" * 64,), ("a" * 64, "b" * 64)])
def test_other_plugins(training: Training, path: Path, found: tuple[str, ...]) -> None:
    save(path, training.state_dict(), found)
    load(path, training.config, training.data.fingerprint, found[::-1])
    with pytest.raises(CheckpointError, match="other plugins, or with other code in them"):
        load(path, training.config, training.data.fingerprint, ("a" * 64,))


def test_missing(training: Training, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load(tmp_path / "absent.pt", training.config, training.data.fingerprint)


@pytest.mark.parametrize("has_digest", [True, False])
def test_foreign_zip(training: Training, path: Path, has_digest: bool) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "Dear reader")
    if has_digest:
        forge(path, path.read_bytes())
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


class Surprise:
    """What a restricted unpickler must not build."""


@pytest.mark.parametrize("content", [{"weights": torch.zeros(3)}, [1, 2]])
def test_foreign_torch_file(training: Training, path: Path, content: object) -> None:
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of cifar-tune"):
        load(path, training.config, training.data.fingerprint)
    forge(path, saved(content))
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


def test_no_code_is_run(training: Training, path: Path) -> None:
    forge(path, saved({**training.state_dict(), "surprise": Surprise()}))
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load(path, training.config, training.data.fingerprint)


def test_one_that_is_older_than_a_knob(digits: ResidentData, tmp_path: Path) -> None:
    """It belongs to a training that does what was done before there was the knob, and to no other."""
    training = Training(small(model="resnet20", width=2, **BEFORE_THEY_WERE_KNOBS), digits, CPU)
    state = training.state_dict()
    state["config"] = {name: value for name, value in state["config"].items() if name not in BEFORE_THEY_WERE_KNOBS}
    path = tmp_path / "checkpoint.pt"
    save(path, state)
    assert load(path, training.config, training.data.fingerprint)["config"] == state["config"]
    with pytest.raises(CheckpointError, match=r"another configuration, which differs in zero_init_residual$"):
        load(path, training.config.replaced(zero_init_residual=True), training.data.fingerprint)


def test_another_configuration(training: Training, path: Path) -> None:
    other = training.config.replaced(lr=0.5, beta1=0.8)
    with pytest.raises(CheckpointError, match=r"another configuration, which differs in beta1, lr$"):
        load(path, other, training.data.fingerprint)


def test_a_configuration_with_other_knobs(training: Training, path: Path) -> None:
    other = training.config.replaced(optimizer="sgd", lr=training.config.number("lr"))
    with pytest.raises(CheckpointError, match=r"differs in beta1, beta2, eps, momentum, nesterov, optimizer$"):
        load(path, other, training.data.fingerprint)


def test_other_data(training: Training, path: Path) -> None:
    with pytest.raises(CheckpointError, match="other data"):
        load(path, training.config, "0" * 64)


def test_another_version(training: Training, path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"checkpoint 2 ", b"checkpoint 3 ", 1))
    with pytest.raises(CheckpointError, match="version '3' of the format; this program reads 2"):
        load(path, training.config, training.data.fingerprint)


def test_a_failed_write_leaves_the_old_one(training: Training, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save(path, {**training.state_dict(), "epoch": 2})
    assert load(path, training.config, training.data.fingerprint)["epoch"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_does_not_exist(training: Training, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file or directory"):
        save(tmp_path / "absent" / "checkpoint.pt", training.state_dict())


def test_reading_changes_nothing_in_memory(training: Training, path: Path) -> None:
    kept = deepcopy(training.learner.model.state_dict())
    load(path, training.config, training.data.fingerprint)
    for name, tensor in training.learner.model.state_dict().items():
        assert tensor.equal(kept[name]), name


def test_a_checkpoint_that_is_older_than_a_knob_goes_on_where_the_knob_changes_nothing(
    training: Training, tmp_path: Path
) -> None:
    state = training.state_dict()
    old = {name: value for name, value in state["config"].items() if name not in ("sampling", "class_weights")}
    path = tmp_path / "old.pt"
    save(path, {**state, "config": old})
    assert load(path, training.config, training.data.fingerprint)["epoch"] == 1
    for changed in ({"sampling": "balanced"}, {"class_weights": "balanced"}):
        with pytest.raises(CheckpointError, match=f"another configuration, which differs in {next(iter(changed))}"):
            load(path, training.config.replaced(**changed), training.data.fingerprint)
