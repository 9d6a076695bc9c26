"""Executor processes share what they import, and have their own of everything else."""

import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cifar_tune.executors.starting import Starter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are spawned elsewhere than on Linux")

MEGABYTE_IN_KB = 1024


def tell(connection: Connection, device: str, slot: int) -> None:
    imported = "torch._dynamo" in sys.modules
    import torch

    torch.nn.Linear(3, 3)(torch.ones(1, 3)).sum().backward()
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    own = sum(int(size) for name, size, _ in lines if name.startswith("Private_"))
    connection.send((imported, own, device, slot, os.environ.get("MOOD"), Path.cwd()))
    connection.recv()


def test_they_import_torch_once_and_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starter = Starter(tell)
    monkeypatch.setenv("MOOD", "sunny")  # set after the fork server began
    monkeypatch.chdir(tmp_path)
    started = [starter.start("cpu", slot) for slot in range(2)]
    try:
        said = [connection.recv() for _, connection in started]
    finally:
        for process, _ in started:
            process.kill()
            process.join()
    assert [imported for imported, *_ in said] == [True, True]
    assert all(own < 60 * MEGABYTE_IN_KB for _, own, *_ in said), said
    assert [rest for _, _, *rest in said] == [["cpu", slot, "sunny", tmp_path] for slot in range(2)]


_ASKS = """
import torch
from torch import cuda

def refuse(*_args, **_options):
    raise SystemExit("a GPU was asked for before the fork")

for name in ("is_available", "device_count", "init", "_lazy_init", "current_device", "get_device_properties"):
    setattr(cuda, name, refuse)
import cifar_tune.executors.preloaded
import sys
print("torch._dynamo" in sys.modules, "cifar_tune.executors.worker" in sys.modules, cuda.is_initialized())
"""


def test_the_fork_server_asks_for_no_gpu() -> None:
    """PyTorch cannot use CUDA in a process that was forked from one which has asked for it."""
    done = subprocess.run([sys.executable, "-c", _ASKS], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True", "False"]), done.stderr
