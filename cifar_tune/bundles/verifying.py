"""`cifar-tune verify`: whether a bundle is whole, and whether its figures come out again."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cifar_tune.bundles.archive import Bundle, read_bundle
from cifar_tune.bundles.packing import SPLIT_FILE, split_csv
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.files import replace_files
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.model_files.configuration import read_trainable
from cifar_tune.model_files.description import Metric, ModelDescription, split_sha256
from cifar_tune.model_files.loading import load_model
from cifar_tune.model_files.reading import read_all, read_plugin_copies
from cifar_tune.paths import expanded
from cifar_tune.reports.weights import MODEL_FOLDER
from cifar_tune.statistics.shares import wilson
from cifar_tune.study.choosing import PLACES, data_elsewhere
from cifar_tune.study.verifying import (
    Figures,
    Labelled,
    measured,
    measured_training,
    opened_test_images,
    trained_again,
)
from cifar_tune.study_spec.overrides import Override
from cifar_tune.training.device import environment, resolve_device
from cifar_tune.visible import visible, visible_lines

_DECIDES = ("torch", "platform", "device", "device_name", "cpu_capability")
"""What results depend on. Where all of it is the same on a CPU, they must be the same to the digit."""

_NEAR = 0.002
"""Elsewhere rounding differs, so that a few images may come out otherwise: up to this share of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a verification.

    Attributes:
        settings: of `--set`: where the images lie here.
        device: as `resolve_device` takes it.
        test: measure the test set once more.
        retrain: train again from scratch.
        only_hashes: look at no image.
        run_plugins: whether plugin files of the bundle may run.
    """

    settings: Sequence[Override] = ()
    device: str = "auto"
    test: bool = False
    retrain: bool = False
    only_hashes: bool = False
    run_plugins: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: such as `hashes`.
        passed: None where it was left out.
        words: what was found.
    """

    name: str
    passed: bool | None
    words: str


def verify(path: Path, wanted: Wanted, say: Callable[[str], None]) -> Iterator[Finding]:
    """Check a bundle, step by step.

    Args:
        path: the bundle.
        wanted: how far to go.
        say: receives sentences, plugin files before they run, and a line per epoch.

    Yields:
        What was found, as it is found.

    Raises:
        UserError: it is no bundle, images or device cannot be used, or plugin files would have to run.
        CheckError: it is damaged, or the training fails.
    """
    bundle = read_bundle(path)
    with _extracted(bundle) as folder:
        description, _ = read_all(folder)
        count = len(bundle.files)
        yield Finding(
            "hashes", True, f"all {count} files are those of the manifest; sha256 of the bundle {bundle.sha256}"
        )
        if wanted.only_hashes:
            return
        _show_plugins(folder, description, say)
        if wanted.retrain and description.origin.command != "finalize":
            raise CheckError("only a model that finalize has trained can be trained again")
        spec = _data(description, wanted.settings, path)
        resolve_device(wanted.device)  # before images are decoded
        _require_images(spec)
        prepared = prepare(spec)
        finding = _images(bundle, description, prepared)
        yield finding
        if not finding.passed:
            return
        yield from _figures(folder, description, spec, prepared, wanted, say)


def _figures(
    folder: Path,
    description: ModelDescription,
    spec: DataSpec,
    prepared: PreparedData,
    wanted: Wanted,
    say: Callable[[str], None],
) -> Iterator[Finding]:
    device = resolve_device(wanted.device)
    model = load_model(folder, device, run_plugins=wanted.run_plugins)
    exactly = _must_be_equal(description, environment(device))
    splits: dict[str, tuple[Labelled, Metric]] = {}
    if description.check is not None:
        check = description.check
        low, high = wilson(check.accuracy, check.images)
        stated = Metric(value=check.accuracy, low=low, high=high, images=check.images, split="validation")
        splits["validation images"] = prepared.validation(), stated
    stated_test = description.metrics.get("test_accuracy")
    if wanted.test and stated_test is not None:
        say("opens the test set of the images here, to measure once more what finalize has measured")
        splits["test images"] = opened_test_images(spec, description.classes), stated_test
    for name, (images, stated) in splits.items():
        yield _weights(name, measured(model, images), stated, exactly)
    if not wanted.test:
        yield Finding("test set", None, "not opened; --test measures it once more")
    if not wanted.retrain:
        yield Finding("training", None, "not repeated; --retrain trains again from scratch")
        return
    config = read_trainable(folder, description, wanted.run_plugins)
    training = trained_again(description, config, prepared, wanted.device, say)
    for name, (images, stated) in splits.items():
        yield _training(name, measured_training(training, images), stated, exactly)


