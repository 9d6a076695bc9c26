import math

import pytest
import torch
from torch.nn import functional

from cifar_tune.data.batches import training_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.seeding import derive_seed
from cifar_tune.insight.gradient_trace import GradientTrace
from cifar_tune.insight.landscape import LandscapeRun, landscape_run, output_weight
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import build_model

from .conftest import CPU, small

A = torch.diag(torch.tensor([8.0, 2.0, 0.5], dtype=torch.float64))


def descend(start: list[float], lr: float, steps: int, distances: list[int]) -> list[tuple[tuple[float, ...], float]]:
    """Gradient descent on x'Ax / 2, whose gradient is Ax."""
    x, trace, found = torch.tensor(start, dtype=torch.float64), GradientTrace(distances), []
    for _ in range(steps):
        change = trace.add(x.clone(), A @ x)
        found.append((change.gradient, change.beta))
        x = x - lr * (A @ x)
    return found


@pytest.mark.parametrize(("axis", "eigenvalue"), [(0, 8.0), (1, 2.0), (2, 0.5)])
def test_along_an_eigenvector_beta_is_its_eigenvalue(axis: int, eigenvalue: float) -> None:
    start = [0.0, 0.0, 0.0]
    start[axis] = 3.0
    found = descend(start, lr=0.1, steps=3, distances=[1])
    assert math.isnan(found[0][1])
    assert found[1][1] == pytest.approx(eigenvalue)
    assert found[2][1] == pytest.approx(eigenvalue)


def test_the_gradient_changes_by_lr_times_a_times_the_gradient() -> None:
    start = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)
    ((first,), _), ((second,), beta) = descend(start.tolist(), lr=0.05, steps=2, distances=[1])
    assert math.isnan(first)
    assert second == pytest.approx(float((0.05 * A @ A @ start).norm()))
    assert 0.5 < beta < 8


def test_beta_is_the_largest_over_the_distances() -> None:
    one, five = (descend([1.0, 1.0, 1.0], 0.05, 9, [distance]) for distance in (1, 5))
    both = descend([1.0, 1.0, 1.0], 0.05, 9, [1, 5])
    assert both[8][0] == (one[8][0][0], five[8][0][0])
    assert both[8][1] == max(one[8][1], five[8][1])
    assert five[8][1] > one[8][1]  # the steep directions die out first
    assert both[3][1] == one[3][1]  # no step lies five steps back yet


def test_weights_that_do_not_move_have_no_beta() -> None:
    trace, point = GradientTrace([1]), torch.ones(3)
    trace.add(point, torch.ones(3))
    change = trace.add(point, torch.zeros(3))
    assert change.gradient[0] == pytest.approx(math.sqrt(3))
    assert math.isnan(change.beta)


def run(config: Configuration, data: ResidentData, fixed: bool = False) -> LandscapeRun:
    return landscape_run(config, data, CPU, [1], fixed, lambda step, loss: None)


def test_the_gradients_are_those_of_the_loss_at_the_output_layer(digits: ResidentData) -> None:
    """The first step by hand: clipping and the L1 penalty do not count."""
    config = small(schedule="constant", clip_grad_norm=0.01, l1=0.1, lr=0.05)
    torch.manual_seed(derive_seed(0, "init"))
    model = build_model(config, digits.image_shape, len(digits.classes)).train()
    assert output_weight(model).shape == (10, 8)
    batches = list(training_batches(digits, config, 1))
    model(batches[0][0])
    loss = functional.cross_entropy(model(batches[0][0]), batches[0][1])
    found = run(config, digits)
    assert found.steps[0].loss == pytest.approx(loss.item(), rel=1e-5)

    weight = output_weight(model)
    (gradient,) = torch.autograd.grad(loss, [weight], retain_graph=True)
    everything = torch.autograd.grad(loss, list(model.parameters()))
    norm = torch.stack([part.norm() for part in everything]).norm()
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), everything, strict=True):
            parameter.sub_(part * 0.01 / norm + 0.1 * parameter.sign(), alpha=0.05)  # as sgd's first step with momentum
    after = functional.cross_entropy(model(batches[1][0]), batches[1][1])
    (later,) = torch.autograd.grad(after, [weight])
    assert found.steps[1].change.gradient[0] == pytest.approx(float((later - gradient).norm()), rel=1e-3)


def test_a_fixed_batch_leaves_the_training_as_it_is(digits: ResidentData) -> None:
    config = small(dropout=0.3, epochs=2)
    free, fixed = run(config, digits), run(config, digits, fixed=True)
    assert [step.loss for step in fixed.steps] == [step.loss for step in free.steps]
    assert len(free.steps) == 12


def test_on_a_fixed_batch_gradients_change_little_in_little_steps(digits: ResidentData) -> None:
    """On successive batches they change with the images, however small the step."""
    config = small(lr=1e-6, dropout=0.3)
    free, fixed = (run(config, digits, fixed=kind).steps[-1].change.gradient[0] for kind in (False, True))
    assert fixed < 0.001 * free


def test_schedule_and_precision_play_no_part(digits: ResidentData) -> None:
    plain = run(small(schedule="constant"), digits)
    assert [s.loss for s in run(small(schedule="one_cycle", precision="bf16"), digits).steps] == [
        s.loss for s in plain.steps
    ]


def test_a_training_that_diverges_ends(digits: ResidentData) -> None:
    found = run(small(norm="none", lr=1e30, epochs=3), digits)
    assert found.diverged
    assert all(math.isfinite(step.loss) for step in found.steps)
