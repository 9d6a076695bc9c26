"""A job whose checkpoint cannot be used: the trial begins again, and says so."""

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.job_training import JobReport, JobTrainer
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job, Notice
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.plugin import PluginFile
from cifar_tune.plugins.meaning import meaning_of
from cifar_tune.training.checkpoint import first_line
from tests.exhaustive import few_of
from tests.taped_graphs import TapedGraphs

DATA = DataSpec(name="digits", train_size=100, val_size=100)


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def state_of(file: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True)
    return state


def seal(file: Path, state: object) -> None:
    """Write a checkpoint of this content, with a digest that is right."""
    buffer = BytesIO()
    torch.save(state, buffer)
    file.write_bytes(first_line(buffer.getvalue()) + buffer.getvalue())


def truncate(file: Path, _mark: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def pickle_a_bomb(file: Path, mark: Path) -> None:
    file.write_bytes(pickle.dumps(Bomb(mark)))


def save_a_bomb(file: Path, mark: Path) -> None:
    seal(file, {**state_of(file), "model": Bomb(mark)})


def save_something_else(file: Path, _mark: Path) -> None:
    torch.save({"model": torch.zeros(3)}, file)


def change_its_configuration(file: Path, _mark: Path) -> None:
    state = state_of(file)
    seal(file, {**state, "config": {**state["config"], "lr": 9.0}})


def lose_a_weight(file: Path, _mark: Path) -> None:
    state = state_of(file)
    state["model"].popitem()
    seal(file, state)


def flip_a_bit(file: Path, _mark: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)


def put_a_fifo_there(file: Path, _mark: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def put_a_link_there(file: Path, _mark: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def values_of(reports: list[JobReport]) -> list[tuple[float, float]]:
    results = [report.result for report in reports if isinstance(report, EpochDone)]
    return [(result.train_loss, result.val_loss) for result in results]


def run(job: Job, epochs: int) -> list[JobReport]:
    asked = iter([True] * epochs + [False])
    return list(JobTrainer(torch.device("cpu"), "cpu", lambda: next(asked)).run(job))


SPOILED: list[Callable[[Path, Path], None]] = [
    truncate, pickle_a_bomb, save_a_bomb, save_something_else, change_its_configuration, lose_a_weight, flip_a_bit,
    put_a_fifo_there, put_a_link_there,
]  # fmt: skip


@pytest.mark.parametrize("spoil", few_of(SPOILED, [truncate, pickle_a_bomb, lose_a_weight]))
def test_a_checkpoint_that_is_of_no_use(
    spoil: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    config = complete({"model": "cnn2", "width": 4, "epochs": 2})
    job = Job(7, dict(config), DATA, tmp_path / "trial-7.pt")
    undisturbed = values_of(run(replace(job, checkpoint=tmp_path / "other.pt"), 3))
    first = run(job, 1)
    assert [type(report) for report in first] == [Began, EpochDone, Ended]
    assert isinstance(run(job, 0)[0], Began), "it is of use as long as it is whole"
    intact = job.checkpoint.read_bytes()

    spoil(job.checkpoint, tmp_path / "exploded")
    notice, began, *epochs, ended = reports = run(job, 3)
    assert isinstance(notice, Notice)
    assert "starts again: its checkpoint cannot be used" in notice.text
    assert isinstance(began, Began)
    assert began.results == ()
    assert ended == Ended(7, "completed")
    assert len(epochs) == 2
    assert values_of(reports) == undisturbed
    assert not (tmp_path / "exploded").exists()
    assert job.checkpoint.is_file()
    assert not job.checkpoint.is_symlink()
    assert job.checkpoint.read_bytes() != intact


def test_a_checkpoint_of_other_plugins_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of a deleted study may be, under whose name there is another."""
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    config = complete({"model": "cnn2", "width": 4, "epochs": 2})
    old, new = (plugin_that_scales_the_loss_by(factor) for factor in (1, 3))
    job = Job(7, {**config, "loss": "scaled"}, DATA, tmp_path / "trial-7.pt", (old,))
    assert [type(report) for report in run(job, 1)] == [Began, EpochDone, Ended]
    began = run(job, 0)[0]
    assert isinstance(began, Began)
    assert len(began.results) == 1

    undisturbed = values_of(run(replace(job, plugins=(new,), checkpoint=tmp_path / "other.pt"), 3))
    notice, *reports = run(replace(job, plugins=(new,)), 3)
    assert isinstance(notice, Notice)
    assert "other plugins, or with other code in them" in notice.text
    assert values_of(reports) == undisturbed
    run(replace(job, plugins=()), 0)  # leaves this process with the built-in vocabulary


def test_a_checkpoint_goes_on_with_the_same_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a comment in the plugin; and where an earlier version wrote down the content of the file alone."""
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    config = complete({"model": "cnn2", "width": 4, "epochs": 2})
    unknown = plugin_that_scales_the_loss_by(1)
    known = replace(unknown, meaning=meaning_of(unknown.source))
    commented = replace(known, sha256="0" * 64, source=f"# a word\n{known.source}")
    for written, read in ((unknown, known), (known, commented)):
        job = Job(7, {**config, "loss": "scaled"}, DATA, tmp_path / f"{read.sha256}.pt", (written,))
        run(job, 1)
        began = run(replace(job, plugins=(read,)), 0)[0]
        assert isinstance(began, Began)
        assert len(began.results) == 1
    run(replace(job, plugins=()), 0)  # leaves this process with the built-in vocabulary


def test_what_a_graph_cannot_hold_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("cifar_tune.training.loop.graphs_on", lambda *_: TapedGraphs())

    def notices(optimizer: str, loss: str) -> list[str]:
        config = complete({"model": "cnn2", "width": 4, "epochs": 3, "batch_size": 32, "optimizer": optimizer})
        file = tmp_path / f"{optimizer}-{loss}.pt"
        job = Job(7, {**config, "loss": loss}, DATA, file, (plugin_that_scales_the_loss_by(2),))
        reports = run(job, 4)
        assert reports[-1] == Ended(7, "completed")
        return [report.text for report in reports if isinstance(report, Notice)]

    assert notices("sgd", "cross_entropy") == []
    assert notices("lion", "cross_entropy") == ["steps run in a CUDA graph, but for optimizer lion"]
    words = "steps run without a CUDA graph, which cannot hold loss scaled"
    assert notices("lion", "scaled") == [words]
    run(Job(7, dict(complete({"epochs": 1})), DATA, tmp_path / "trial.pt"), 0)  # leaves the built-in vocabulary


def plugin_that_scales_the_loss_by(factor: int) -> PluginFile:
    source = f"""
from torch.nn.functional import cross_entropy

from cifar_tune.plugins import LossPart


def scaled(logits, targets):
    return {factor} * cross_entropy(logits, targets)


LOSSES = {{"scaled": LossPart(scaled, "the cross entropy times {factor}")}}
"""
    return PluginFile("parts.py", hashlib.sha256(source.encode()).hexdigest(), source)
