"""The slots of a machine, and how many of them a trial takes."""

from pathlib import Path

import pytest
from joblib import cpu_count
from sqlalchemy import Engine, select

from cifar_tune.errors import UserError
from cifar_tune.executors.remembered import made_today, remember
from cifar_tune.service import slots
from cifar_tune.service.scheduling import decayed
from cifar_tune.service.slots import find_slots, slots_of_a_trial
from cifar_tune.service.tables import USAGE
from cifar_tune.service.usage import Usage


def test_a_cpu_has_a_slot_for_each_core() -> None:
    assert find_slots(["cpu"]) == ("cpu",) * int(cpu_count())
    assert find_slots(["cpu"], 3) == ("cpu",) * 3


def test_a_gpu_has_as_many_slots_as_were_found_best_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_existing_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path))
    assert find_slots() == ("cuda:0", "cuda:1"), "nothing is known"
    remember(tmp_path / "workers-1.json", made_today(4, 10**9, "4 on each GPU"))
    remember(tmp_path / "workers-2.json", made_today(2, 10**9, "2 on each GPU"))
    assert find_slots(["cuda:1"]) == ("cuda:1", "cuda:1")
    assert find_slots(["cuda"], 1) == ("cuda:0",)


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (["cuda:9"], "must be a device of this machine: auto, cuda:0 or cpu (did you mean 'cuda:0'?)"),
        (["cpu", "cuda:0"], "must be either cpu or GPUs"),
        (["cuda:0", "cuda"], "names a device twice"),
    ],
)
def test_other_devices_are_refused(devices: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_existing_devices", lambda: ["cuda:0", "cpu"])
    with pytest.raises(UserError) as refused:
        find_slots(devices)
    assert words in str(refused.value)


def test_this_machine_is_asked_in_another_process() -> None:
    assert "cpu" in slots._existing_devices()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: s\n", 1),
        ("train: {threads: 4}\n", 4),
        ("search_space: {threads: {choices: [1, 2, 8]}}\n", 8),
        ("search_space: {threads: {low: 1, high: 6}}\n", 6),
        ("- no study\n", 1),
    ],
)
def test_a_trial_takes_a_core_for_each_thread(text: str, expected: int) -> None:
    assert slots_of_a_trial(text, ("cpu",)) == expected
    assert slots_of_a_trial(text, ("cuda:0",)) == 1


def test_device_seconds_are_counted_and_forgotten(engine: Engine) -> None:
    usage = Usage(engine, 100.0)
    usage.add("anna", 1, 2, 1_000.0, 1_010.0)
    usage.add("anna", 2, 1, 1_000.0, 1_010.0)
    usage.write()
    with engine.connect() as connection:
        (row,) = connection.execute(select(USAGE)).all()
    assert (row.owner, row.at) == ("anna", 1_010.0)
    assert 28 < row.device_seconds < 30, "the first seconds count less already"
    later = Usage(engine, 100.0)
    assert later.lately(1_110.0)["anna"].device_seconds == pytest.approx(decayed(row.device_seconds, 100.0, 100.0))
    later.add("anna", 1, 1, 1_110.0, 1_111.0)
    later.write()
    with engine.connect() as connection:
        assert connection.execute(select(USAGE.c.at)).scalar_one() == 1_111.0
