"""Memory that training frees is kept for the next step."""

import platform
import subprocess
import sys

import pytest

# Activations of 37 MB: above 32 MiB glibc maps a block of its own, whatever came before. Some steps pass until the heap
# has found its shape: a block freed between two small ones is a little too short for the next of its size.
PROGRAM = """
import os, resource, sys
import torch
from torch import nn
from cifar_tune.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

mode = sys.argv[1]
if os.fork():  # each in a process of its own, which has done nothing with tensors yet
    os.wait()
    mode = sys.argv[2]
if mode == "kept":
    keep_freed_memory()
torch.set_num_threads(1)
model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.Flatten(), nn.Linear(32 * 30 * 30, 10))
images, labels = torch.rand(320, 1, 32, 32), torch.zeros(320, dtype=torch.int64)
steps = []
for _ in range(12):
    before = faults()
    nn.functional.cross_entropy(model(images), labels).backward()
    model.zero_grad()
    steps.append(faults() - before)
print(mode, sorted(steps[4:])[4], flush=True)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_a_step_of_training_takes_its_memory_from_the_step_before() -> None:
    """Not in this process: what others left in the heap decides where memory comes from."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "kept", "returned"], capture_output=True, text=True, check=True
    )
    faults = {mode: int(count) for mode, count in map(str.split, done.stdout.splitlines())}
    assert faults["kept"] < faults["returned"] / 10
