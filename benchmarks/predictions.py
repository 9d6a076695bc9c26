"""How many image files a saved model looks at per second, beside the loop that people write with torchvision."""

import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.images import made_up
from benchmarks.limit import CASES, Case, recipe
from benchmarks.machine import cores
from benchmarks.measuring import interleaved, ratios, spread, table
from benchmarks.question import Options, run
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.sources.folder_files import LeftOut, image_files
from cifar_tune.data.spec import DataSpec
from cifar_tune.model_files.description import Origin
from cifar_tune.model_files.loading import load_model
from cifar_tune.model_files.writing import Chosen, write_model_folder
from cifar_tune.prediction.inputs import find_images
from cifar_tune.prediction.predicting import predict_images, reader_of
from cifar_tune.training.device import configure
from cifar_tune.training.loop import Training

_BATCH = 256


@dataclass(frozen=True, slots=True)
class _Run:
    """Images per second, and what came out: the predicted class of each image, in the order of their paths."""

    speed: float
    classes: npt.NDArray[np.int64]


def measure(options: Options) -> Sequence[str]:
    """Predictions per second of a folder of files, ours and theirs in turns, each in a process of its own."""
    rounds, images = (1, 500) if options.quick else (3, 5_000)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    root = _root(options)
    folder = _chosen(root, options.scratch / "predicted", images)
    rows = [_measured(case, root, folder, options, rounds, device) for case in CASES]
    count = len(image_files(folder, "", LeftOut()))
    return [
        "## Predictions per second",
        f"`cifar-tune predict` against a loop with torchvision's `ImageFolder`, `Resize`, `ToTensor` and `Normalize`, "
        f"a `DataLoader` with {cores()} workers and batches of {_BATCH}, and the same network in fp32, on {device}. "
        f"Both predict the same {count:,} image files, {rounds} rounds, each in a process that has already loaded "
        f"PyTorch and the model. Starting the loader's workers counts. The loop runs its network once with one thread "
        f"and once with {cores()}, and the faster of the two counts. The last column compares the predicted classes; "
        f"cifar-tune runs the network in the precision of its training.",
        table(("network", "torchvision, images/s", "cifar-tune, images/s", "ratio", "same class"), rows),
    ]


def _root(options: Options) -> Path:
    spec = options.images.spec
    if spec.name == "image_folder" and spec.root is not None:
        return Path(spec.root)
    return made_up(options.scratch / "images")  # the archive holds no files


def _chosen(root: Path, target: Path, count: int) -> Path:
    """A folder with so many images of `train/`, evenly from all classes."""
    paths = [path for path, _ in image_files(root, "train", LeftOut())]
    for path in paths[:: max(1, len(paths) // count)][:count]:
        copy = target / Path(path).relative_to("train")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, copy)
    return target


def _measured(case: Case, root: Path, folder: Path, options: Options, rounds: int, device: str) -> Sequence[object]:
    model = options.scratch / f"model-{case.model}"
    _train(case, root, model)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as one,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other,
    ):
        variants = {
            "ours": lambda _: other.submit(_ours, model, folder, device).result(),
            "theirs, one thread": lambda _: one.submit(_theirs, model, folder, device, 1).result(),
            "theirs": lambda _: one.submit(_theirs, model, folder, device, cores()).result(),
        }
        interleaved(variants, 1)  # warms up: imports, file cache, memory
        found = interleaved(variants, rounds)
    ours, single, several = ([each.speed for each in runs] for runs in found.values())
    theirs = [max(pair) for pair in zip(single, several, strict=True)]
    same = float((found["ours"][0].classes == found["theirs"][0].classes).mean())
    return (
        f"{case.model}, width {case.width}",
        spread(theirs),
        spread(ours),
        ratios(theirs, ours),
        f"{100 * same:.2f} %",
    )


def _train(case: Case, root: Path, folder: Path) -> None:
    """A model that has learned a little."""
    cpu = torch.device("cpu")
    spec = DataSpec(name="image_folder", root=str(root), train_size=2_000, val_size=500)
    config = recipe(case.model, case.width, 1)
    configure(config, cpu)
    prepared = prepare(spec)
    training = Training(config, ResidentData(prepared, cpu), cpu)
    list(training.epochs())
    write_model_folder(folder, training, Chosen(spec, prepared, 1, Origin(command="train")))


def _ours(model_folder: Path, folder: Path, device: str) -> _Run:
    """In a process of its own."""
    model = load_model(model_folder, device)
    started = time.perf_counter()
    given = find_images([str(folder)], model.classes, lambda: b"")
    found = [
        batch.probabilities.argmax(1)
        for batch in predict_images(model, reader_of(model), given.images, 500, lambda _done, _total: None)
    ]
    classes = np.concatenate(found)
    return _Run(len(classes) / (time.perf_counter() - started), classes)


@torch.no_grad()
def _theirs(model_folder: Path, folder: Path, device: str, threads: int) -> _Run:
    """In a process of its own."""
    model = load_model(model_folder, device)
    network, description = model.network, model.description
    torch.set_num_threads(threads)
    size = description.image_shape[1]
    started = time.perf_counter()
    transform = transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.ToTensor(),
            transforms.Normalize(description.mean, description.std),
        ]
    )
    loader = DataLoader(ImageFolder(str(folder), transform), _BATCH, num_workers=cores(), pin_memory=device != "cpu")
    found = [
        torch.softmax(network(images.to(device, non_blocking=True)), dim=1).argmax(1).cpu().numpy()
        for images, _ in loader
    ]
    classes = np.concatenate(found)
    return _Run(len(classes) / (time.perf_counter() - started), classes)


if __name__ == "__main__":
    run({"predictions": measure})
