"""Memory that training frees is kept for the next step."""

import platform
import subprocess
import sys

import pytest

MEBIBYTES = 64
PAGES = MEBIBYTES * 2**20 // 4096
PROGRAM = f"""
import resource
import torch
from cifar_tune.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros({MEBIBYTES} * 2**20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults()
print(min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_large_tensors_cause_no_page_faults_the_second_time() -> None:
    """In a process of its own: what others left in the heap decides where memory comes from."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < PAGES / 10
