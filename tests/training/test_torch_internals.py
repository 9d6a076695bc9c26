"""What `cifar_tune/training/torch_internals.py` relies on, tried on the torch that is installed."""

from pathlib import Path

import pytest
import torch

from cifar_tune.training.torch_internals import copy_all, cpu_multiplies_bf16, move_all

CPU = Path("/proc/cpuinfo")


def tensors(factor: float) -> list[torch.Tensor]:
    return [factor * torch.arange(6.0).reshape(2, 3), torch.tensor(factor), factor * torch.ones(4)]


def test_all_are_copied_in_place() -> None:
    targets, sources = tensors(1.0), tensors(2.0)
    memory = [target.data_ptr() for target in targets]
    copy_all(targets, sources)
    assert all(torch.equal(target, source) for target, source in zip(targets, sources, strict=True))
    assert [target.data_ptr() for target in targets] == memory
    targets[0].zero_()
    assert sources[0].sum() == 30


def test_all_move_a_share_of_the_way_in_place() -> None:
    targets, ends = tensors(1.0), tensors(3.0)
    expected = [target.lerp(end, 0.25) for target, end in zip(targets, ends, strict=True)]
    move_all(targets, ends, 0.25)
    assert all(torch.equal(target, each) for target, each in zip(targets, expected, strict=True))
    assert targets[2].tolist() == [1.5] * 4


@pytest.mark.skipif(not CPU.exists(), reason="nobody else says what the CPU can")
def test_bf16_is_known_as_the_system_knows_it() -> None:
    assert cpu_multiplies_bf16() == ("avx512_bf16" in CPU.read_text())
