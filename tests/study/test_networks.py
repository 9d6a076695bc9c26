"""The networks of `finalize`: one that cannot be trained is replaced and counted, and too many of them end it."""

from typing import Any

import pytest

from cifar_tune.errors import CheckError
from cifar_tune.storage.linked import NETWORKS
from cifar_tune.storage.openings import Opening
from cifar_tune.study.networks import Networks, NetworkScript, _trained
from tests.reports.factory import RESULT

from .conftest import RunStudy
from .scripted import Script

SEEDS, SPARES = (5, 6, 7), (8, 9, 10)
NETS = Networks("made", None, 0, {}, (0.5, 0.4), True, SEEDS, SPARES)


def plain(trials: int) -> dict[str, Any]:
    return {"search_space": {}, "train": {"epochs": 2, "lr": 0.1}, "budget": {"trials": trials},
            "pruner": {"name": "none"}, "sampler": {"name": "random"}}  # fmt: skip


def test_a_network_that_diverges_is_replaced_by_the_next_unused_seed(run_scripted: RunStudy) -> None:
    assert NETS.plain()["kind"] == NETWORKS
    script = NetworkScript(NETS)
    disasters = {1: [(1, "diverged")], 2: [(0, "error"), (1, "error")]}
    _, record, recorder = run_scripted(plain(3), Script(disasters=disasters), workers=2, planned=script)
    assert dict(record.counts) == {"COMPLETE": 1, "PRUNED": 1, "FAIL": 1}
    with pytest.raises(CheckError, match=r"2 of 3 networks could not be trained \(1 diverged, 1 error\)"):
        _trained(record, NETS)  # as many as the first run has trained
    _, record, _ = run_scripted(plain(5), Script(disasters={3: [(1, "diverged")]}), workers=2, planned=script)
    assert [trial.config["seed"] for trial in record.trials] == [5, 6, 7, 8, 9]
    _, record, _ = run_scripted(plain(6), Script(), workers=2, planned=script)
    found = _trained(record, NETS)
    assert [each.seed for each in found.networks] == [5, 9, 10]
    assert list(found.failed) == [
        {"seed": 6, "reason": "diverged"}, {"seed": 7, "reason": "error"}, {"seed": 8, "reason": "diverged"},
    ]  # fmt: skip
    words = "the network of trial 1 could not be trained (diverged); another seed takes its place"
    assert any(note.startswith(words) for note in recorder.notes)


def test_more_failures_than_networks_end_it(run_scripted: RunStudy) -> None:
    script = NetworkScript(NETS)
    disasters = {number: [(1, "diverged")] for number in range(4)}
    _, record, _ = run_scripted(plain(6), Script(disasters=disasters), planned=script)
    assert dict(record.counts) == {"PRUNED": 4}  # two spares are left, which cannot make three networks
    with pytest.raises(CheckError, match=r"4 of 4 networks could not be trained .*cifar-tune finalize made --trial N"):
        _trained(record, NETS)


def test_the_result_says_which_networks_failed() -> None:
    networks = tuple({"seed": seed, "test_loss": 0.5, "test_accuracy": 0.9} for seed in SEEDS)
    assert Opening(**RESULT.plain()).failure_words == ""
    opening = Opening(
        **RESULT.plain() | {"networks": networks, "failed_networks": ({"seed": 6, "reason": "diverged"},)}
    )
    assert opening.failure_words == (
        "Of 4 networks 1 could not be trained (diverged with seed 6), and another seed took its place: the figures are "
        "those of trainings that finish."
    )
