"""Muon over filters: which weights it takes, and that they move as torch's own moves matrices."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from cifar_tune.models.build import build_model
from cifar_tune.training.muon import MuonWithAdamW, hidden_weights
from cifar_tune.training.optimizers import build_optimizer

from .conftest import CPU, small

LR, DECAY = 0.02, 0.1


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(6, 5, 1, bias=False),
        nn.Flatten(),
        nn.Linear(80, 7),
        nn.Linear(7, 3),
    )


HIDDEN = ("2.weight", "3.weight", "5.weight")


def together(model: nn.Module) -> MuonWithAdamW:
    return MuonWithAdamW(
        model.parameters(),
        hidden=hidden_weights(model),
        lr=LR,
        weight_decay=DECAY,
        momentum=0.9,
        nesterov=True,
        ns_steps=5,
        betas=(0.9, 0.99),
        eps=1e-8,
    )


def gradients(model: nn.Module, step: int) -> dict[str, Tensor]:
    torch.manual_seed(step)
    return {name: torch.randn(weight.shape) for name, weight in model.named_parameters()}


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_it_moves_weights_as_both_of_torchs_do(memory_format: torch.memory_format) -> None:
    """Within bfloat16, in which torch orthogonalizes: with channels_last the columns stand in another order."""
    model = network().to(memory_format=memory_format)
    optimizer = together(model)
    expected = {name: weight.detach().clone().contiguous() for name, weight in model.named_parameters()}
    matrices = {name: expected[name].flatten(1) for name in HIDDEN}
    muon = Muon(matrices.values(), lr=LR, weight_decay=DECAY, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    others = {name: weight for name, weight in expected.items() if name not in HIDDEN}
    adamw = AdamW(others.values(), lr=LR, weight_decay=DECAY, betas=(0.9, 0.99))
    for step in range(3):
        for name, gradient in gradients(model, step).items():
            model.get_parameter(name).grad = gradient.clone()
            (matrices if name in matrices else expected)[name].grad = (
                gradient.flatten(1) if name in matrices else gradient
            )
        optimizer.step()
        optimizer.zero_grad()
        muon.step()  # type: ignore[no-untyped-call]
        adamw.step()
    assert all(weight.grad is None for weight in model.parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=0, atol=0.02 * LR if name in HIDDEN else 1e-7)


def test_steps_are_orthogonal_and_as_large_as_those_of_adamw() -> None:
    model = network()
    before = model.get_parameter("2.weight").detach().clone()
    optimizer = together(model)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    for name, gradient in gradients(model, 0).items():
        model.get_parameter(name).grad = gradient
    optimizer.step()
    step = (model.get_parameter("2.weight").detach() - before).flatten(1)
    lengths = torch.linalg.svdvals(step) / (LR * 0.2 * 36**0.5)
    assert all(0.6 < length < 1.3 for length in lengths.tolist())  # five iterations are not meant to reach 1


def test_a_learning_rate_set_from_outside_reaches_both_also_after_loading() -> None:
    first, second = network(), network()
    saved = deepcopy(together(first).state_dict())
    optimizer = together(second)
    optimizer.load_state_dict(saved)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    for name, gradient in gradients(second, 0).items():
        second.get_parameter(name).grad = gradient
    optimizer.step()
    assert all(one.equal(other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("model", ["cnn3", "resnet18", "tutorial_net"])
def test_the_first_and_the_last_layer_are_left_to_adamw(model: str) -> None:
    config = small(model=model, optimizer="muon")
    net = build_model(config, (3, 32, 32), 10)
    muon, adamw = build_optimizer(config, net, CPU).param_groups
    layers = [weight for weight in net.parameters() if weight.dim() > 1]
    assert [weight.data_ptr() for weight in muon["params"]] == [weight.data_ptr() for weight in layers[1:-1]]
    assert layers[0].shape[1] == 3
    assert layers[-1].shape[0] == 10
    assert {id(layers[0]), id(layers[-1])} < {id(weight) for weight in adamw["params"]}


def test_embeddings_of_a_transformer_are_left_to_adamw() -> None:
    config = small(model="timm", timm_name="vit_tiny_patch16_224", optimizer="muon")
    net = build_model(config, (3, 32, 32), 10)
    hidden = {id(weight) for weight in hidden_weights(net)}
    names = {name for name, weight in net.named_parameters() if id(weight) in hidden}
    assert "blocks.0.attn.qkv.weight" in names
    assert all(name.startswith("blocks.") for name in names)
    assert len(names) == 12 * 4


def test_the_matrices_of_attention_are_weights_of_hidden_layers() -> None:
    joined, apart = nn.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 2, kdim=3)  # `apart` has no in_proj_weight
    hidden = hidden_weights(nn.Sequential(nn.Linear(3, 4), joined, apart, nn.Linear(4, 3)))
    expected = [joined.in_proj_weight, joined.out_proj.weight, apart.out_proj.weight]
    assert [id(weight) for weight in hidden] == [id(weight) for weight in expected]


def test_a_network_without_hidden_layers() -> None:
    model = nn.Linear(3, 2)
    (group,) = together(model).param_groups
    assert len(group["params"]) == 2
