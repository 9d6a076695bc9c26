"""A training begins with the weights of a file, and keeps those of frozen stages."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import UserError
from cifar_tune.knobs.initial_weights import pinned
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.rules import broken_rules
from cifar_tune.knobs.table import KNOBS
from cifar_tune.models.build import build_model
from cifar_tune.models.stages import stages_of
from cifar_tune.training.initial_weights import initial_weights_words
from cifar_tune.training.learner import Learner, build_learner
from cifar_tune.training.loop import Training
from tests.digits import digits_of, small_of

from .conftest import CPU

CNN: Mapping[str, Value] = {"model": "cnn3", "width": 4}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """Of 32x32 pixels, since some networks need as many."""
    return digits_of(32, tmp_path_factory)


def save(file: Path, classes: int = 10, seed: int = 5, **chosen: Value) -> dict[str, Tensor]:
    """Weights of a network for so many classes, as they were drawn."""
    torch.manual_seed(seed)
    state = build_model(small_of(**{**CNN, **chosen}), (3, 32, 32), classes).state_dict()
    save_file(state, file)
    return state


def given(path: Path, **chosen: Value) -> dict[str, Value]:
    return {**CNN, "init_from": KNOBS["init_from"].parse(str(path)), **chosen}


def learner(digits: ResidentData, **chosen: Value) -> Learner:
    return build_learner(small_of(**chosen), digits, CPU)


def test_the_weights_of_a_file_are_taken(tmp_path: Path, digits: ResidentData) -> None:
    state = save(tmp_path / "w.safetensors")
    found = learner(digits, **given(tmp_path / "w.safetensors", seed=1)).model.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_the_value_says_which_file_it_was(tmp_path: Path) -> None:
    save(tmp_path / "model.safetensors")
    digest = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    value = f"{tmp_path}@sha256:{digest}"
    assert KNOBS["init_from"].parse(str(tmp_path)) == value
    assert KNOBS["init_from"].parse(value) == value
    assert KNOBS["init_from"].parse("none") == "none"


def test_a_file_that_has_changed_is_refused(tmp_path: Path, digits: ResidentData) -> None:
    save(tmp_path / "w.safetensors")
    chosen = given(tmp_path / "w.safetensors")
    save(tmp_path / "w.safetensors", seed=6)
    with pytest.raises(UserError, match=r"init_from: .*w\.safetensors has changed: its sha256 is \w{64}, and the"):
        learner(digits, **chosen)


def test_other_classes_get_a_new_head(tmp_path: Path, digits: ResidentData) -> None:
    state = save(tmp_path / "w.safetensors", classes=7)
    fresh = learner(digits, **CNN, seed=3).model.state_dict()
    found = learner(digits, **given(tmp_path / "w.safetensors", seed=3)).model.state_dict()
    head = {"head.8.weight", "head.8.bias"}
    assert {name for name in found if torch.equal(found[name], fresh[name]) and "head.8" in name} == head
    assert all(torch.equal(found[name], state[name]) for name in state.keys() - head)


@pytest.mark.parametrize("change", ["", "classes", "names", "order", "headless"])
def test_a_new_head_is_said_with_its_reason(tmp_path: Path, digits: ResidentData, change: str) -> None:
    state = save(tmp_path / "model.safetensors", classes=7 if change == "classes" else 10)
    names = [f"other {name}" for name in digits.classes] if change == "names" else list(digits.classes)
    names = [*names[1:], names[0]] if change == "order" else names
    if change == "headless":
        save_file(
            {name: value for name, value in state.items() if "head.8" not in name}, tmp_path / "model.safetensors"
        )
    if change != "classes":
        (tmp_path / "model.json").write_text(json.dumps({"classes": names}))
    reasons = {
        "classes": f"that of {tmp_path} is for 7 classes, and the data have 10",
        "names": f"that of {tmp_path} is for other classes, such as other 0, or for these in another order",
        "order": f"that of {tmp_path} is for other classes, such as 1, or for these in another order",
        "headless": f"{tmp_path} has none",
    }
    words = f"the last layer (head.8) begins with random weights: {reasons[change]}" if change else ""
    training = Training(small_of(**given(tmp_path)), digits, CPU)
    assert training.learner.initial_words == words
    assert training.remarks == ([words] if words else [])
    assert list(initial_weights_words([training.config], digits.image_shape, digits.classes)) == [words]


@pytest.mark.parametrize("are_same", [True, False])
def test_classes_of_other_names_get_a_new_head(tmp_path: Path, digits: ResidentData, are_same: bool) -> None:
    state = save(tmp_path / "model.safetensors")
    names = list(digits.classes) if are_same else [f"other {name}" for name in digits.classes]
    (tmp_path / "model.json").write_text(json.dumps({"classes": names}))
    found = learner(digits, **given(tmp_path)).model.state_dict()
    assert torch.equal(found["head.8.weight"], state["head.8.weight"]) is are_same
    assert torch.equal(found["head.5.weight"], state["head.5.weight"])


@pytest.mark.parametrize("chosen", [{"width": 8}, {"norm": "none"}, {"model": "resnet20"}])
def test_weights_of_another_network_are_refused(tmp_path: Path, digits: ResidentData, chosen: dict[str, Value]) -> None:
    save(tmp_path / "w.safetensors", 10, 5, **chosen)
    with pytest.raises(UserError, match=r"w\.safetensors holds the weights of another network: .* model, width, norm"):
        learner(digits, **given(tmp_path / "w.safetensors"))


def test_which_knobs_of_the_network_differ_is_said(tmp_path: Path, digits: ResidentData) -> None:
    save(tmp_path / "model.safetensors", width=8)
    described = {
        "classes": list(digits.classes),
        "train": {"model": "cnn3", "width": 8, "norm": "batch", "dropout": 0.1},
    }
    (tmp_path / "model.json").write_text(json.dumps(described))
    words = "holds the weights of a network with width 8, and this one has width 4; these tensors differ: features"
    for refused in (
        lambda: learner(digits, **given(tmp_path)),
        lambda: list(initial_weights_words([small_of(**given(tmp_path))], digits.image_shape, digits.classes)),
    ):
        with pytest.raises(UserError, match=words) as error:
            refused()
        assert "(8x3x3x3 there, 4x3x3x3 here)" in str(error.value)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, digits: ResidentData) -> None:
    (tmp_path / "w.safetensors").write_text("hello")
    with pytest.raises(UserError, match=r"w\.safetensors is not a safetensors file, or is damaged$"):
        learner(digits, **given(tmp_path / "w.safetensors"))


def test_weights_that_are_no_numbers_of_a_network_are_refused(tmp_path: Path, digits: ResidentData) -> None:
    file = tmp_path / "w.safetensors"
    state = save(file)
    first = next(name for name, tensor in state.items() if tensor.dim() > 1)

    def refused(changed: torch.Tensor) -> str:
        save_file({**state, first: changed}, file)
        with pytest.raises(UserError) as error:
            learner(digits, **given(file))
        return str(error.value)

    assert f"w.safetensors holds numbers that are not finite ({first})" in refused(state[first] * float("nan"))
    assert f"{first} (int8 there, float32 here)" in refused(state[first].to(torch.int8))
    assert f"{first} (complex64 there, float32 here)" in refused(state[first].to(torch.complex64))


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is no regular file"):
            pinned(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("absent", "there is no file 'absent'"),
        ("empty", "this folder holds no model.safetensors"),
        ("~nobody-here", "~"),
    ],
)
def test_what_is_not_there_is_refused_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(ValueError, match=said):
        KNOBS["init_from"].parse(text)


@pytest.mark.parametrize("model", ["cnn3", "resnet18", "airbench_net", "densenet121"])
def test_frozen_stages_keep_weights_and_statistics(tmp_path: Path, digits: ResidentData, model: str) -> None:
    save(tmp_path / "w.safetensors", model=model)
    chosen = given(tmp_path / "w.safetensors", model=model, frozen_stages=2, epochs=1, weight_decay=0.1)
    training = Training(small_of(**chosen), digits, CPU)
    stages = stages_of(training.learner.model)
    before = [[value.clone() for module in stage.modules for value in module.state_dict().values()] for stage in stages]
    list(training.epochs())
    after = [[value for module in stage.modules for value in module.state_dict().values()] for stage in stages]
    moved = [any(not torch.equal(a, b) for a, b in zip(*pair, strict=True)) for pair in zip(before, after, strict=True)]
    assert moved == [False, False, *[True] * (len(stages) - 2)]


def test_one_stage_must_learn(tmp_path: Path, digits: ResidentData) -> None:
    save(tmp_path / "w.safetensors")
    stages = len(stages_of(build_model(small_of(**CNN), (3, 32, 32), 10)))
    with pytest.raises(UserError, match=f"frozen_stages = {stages}: must be below {stages}, the number of stages"):
        learner(digits, **given(tmp_path / "w.safetensors", frozen_stages=stages))


def test_each_stage_learns_at_a_share_of_the_next_ones_rate(digits: ResidentData) -> None:
    made = learner(digits, **CNN, stage_lr_decay=0.5, schedule="constant", lr=0.1, decay_norm_and_bias=False)
    rates = {id(weight): group["lr"] for group in made.optimizer.param_groups for weight in group["params"]}
    stages = stages_of(made.model)
    found = [{rates[id(weight)] for weight in stage.parameters} for stage in stages]
    assert found == [{0.1 * 0.5**distance} for distance in reversed(range(len(stages)))]
    assert made.lr == 0.1


def test_stages_are_blocks_and_layers() -> None:
    counts = {"resnet18": 10, "resnet20": 11, "vgg11": 11, "densenet121": 121, "airbench_net": 8}
    for model, count in counts.items():
        network = build_model(small_of(model=model), (3, 32, 32), 10)
        stages = stages_of(network)
        assert len(stages) == count, model
        parameters = [parameter for stage in stages for parameter in stage.parameters]
        assert len(parameters) == len({id(each) for each in parameters}) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("chosen", "knobs"),
    [
        ({"frozen_stages": 1}, ("frozen_stages", "init_from")),
        ({"init_from": "timm"}, ("init_from", "model")),
        (
            {"init_from": f"x@sha256:{64 * '0'}", "frozen_stages": 1, "optimizer": "sgd_schedule_free",
             "schedule": "constant"},
            ("frozen_stages", "optimizer"),
        ),
        ({"stage_lr_decay": 0.5, "optimizer": "muon"}, ("stage_lr_decay", "optimizer")),
    ],
)  # fmt: skip
def test_what_cannot_work_together_is_refused(chosen: dict[str, Value], knobs: tuple[str, str]) -> None:
    assert [rule.knobs for rule in broken_rules(dict(small_of(**chosen)))] == [knobs]


def test_timm_without_a_network_is_told(tmp_path: Path, digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"init_from = 'timm': timm's weights for test_resnet.r160_in1k are not in its"):
        learner(digits, model="timm", timm_name="test_resnet.r160_in1k", init_from="timm")
