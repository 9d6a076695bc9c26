"""`pruner.spare`: trials that are trained to their end against the pruner's advice."""

from typing import Any

import pytest

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import Configuration

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors

PRUNER = {"name": "median", "n_startup_trials": 2}
STUDY: dict[str, Any] = {
    "budget": {"trials": 30},
    "sampler": {"name": "random", "seed": 1},
    "train": {"epochs": 4},
    "search_space": {"lr": {"low": 0.01, "high": 1.0}},
}


def worse_and_worse(config: Configuration, epoch: int) -> float:
    return config.number("lr") / (1 + epoch)


def run(run_scripted: RunStudy, spare: float, **options: Any) -> list[tuple[int, str, int | None]]:
    pruner = PRUNER | ({"spare": spare} if spare else {})
    _, record, _ = run_scripted(STUDY | {"pruner": pruner}, Script(curve=worse_and_worse), **options)
    return [(trial.number, trial.state, trial.spared_at) for trial in record.trials]


def test_none_some_and_all(run_scripted: RunStudy) -> None:
    def renamed(plain: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        return run_scripted(plain | {"name": f"spare-{plain['pruner'].get('spare', 0)}"}, *arguments, **options)

    none, some, every = (run(renamed, spare) for spare in (0.0, 0.4, 1.0))
    assert all(spared is None for _, _, spared in none)
    assert sum(state == "PRUNED" for _, state, _ in none) > 5
    assert any(state == "PRUNED" for _, state, _ in some)
    assert any(spared is not None for _, _, spared in some)
    assert all(state == "COMPLETE" for _, state, spared in some if spared is not None)
    assert all(spared in (1, 2, 3) for *_, spared in some if spared is not None)
    assert all(state == "COMPLETE" for _, state, _ in every)


def test_parked_and_taken_up_again_the_same_ones_are_spared(run_scripted: RunStudy) -> None:
    whole = run(lambda plain, *a, **o: run_scripted(plain | {"name": "whole"}, *a, **o), 0.4)
    checkpoints: dict[int, Any] = {}
    found: list[tuple[int, str, int | None]] = []
    for _ in range(40):
        executors = ScriptedExecutors(Script(curve=worse_and_worse), 1, checkpoints)
        plain = STUDY | {"pruner": PRUNER | {"spare": 0.4}}
        ending, record, _ = run_scripted(plain, executors=executors, stop_after=5)
        found = [(trial.number, trial.state, trial.spared_at) for trial in record.trials]
        if ending == "budget":
            break
    assert found == whole


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"name": "none", "spare": 0.1}, "pruner.spare = 0.1: pruner none stops nothing"),
        ({"name": "median", "spare": 1.5}, "pruner.spare = 1.5: must be a number >= 0 and <= 1"),
        ({"name": "median", "spare": "some"}, "pruner.spare = 'some': must be a number"),
        (
            {"name": "patient", "patience": 2, "wrapped_pruner": {"name": "median", "spare": 0.1}},
            "pruner.wrapped_pruner.spare: unknown key",
        ),
    ],
)
def test_what_is_refused(pruner: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        spec_of(STUDY | {"pruner": pruner})
    assert message in str(refused.value)


def test_it_is_stored_with_the_study() -> None:
    assert spec_of(STUDY | {"pruner": PRUNER | {"spare": 0.25}}).plain()["pruner"]["spare"] == 0.25
    assert "spare" not in spec_of(STUDY | {"pruner": PRUNER}).plain()["pruner"]
