"""Choosing and describing devices."""

import os
from collections.abc import Iterator

import pytest
import torch

from cifar_tune.errors import UserError
from cifar_tune.training.device import configure, describe_device, environment, existing_devices, resolve_device

from .conftest import CPU, small


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("name", "device"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_resolve_with_two_gpus(name: str, device: str) -> None:
    assert resolve_device(name) == torch.device(device)


@pytest.mark.usefixtures("mac")
def test_auto_prefers_mps_to_the_cpu() -> None:
    assert resolve_device("auto") == torch.device("mps")


@pytest.mark.usefixtures("no_gpu")
def test_auto_without_a_gpu() -> None:
    assert resolve_device("auto") == CPU
    assert existing_devices() == ["cpu"]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("name", ["cuda:2", "gpu", "mps", "", "cuda:-1", "meta"])
def test_a_device_that_does_not_exist(name: str) -> None:
    with pytest.raises(UserError, match="auto, cuda:0, cuda:1 or cpu"):
        resolve_device(name)


def test_the_cpu_is_described() -> None:
    assert describe_device(CPU).startswith("cpu (")
    facts = environment(CPU)
    assert facts["torch"] == torch.__version__
    assert facts["device"] == "cpu"
    assert facts["device_name"]
    assert "cuda" not in facts


def test_configure_sets_the_threads() -> None:
    configure(small(threads=2), CPU)
    assert torch.get_num_threads() == 2
    configure(small(), CPU)
    assert torch.get_num_threads() == 1


def test_configure_makes_a_gpu_the_one_that_is_used_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr("cifar_tune.training.device.set_float32_arithmetic", lambda *_: None)
    monkeypatch.setattr("cifar_tune.training.device.choose_algorithms", lambda _: None)
    configure(small(), CPU)
    assert not chosen
    configure(small(), torch.device("cuda:1"))
    assert chosen == [torch.device("cuda:1")]


@pytest.fixture
def algorithms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of the process, put back afterwards."""
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr("cifar_tune.training.device.set_float32_arithmetic", lambda *_: None)
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = cudnn.benchmark, cudnn.deterministic
    yield
    cudnn.benchmark, cudnn.deterministic = before
    torch.use_deterministic_algorithms(mode=False)


def test_a_repeatable_training_takes_no_algorithm_by_trial_and_none_that_adds_up_as_it_comes(
    algorithms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen() -> tuple[bool, ...]:
        cudnn = torch.backends.cudnn
        return cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    configure(small(repeatable=False), torch.device("cuda:0"))
    assert seen() == (True, False, False)
    configure(small(), torch.device("cuda:0"))
    assert seen() == (False, True, True)
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    configure(small(repeatable=False), torch.device("cuda:0"))  # the next trial of the same executor
    assert seen() == (True, False, False)


def test_what_somebody_has_set_for_cublas_stays(algorithms: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    configure(small(), torch.device("cuda:0"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_configure_flushes_denormals_on_the_cpu() -> None:
    configure(small(), CPU)
    assert not (torch.tensor(1e-39) * 0.5).item()


def test_the_environment_can_be_read_without_torch() -> None:
    assert {type(value) for value in environment(torch.device("cpu")).values()} <= {str, int}
