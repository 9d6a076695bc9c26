"""Every knob does what it is for: a tiny net is trained with its default and with other values."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import pytest
import torch
from safetensors.torch import save_file

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.knob import Kind
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.rules import broken_rules
from cifar_tune.knobs.table import KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.models.build import build_model
from tests.data.images import prepared_data
from tests.exhaustive import few_of

from .seen import Seen, train_and_see

EVERYWHERE: Mapping[str, Value] = {
    "model": "cnn2",
    "width": 8,
    "optimizer": "sgd",
    "lr": 0.05,
    "schedule": "constant",
    "batch_size": 16,
    "epochs": 2,
    "precision": "fp32",
}
"""Six steps that take some milliseconds."""

WEIGHTS = "a file"
"""Stands for a file of weights for such a net, which is there only while the tests run."""

OUTCOME = frozenset({"losses", "weights", "statistics", "judged"})
"""What changes with whatever moves the weights."""
NET = OUTCOME | {"shapes", "initial"}
RATES = OUTCOME | {"rates"}
IMAGES = OUTCOME | {"images"}
LENGTH = OUTCOME | {"images", "labels", "rates", "threads"}
"""What changes with the number of steps."""


@dataclass(frozen=True)
class Proof:
    """How a knob is proved.

    Attributes:
        changes: what is seen to differ (`Seen`) between any two of its values.
        others: values beside the default; by default all names of a knob that has names.
        beside: knobs that differ from `EVERYWHERE`.
        may_change: what may differ too. All the rest must be the same, bit for bit.
        default: false where the default is not tried.
        most_images: how many images the memory holds.
    """

    changes: frozenset[str]
    others: tuple[Value, ...] = ()
    beside: Mapping[str, Value] = field(default_factory=dict)
    may_change: frozenset[str] = frozenset()
    default: bool = True
    most_images: int | None = None

    def configurations(self, name: str, weights: Value) -> list[Configuration]:
        """One for each value of the knob; `weights` takes the place of WEIGHTS."""
        knob = KNOBS[name]
        others = tuple(weights if other == WEIGHTS else other for other in self.others)
        if not others and knob.kind is Kind.NAME:
            others = tuple(knob.names or ())
        if not others and knob.kind is Kind.NAMES:
            others = tuple((each,) for each in knob.names or ())
        surroundings = {**EVERYWHERE, **self.beside}
        surroundings |= {key: weights for key, value in surroundings.items() if value == WEIGHTS}
        surroundings.pop(name, None)
        defaults = (BUILT_IN.default_of(knob, complete(surroundings)),) if self.default else ()
        return [complete({**surroundings, name: value}) for value in dict.fromkeys((*defaults, *others))]


def net(*others: Value, **beside: Value) -> Proof:
    return Proof(NET, others, beside)


def outcome(*others: Value, **beside: Value) -> Proof:
    return Proof(OUTCOME, others, beside)


def rates(*others: Value, **beside: Value) -> Proof:
    return Proof(RATES, others, beside)


def images(*others: Value, **beside: Value) -> Proof:
    return Proof(IMAGES, others, beside)


UNMOVED: Mapping[str, Value] = {"clip_grad_norm": 1e-30, "norm": "none", "epochs": 3}
"""A net that never learns."""

PROOFS: Mapping[str, Proof] = {
    "model": net("cnn2", "simple_nn", "airbench_net", "resnet18", "resnet20", "densenet121"),
    "width": net(4, model="cnn2"),
    "timm_name": net("test_resnet", model="timm"),
    "stem": net(model="resnet18"),
    "norm": Proof(OUTCOME - {"statistics"}, may_change=NET),
    "norm_groups": Proof(OUTCOME - {"statistics"}, (4,), {"norm": "group"}),
    "bn_momentum": Proof(frozenset({"statistics", "judged"}), (0.5,)),
    "norm_placement": net(model="resnet20"),
    "residual": outcome(False, model="resnet20", zero_init_residual=False),
    "zero_init_residual": Proof(OUTCOME | {"initial"}, (False,), {"model": "resnet20"}),
    "activation": Proof(OUTCOME, may_change=NET),
    "negative_slope": outcome(0.2, activation="leaky_relu"),
    "dropout": outcome(0.5),
    "init": Proof(OUTCOME | {"initial"}, beside={"model": "airbench_net"}),
    "output_scale": outcome(1.0, model="airbench_net"),
    "whitening_bias_epochs": outcome(1, model="airbench_net"),
    "init_from": Proof(OUTCOME | {"initial"}, (WEIGHTS,)),
    "frozen_stages": Proof(OUTCOME, (1,), {"init_from": WEIGHTS}),
    "stage_lr_decay": rates(0.5),
    "optimizer": outcome(weight_decay=0.1),
    "lr": rates(0.01),
    "momentum": outcome(0.5),
    "nesterov": outcome(True),
    "weight_decay": outcome(0.1),
    "decoupled_weight_decay": outcome(True, optimizer="nadam", weight_decay=0.1),
    "alpha": outcome(0.5, optimizer="rmsprop"),
    "rho": outcome(0.5, optimizer="adadelta"),
    "beta1": outcome(0.5, optimizer="adam"),
    "beta2": outcome(0.5, optimizer="adam"),
    "eps": outcome(0.1, optimizer="adam"),
    "momentum_decay": outcome(0.5, optimizer="nadam"),
    "lr_decay": outcome(0.5, optimizer="adagrad"),
    "initial_accumulator_value": outcome(0.5, optimizer="adagrad"),
    "ns_steps": outcome(2, optimizer="muon"),
    "decay_norm_and_bias": outcome(False, weight_decay=0.1),
    "norm_bias_lr_factor": rates(4.0),
    "l1": outcome(0.01),
    "clip_grad_norm": outcome(0.1),
    "ema_decay": Proof(frozenset({"judged"}), (0.9,)),
    "lookahead": outcome(lookahead_steps=2),
    "lookahead_steps": outcome(2, lookahead="constant"),
    "lookahead_alpha": outcome(0.1, lookahead="constant"),
    "class_weights": outcome("balanced", '{"3": 4.0}'),
    "sampling": Proof(IMAGES | {"labels"}),
    "batch_size": Proof(LENGTH, (8,), may_change=frozenset({"images"})),
    "epochs": Proof(LENGTH | {"epochs"}, (3,)),
    "patience": Proof(LENGTH - {"statistics", "weights"} | {"epochs"}, (1,), UNMOVED),
    "schedule": rates(lr=0.3, step_size=1, plateau_patience=0, t_0=1, epochs=6),
    "step_size": rates(1, schedule="step"),
    "gamma": rates(0.5, schedule="step", step_size=1),
    "milestone1": rates(0.25, schedule="multistep"),
    "milestone2": rates(0.25, schedule="multistep"),
    "milestone3": rates(0.25, schedule="multistep"),
    "plateau_patience": Proof(frozenset({"rates"}), (0,), {**UNMOVED, "schedule": "plateau"}),
    "eta_min": rates(0.01, schedule="cosine"),
    "t_0": rates(1, schedule="cosine_restarts"),
    "t_mult": rates(1, schedule="cosine_restarts", t_0=1, epochs=4),
    "base_lr": rates(0.01, schedule="cyclic"),
    "pct_start": rates(0.6, schedule="one_cycle"),
    "div_factor": rates(2.0, schedule="one_cycle"),
    "final_div_factor": rates(1.0, schedule="one_cycle"),
    "warmup_epochs": rates(1.5),
    "loss": outcome(),
    "label_smoothing": outcome(0.2),
    "focal_gamma": outcome(1.0, loss="focal"),
    "margin": outcome(0.1, loss="multi_margin"),
    "augment": Proof(IMAGES, may_change=frozenset({"labels"})),
    "crop_padding": images(1, augment=("random_crop",)),
    "crop_padding_mode": images(augment=("random_crop",)),
    "rotation_degrees": images(90.0, augment=("rotation",)),
    "scale_range": images(0.5, augment=("scale",)),
    "brightness": images(0.1, augment=("brightness",)),
    "contrast": images(0.1, augment=("contrast",)),
    "saturation": images(0.1, augment=("saturation",)),
    "hue": images(0.5, augment=("hue",)),
    "color_temperature": images(10.0, augment=("color_temperature",)),
    "noise_std": images(0.2, augment=("gaussian_noise",)),
    "randaugment_num_ops": images(1, augment=("randaugment",)),
    "randaugment_magnitude": images(30, augment=("randaugment",)),
    "cutout_size": images(4, augment=("cutout",)),
    "erasing_probability": images(1.0, augment=("random_erasing",)),
    "erasing_max_area": images(1.0, augment=("random_erasing",)),
    "mixup_alpha": Proof(IMAGES | {"labels"}, (0.0, 0.2), {"augment": ("mixup",)}),
    "cutmix_alpha": Proof(IMAGES | {"labels"}, (0.0, 0.2), {"augment": ("cutmix",)}),
    "normalization": images(),
    "normalization_sample": images(0.2),
    "test_time_augmentation": Proof(frozenset({"judged"})),
    "compile": Proof(frozenset({"compiled"}), (True,)),
    "cuda_graphs": Proof(frozenset({"captured"}), (False,)),
    "repeatable": Proof(frozenset({"repeatable"}), (False,)),
    "on_oom": Proof(LENGTH | {"epochs", "parts", "ending"}, most_images=8),
    "precision": Proof(OUTCOME, ("fp32", "bf16", "fp16"), default=False),
    "seed": Proof(IMAGES | {"initial", "labels"}, (1,)),
    "threads": Proof(frozenset({"threads"}), (2,), may_change=OUTCOME),
}


FEW = ("model", "width", "norm", "optimizer", "lr", "momentum", "schedule", "loss", "augment", "batch_size")
"""Knobs of the quick tests, one of each kind."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """48 images for training and 16 for validation, all different, in ten classes."""
    return ResidentData(prepared_data(tmp_path_factory.mktemp("noise"), train=48, val=16, size=12), "cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Value:
    file = tmp_path_factory.mktemp("weights") / "other.safetensors"
    torch.manual_seed(7)
    save_file(build_model(complete(EVERYWHERE), (3, 12, 12), 10).state_dict(), file)
    return KNOBS["init_from"].parse(str(file))


@pytest.fixture(autouse=True)
def settings_of_the_process() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


Train = Callable[[Configuration, int | None], Seen]


@pytest.fixture(scope="module")
def train(data: ResidentData) -> Train:
    """Train a configuration, with memory for so many images, and see what it shows; each once for all knobs."""
    known: dict[tuple[object, ...], Seen] = {}

    def train(config: Configuration, most_images: int | None) -> Seen:
        key = (most_images, *config.stored().items())
        if key not in known:
            with pytest.MonkeyPatch.context() as patch:
                known[key] = train_and_see(config, data, patch, most_images)
        return known[key]

    return train


@pytest.mark.parametrize("name", few_of(KNOBS, FEW))
def test_the_knob_changes_what_it_is_for_and_nothing_else(name: str, train: Train, weights: Value) -> None:
    proof = PROOFS[name]
    configurations = proof.configurations(name, weights)
    assert len(configurations) > 1, f"the entry of {name} in PROOFS tries one value only"
    seen: dict[Value, Seen] = {}
    for config in configurations:
        assert not broken_rules(config), config
        assert name in config, f"the entry of {name} in PROOFS names a training that does not take it: {config}"
        seen[config[name]] = train(config, proof.most_images)
    for one, other in combinations(seen, 2):
        differences = seen[one].differences(seen[other])
        assert proof.changes <= differences, f"{name} = {one!r} and {other!r} show the same in some of it"
        assert differences <= proof.changes | proof.may_change, f"{name} = {one!r} and {other!r} differ in more"


def test_every_knob_has_a_proof_and_every_proof_is_of_a_knob() -> None:
    assert KNOBS.keys() - PROOFS.keys() == set(), "give each an entry in PROOFS that says what it is seen to change"
    assert PROOFS.keys() - KNOBS.keys() == set()
