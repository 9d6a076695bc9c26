"""Validation accuracy of airbench_net and ResNet-18 for the same arithmetic of training.

python benchmarks/speedrun.py FOLDER

FOLDER holds `train/<class>/*`. Epochs of ResNet-18 are given; airbench_net gets as many as cost the same floating point
operations: forward and backward passes over the training images, counted by torch.utils.flop_counter. Validation is not
counted, nor are optimizers. Both recipes are as in `RECIPES`; neither was tuned on these images. Each trained net is
evaluated with every `test_time_augmentation`; only the first of them costs both nets the same.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import mean, stdev

import torch
from torch.utils.flop_counter import FlopCounterMode

from cifar_tune.data.batches import validation_batches
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.models.build import FLOPS_PER_MULTIPLY_ADD, build_model
from cifar_tune.training.evaluation import AveragedViews, evaluate
from cifar_tune.training.loop import Training

CPU = torch.device("cpu")
COUNTED = 4
"""Images of the counted batch."""

COMMON: dict[str, Value] = {
    "batch_size": 128,
    "optimizer": "sgd",
    "nesterov": True,
    "weight_decay": 5e-4,
    "crop_padding": 2,
    "crop_padding_mode": "reflect",
}
RECIPES: dict[str, dict[str, Value]] = {
    "resnet18": {
        "model": "resnet18",
        "zero_init_residual": False,
        "schedule": "one_cycle",
        "lr": 0.1,
        "momentum": 0.9,
        "augment": ("random_crop", "horizontal_flip"),
    },
    "airbench_net": {
        "model": "airbench_net",
        "schedule": "triangular",
        "lr": 0.5,
        "momentum": 0.85,
        "label_smoothing": 0.2,
        "augment": ("random_crop", "alternating_flip"),
        "norm_bias_lr_factor": 64.0,
        "bn_momentum": 0.4,
        "lookahead": "cubic",
    },
}


def training_multiply_adds(config: Configuration, image_shape: tuple[int, int, int], classes: int) -> float:
    """Of forward and backward pass, for one image."""
    with torch.device("meta"):
        model = build_model(config, image_shape, classes)
        images = torch.zeros(COUNTED, *image_shape)
    counter = FlopCounterMode(display=False)
    with counter:
        model(images).sum().backward()
    return counter.get_total_flops() / FLOPS_PER_MULTIPLY_ADD / COUNTED


def accuracies(training: Training) -> list[float]:
    """In percent, for each way of looking at the validation images."""
    found = []
    for part in TEST_TIME_AUGMENTATIONS.values():
        model = AveragedViews(training.learner.evaluated, part.resolve()())
        batches = validation_batches(training.data, training.config)
        [(_, accuracy)] = evaluate(model, batches, training.precision, training.device).read()
        found.append(100 * accuracy)
    return found


def spread(values: Sequence[float]) -> str:
    """Mean and, of several, their standard deviation."""
    return f"{mean(values):.1f} %" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="holds train/<class>/*")
    parser.add_argument("--nets", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--width", type=int, default=16, help="of both nets")
    parser.add_argument("--epochs", type=int, default=4, help="of ResNet-18")
    parser.add_argument("--train-size", type=int, default=5000)
    parser.add_argument("--val-size", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    spec = DataSpec(
        name="image_folder", root=arguments.folder, train_size=arguments.train_size, val_size=arguments.val_size
    )
    data = ResidentData(prepare(spec), CPU)

    shared = {**COMMON, "width": arguments.width, "threads": arguments.threads}
    reference = complete({**shared, **RECIPES["resnet18"]})
    budget = arguments.epochs * training_multiply_adds(reference, data.image_shape, len(data.classes))
    columns = ("net", "million multiply-adds per image", "epochs", *TEST_TIME_AUGMENTATIONS, "seconds")
    print("| " + " | ".join(columns) + " |")
    print("| " + " | ".join(["---"] * (4 + len(TEST_TIME_AUGMENTATIONS))) + " |")
    for name in arguments.nets:
        config = complete({**shared, **RECIPES[name]})
        work = training_multiply_adds(config, data.image_shape, len(data.classes))
        epochs = round(budget / work)
        found, seconds = [], []
        for seed in range(arguments.seeds):
            started = time.perf_counter()
            training = Training(config.replaced(epochs=epochs, seed=seed), data, CPU)
            list(training.epochs())
            seconds.append(time.perf_counter() - started)
            found.append(accuracies(training))
        spreads = [spread(values) for values in zip(*found, strict=True)]
        print(f"| {name} | {work / 1e6:.0f} | {epochs} | {' | '.join(spreads)} | {mean(seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
