"""What `convert` makes of each family of models: agreement, size and accuracy, as a table in Markdown.

python benchmarks/conversion.py [FAMILY ...]

Each net is small, and trained for three epochs on scikit-learn's digits, resized to 32x32: 1,000 for training, 300 for
validation. Then it is written into a model folder and converted with every type of weights. Differences are the largest
ones of any logit on the validation images. Sizes are in kB; the description in each file takes some 3 of them.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from cifar_tune.conversion.converting import Converted, convert
from cifar_tune.conversion.formats import FORMATS
from cifar_tune.conversion.wanted import Wanted
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.part import Value
from cifar_tune.model_files.description import WEIGHTS_FILE, Origin
from cifar_tune.model_files.loading import load_model
from cifar_tune.model_files.writing import Chosen, write_model_folder
from cifar_tune.training.loop import Training

CPU = torch.device("cpu")
DATA = DataSpec(name="digits", val_size=300, train_size=1000)
COMMON: dict[str, Value] = {"epochs": 3, "batch_size": 50, "optimizer": "adamw", "lr": 0.003, "precision": "fp32"}
FAMILIES: Mapping[str, dict[str, Value]] = {
    "tutorial_net": {"model": "tutorial_net"},
    "simple_nn": {"model": "simple_nn"},
    "cnn2": {"model": "cnn2", "width": 16},
    "cnn3": {"model": "cnn3", "width": 16},
    "airbench_net": {"model": "airbench_net", "width": 16},
    "vgg11": {"model": "vgg11", "width": 16},
    "resnet18": {"model": "resnet18", "width": 16},
    "resnet50": {"model": "resnet50", "width": 16},
    "resnet20": {"model": "resnet20", "width": 16},
    "densenet121": {"model": "densenet121", "width": 16},
    "timm: convnext_atto": {"model": "timm", "timm_name": "convnext_atto"},
    "timm: mobilenetv3_small_050": {"model": "timm", "timm_name": "mobilenetv3_small_050"},
    "timm: vit_tiny_patch16_224": {"model": "timm", "timm_name": "vit_tiny_patch16_224"},
}
COLUMNS = (
    "model", "parameters", "model.safetensors", "format", "weights", "kB", "largest difference", "same class",
    "accuracy before", "after",
)  # fmt: skip


def train(chosen: Mapping[str, Value], data: PreparedData, folder: Path) -> int:
    """Write the trained model into the folder, and return its number of parameters."""
    training = Training(complete({**COMMON, **chosen}), ResidentData(data, CPU), CPU)
    list(training.epochs())
    write_model_folder(folder, training, Chosen(DATA, data, 3, Origin(command="train")))
    return training.parameters


def conversions(folder: Path) -> Iterator[tuple[str, str, Converted | CheckError]]:
    """Every format with every type of weights."""
    model = load_model(folder)
    for name, target in FORMATS.items():
        for weights in target.weights:
            try:
                made = convert(model, Wanted(name, weights, True, folder / f"{weights}.{name}", None), lambda _: None)
            except CheckError as error:
                yield name, weights, error
            else:
                yield name, weights, made


def cells(made: Converted | CheckError) -> list[str]:
    """What was found, or why the file was not kept."""
    if isinstance(made, CheckError):
        return ["not kept", str(made).rpartition(": ")[2], "", "", ""]
    before, after = (f"{value:.4f}" for value in made.val_accuracy) if made.val_accuracy else ("", "")
    agreement = made.agreement
    return [f"{made.size / 1000:,.0f}", f"{agreement.difference:.1g}", f"{agreement.equal_classes:.1%}", before, after]


def main(names: list[str]) -> None:
    """Print the table, row by row."""
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"|{' --- |' * len(COLUMNS)}")
    data = prepare(DATA)
    for name in names or FAMILIES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place, "model")
            parameters = train(FAMILIES[name], data, folder)
            weighs = f"{(folder / WEIGHTS_FILE).stat().st_size / 1000:,.0f}"
            for target, weights, made in conversions(folder):
                row = [f"`{name}`", f"{parameters:,}", weighs, target, weights, *cells(made)]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
