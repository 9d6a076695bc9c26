"""The benchmark of `transfer_from`, on tables that are made instead of trained."""

import math
from itertools import product

import numpy as np
import pytest

from benchmarks.transfer import TURNED, Replays, search, study_on
from benchmarks.transfer_tables import RATES, TASKS, Table
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.part import Value


def made(best: float) -> Table:
    """The nearer to a learning rate, the better; batch norm helps."""
    cells = product(("sgd", "adamw"), (64, 256), ("none", "batch"), RATES)
    return Table({
        f"{optimizer} {size} {norm} {rate}": 0.7 - 0.1 * abs(math.log10(rate / best)) + 0.05 * (norm == "batch")
        for optimizer, size, norm, rate in cells
    })  # fmt: skip


def test_values_lie_between_those_that_were_trained() -> None:
    table = made(0.1)
    found = []
    for rate in (0.1, 0.173205, 0.3):
        values: dict[str, Value] = {"optimizer": "sgd", "batch_size": 64, "norm": "batch", "lr": rate}
        found.append(table.accuracy(complete(values)))
    assert found == pytest.approx([0.75, 0.75 - 0.05 * math.log10(3), 0.75 - 0.1 * math.log10(3)], abs=1e-6)
    assert table.best == 0.75


def test_a_task_alike_is_found_sooner_and_its_worst_later() -> None:
    tables = dict.fromkeys(TASKS, made(0.1))
    replays = Replays(tables, seeds=3)
    without, given = replays.gains(("CIFAR, width 4", "CIFAR"), 5)
    assert (given[:, 0] <= without[:, 0]).all()
    assert (given[:, 0] == 1).mean() >= 0.5
    assert np.array_equal(
        without[:, 0], [search(study_on("CIFAR", seed), tables["CIFAR"]).needed(0.75) for seed in range(3)]
    )
    without, given = replays.gains(TURNED, 5)
    assert given[:, 0].min() > 5
