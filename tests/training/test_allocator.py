"""Memory that training frees is kept for the next step."""

import platform
import resource

import pytest
import torch

from cifar_tune.training.allocator import keep_freed_memory

MEBIBYTES = 64
PAGES = MEBIBYTES * 2**20 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_large_tensors_cause_no_page_faults_the_second_time() -> None:
    keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.zeros(MEBIBYTES * 2**20, dtype=torch.uint8).fill_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert min(faults() for _ in range(3)) < PAGES / 10
