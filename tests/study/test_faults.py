"""Trials that hang, crash or leak, in real processes: each costs itself and nothing else."""

import os
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cifar_tune.storage.records import StudyRecord
from cifar_tune.study import trial
from tests.exhaustive import few_of
from tests.forked import PROGRAM
from tests.study.test_processes import Folder
from tests.waiting import PATIENCE, wait_until

BAD_PARTS = """
import ctypes
import time
from pathlib import Path

import torch
from torch.nn import functional

from cifar_tune.data.seeding import derive_seed
from cifar_tune.plugins import Kind, Knob, LossPart
from tests.exhaustive import few_of

_kept = []


def hang():
    open("hangs", "w").close()
    while True:
        time.sleep(1)


def stuck():
    open("is_stuck", "w").close()
    ctypes.PyDLL(None).sleep(1000)  # which keeps every other thread of the process waiting


def wait_for_checkpoint():
    deadline = time.monotonic() + 600
    while not list(Path("artifacts").rglob("trial-000001.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)


def crash():
    wait_for_checkpoint()  # else it may end before that of the first epoch is written
    ctypes.string_at(0)


def leak():
    while True:
        _kept.append(torch.ones(25_000_000))


def need_too_much():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def lose_the_device():
    wait_for_checkpoint()
    raise RuntimeError("CUDA error: an illegal memory access was encountered\\nCUDA kernel errors might be ...")


MOODS = {
    "good": None, "stuck": stuck, "hang": hang, "crash": crash, "leak": leak, "lose": lose_the_device,
    "greedy": need_too_much,
}


def moody(logits, targets, *, mood):
    is_modest = mood == "greedy" and len(logits) <= 20
    if MOODS[mood] is not None and not is_modest and torch.initial_seed() == derive_seed(0, "epoch", 2):
        MOODS[mood]()
    return functional.cross_entropy(logits, targets)


LOSSES = {"moody": LossPart(moody, "goes wrong in the second epoch", arguments={"mood": "mood"})}
KNOBS = [Knob("mood", Kind.NAME, "good", "what it does", names={name: name for name in MOODS}, owner="loss")]
"""
STUDY = """
name: disturbed
budget: {{trials: 3}}
sampler: {{name: grid}}
pruner: {{name: none}}
data: {{name: digits, val_size: 300, train_size: 600}}
plugins: [bad_parts.py]
train: {{model: cnn2, width: 4, epochs: 2, batch_size: 64, loss: moody, lr: 0.01}}
search_space:
  mood: {{choices: [good, {mood}]}}
  momentum: {{choices: [0.9]}}
"""
MEMORY_BYTES = 1_000_000_000


def folder_with(mood: str, path: Path, more: str = "") -> Folder:
    folder = Folder(path / "faults")
    (folder.path / "bad_parts.py").write_text(BAD_PARTS)
    (folder.path / "study.yaml").write_text(textwrap.dedent(STUDY).format(mood=mood) + more)
    return folder


def outcome(record: StudyRecord, mood: str) -> tuple[str, str | None]:
    (found,) = (trial for trial in record.trials if trial.params["mood"] == mood)
    return found.state, found.reason


class ClockOfTrials:
    """Stands in for the module `time` where trials are timed: half a minute is over as soon as one hangs.

    Before and after that it stands still, so that no other trial takes too long.
    """

    def __init__(self, hangs: Path) -> None:
        self._hangs = hangs

    def monotonic(self) -> float:
        return 1030.0 if self._hangs.exists() else 1000.0


def test_a_trial_that_hangs_ends_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_with("hang", tmp_path)
    monkeypatch.setattr(trial, "time", ClockOfTrials(folder.path / "hangs"))
    settings = ("--set", "budget.trial_timeout=30s", "--workers", "1")
    code, _, err = folder.call("run", "study.yaml", *settings)
    assert code == 0, err
    record = folder.record()
    assert outcome(record, "hang") == ("PRUNED", "timeout")
    assert outcome(record, "good") == ("COMPLETE", "completed")
    hung = next(trial for trial in record.trials if trial.reason == "timeout")
    assert (hung.epochs, hung.value) == (1, hung.intermediate[1])
    assert "timeout (budget.trial_timeout of 30 s is over; its executor was replaced)" in err