def _weights(name: str, found: Figures, stated: Metric, exactly: bool) -> Finding:
    words = f"accuracy {found.accuracy!r} of {found.images:,} {name}"
    if found.images != stated.images:
        return Finding(f"weights, {name}", False, f"{words}, and the bundle measured {stated.images:,} images")
    if found.accuracy == stated.value:
        return Finding(f"weights, {name}", True, f"{words}, the same to the digit")
    difference = abs(found.accuracy - (stated.value or 0.0))
    words += f"; the bundle says {stated.value!r}"
    if exactly:
        return Finding(f"weights, {name}", False, f"{words}, and on this kind of machine it must be the same")
    near = difference <= max(_NEAR, 1.5 / found.images)
    reason = "as near as another kind of machine allows" if near else "which no rounding explains"
    return Finding(f"weights, {name}", near, f"{words}, {reason}")


def _training(name: str, found: Figures, stated: Metric, exactly: bool) -> Finding:
    low, high = stated.low or 0.0, 1.0 if stated.high is None else stated.high
    words = f"trained again: accuracy {found.accuracy!r} of {found.images:,} {name}"
    if found.accuracy == stated.value:
        return Finding(f"training, {name}", True, f"{words}, the same to the digit")
    words += f"; the bundle says {stated.value!r}, 95 % interval {low:.4f} to {high:.4f}"
    if exactly:
        return Finding(f"training, {name}", False, f"{words}; on this kind of machine it must be the same to the digit")
    inside = low <= found.accuracy <= high
    return Finding(f"training, {name}", inside, f"{words}: {'inside' if inside else 'outside of'} it")


def _images(bundle: Bundle, description: ModelDescription, prepared: PreparedData) -> Finding:
    if prepared.fingerprint != description.fingerprint:
        words = (
            "the images here are not those that the model was trained on; name their folder with --set data.root=DIR"
        )
        return Finding("images", False, words)
    is_same = split_sha256(prepared.train_indices, prepared.val_indices) == description.split_sha256
    is_listed = bundle.files.get(SPLIT_FILE) == split_csv(prepared).encode()
    if not (is_same and is_listed):
        return Finding("images", False, f"the images are the same, and {SPLIT_FILE} splits them in another way")
    counts = f"{len(prepared.train_indices):,} training and {len(prepared.val_indices):,} validation images"
    return Finding("images", True, f"{counts}, the same as in the bundle, and split in the same way")


def _must_be_equal(description: ModelDescription, here: Mapping[str, str | int]) -> bool:
    """Whether figures must be equal to the digit: on a CPU of the same kind, with the same libraries."""
    there = description.environment
    return here.get("device") == "cpu" and all(here.get(name) == there.get(name) for name in _DECIDES)


def _require_images(spec: DataSpec) -> None:
    if spec.root is not None and spec.name != "cifar10" and not Path(expanded(spec.root)).exists():
        rule = (
            "the images of the study are needed, and are not here: say where they lie with --set data.root=DIR, or "
            "look at the files of the bundle alone with --only-hashes"
        )
        raise UserError(Problem(rule, "data.root", spec.root))


def _data(description: ModelDescription, settings: Sequence[Override], path: Path) -> DataSpec:
    for setting in settings:
        if setting.key not in PLACES:
            rule = f"changes what would be verified; only {' and '.join(PLACES)} can be set"
            raise UserError(Problem(rule, "--set", setting.key))
    return data_elsewhere(description.data, settings, BUILT_IN, f"{path}: {MODEL_FOLDER}/model.json")


def _show_plugins(folder: Path, description: ModelDescription, say: Callable[[str], None]) -> None:
    """Print the plugin files of the bundle, before any of them can run."""
    for file in read_plugin_copies(folder, description):
        say(f"plugin {visible(file.path)}, sha256 {file.sha256}:")
        for number, line in enumerate(file.source.splitlines(), start=1):
            say(f"  {number:4} {visible_lines(line)}")


@contextmanager
def _extracted(bundle: Bundle) -> Iterator[Path]:
    """The model folder of the bundle on disk. Its names were checked when it was read."""
    prefix = f"{MODEL_FOLDER}/"
    files = {name.removeprefix(prefix): content for name, content in bundle.files.items() if name.startswith(prefix)}
    with tempfile.TemporaryDirectory(prefix="cifar-tune-verify-") as made:
        folder = Path(made)
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace_files({folder / name: content for name, content in files.items()})
        yield folder
