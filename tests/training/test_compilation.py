"""torch.compile in the training steps. Its graphs are captured here, but run as they are: compiling takes a minute."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import UserError
from cifar_tune.training.loop import Training

from .conftest import CPU, small

Graphs = list[GraphModule]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    """Those that were captured, in the order in which they were."""
    captured: Graphs = []

    def backend(graph: GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        captured.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return captured


def losses(training: Training) -> list[float]:
    return [result.train_loss for result in training.epochs()]


def test_the_steps_are_compiled_once_and_the_same(digits: ResidentData, graphs: Graphs) -> None:
    plain = Training(small(), digits, CPU)
    assert losses(plain)
    assert graphs == []
    compiled = Training(small(compile=True), digits, CPU)
    assert losses(compiled) == pytest.approx(losses(Training(small(), digits, CPU)), rel=1e-5)
    assert len(graphs) == 1
    assert compiled.learner.state_dict()["model"].keys() == plain.learner.state_dict()["model"].keys()


def test_a_bias_that_is_learned_no_longer_takes_a_second_graph(larger_digits: ResidentData, graphs: Graphs) -> None:
    training = Training(small(model="airbench_net", whitening_bias_epochs=1, compile=True), larger_digits, CPU)
    assert len(losses(training)) == 3
    assert len(graphs) == 2


def test_every_trial_of_a_process_is_compiled(digits: ResidentData, graphs: Graphs) -> None:
    """Dynamo stops after eight graphs of the same lines of code."""
    for seed in range(10):
        losses(Training(small(compile=True, epochs=1, seed=seed, batch_size=200), digits, CPU))
    assert len(graphs) == 10


def test_without_a_compiler(digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="compile = true: needs a C\\+\\+ compiler, and there is no no-such-compiler"):
        Training(small(compile=True), digits, CPU)


@pytest.mark.slow
def test_compiled_for_the_cpu(digits: ResidentData) -> None:
    config = small(compile=True)
    assert losses(Training(config, digits, CPU)) == pytest.approx(losses(Training(small(), digits, CPU)), rel=1e-3)