def test_a_trial_that_crashes_its_process_fails_after_three_tries(tmp_path: Path) -> None:
    folder = folder_with("crash", tmp_path)
    code, _, err = folder.call("run", "study.yaml")
    assert code == 0, err
    record = folder.record()
    assert outcome(record, "crash") == ("FAIL", "error")
    assert outcome(record, "good") == ("COMPLETE", "completed")
    crashed = next(trial for trial in record.trials if trial.state == "FAIL")
    assert "died 3 times without finishing an epoch (last: exit code -11)" in str(crashed.error)
    assert (crashed.number, list(crashed.resumed_from)) == (1, [1, 1])


def test_a_process_that_cannot_use_its_device_any_more_is_replaced(tmp_path: Path) -> None:
    folder = folder_with("lose", tmp_path)
    code, _, err = folder.call("run", "study.yaml")
    assert code == 0, err
    record = folder.record()
    assert outcome(record, "good") == ("COMPLETE", "completed")
    assert outcome(record, "lose") == ("FAIL", "error")
    lost = next(trial for trial in record.trials if trial.state == "FAIL")
    assert "last: CUDA error: an illegal memory access was encountered" in str(lost.error)
    assert (lost.number, list(lost.resumed_from)) == (1, [1, 1])
    assert err.count("its executor died (CUDA error: an illegal memory access was encountered)") == 2


LITTLE_MORE_MEMORY = """
import resource
most = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 1_000_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""


def test_memory_that_is_refused_prunes_the_trial(tmp_path: Path) -> None:
    folder = folder_with("leak", tmp_path)
    process = folder.start("run", "study.yaml", code=LITTLE_MORE_MEMORY + PROGRAM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    record = folder.record()
    assert outcome(record, "leak") == ("PRUNED", "out_of_memory")
    assert outcome(record, "good") == ("COMPLETE", "completed")


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[Path]:
    """A control group with little memory, whose processes the kernel kills when it runs out."""
    name = f"cifar-tune-test-{os.getpid()}-{tmp_path.name}"
    first, second = Path("/sys/fs/cgroup/memory") / name, Path("/sys/fs/cgroup") / name
    group, limit = (first, "memory.limit_in_bytes") if first.parent.exists() else (second, "memory.max")
    try:
        group.mkdir()
        (group / limit).write_text(str(MEMORY_BYTES))
    except OSError as error:
        pytest.skip(f"no control group with a limit can be made here: {error}")
    yield group

    def is_removed() -> bool:
        with suppress(OSError):  # processes that were killed are still in it
            group.rmdir()
            return True
        return False

    wait_until(is_removed)


def test_a_trial_that_the_kernel_kills_for_memory_is_pruned(tmp_path: Path, small_group: Path) -> None:
    folder = folder_with("leak", tmp_path)

    join = f"import os; open({str(small_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    process = folder.start("run", "study.yaml", code=join + PROGRAM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    record = folder.record()
    assert outcome(record, "leak") == ("PRUNED", "out_of_memory")
    assert outcome(record, "good") == ("COMPLETE", "completed")
    assert "killed by the system, since memory ran out" in err


@pytest.mark.parametrize("on_oom", few_of(["prune", "accumulate"], ["accumulate"]))
def test_a_step_that_needs_too_much_memory_is_split_where_that_is_wanted(tmp_path: Path, on_oom: str) -> None:
    folder = folder_with("greedy", tmp_path)
    code, _, err = folder.call("run", "study.yaml", "--set", f"on_oom={on_oom}")
    assert code == 0, err
    record = folder.record()
    (greedy,) = (trial for trial in record.study.get_trials() if trial.params["mood"] == "greedy")
    if on_oom == "prune":
        assert outcome(record, "greedy") == ("PRUNED", "out_of_memory")
    else:
        assert outcome(record, "greedy") == ("COMPLETE", "completed")
        assert greedy.user_attrs["micro_batches"] == 4
        assert "memory ran out, so each step is split into 4 micro-batches; batch norm sees each by itself" in err


@pytest.mark.slow
def test_on_ray_too_a_bad_trial_costs_itself_alone(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")
    folder = folder_with("hang, lose", tmp_path)
    folder.environment["RAY_worker_niceness"] = "0"  # on a busy machine those of 15 would hardly get on
    arguments = ("--engine", "ray", "--address", "local", "--workers", "1", "--set", "budget.trial_timeout=30s")
    code, _, err = folder.call("run", "study.yaml", *arguments)
    assert code == 0, err
    record = folder.record()
    assert outcome(record, "good") == ("COMPLETE", "completed")
    assert outcome(record, "hang") == ("PRUNED", "timeout")
    assert outcome(record, "lose") == ("FAIL", "error")
    lost = next(trial for trial in record.trials if trial.state == "FAIL")
    assert "last: CUDA error: an illegal memory access was encountered" in str(lost.error)
