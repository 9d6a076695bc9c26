"""`cifar-tune verify`: whether a bundle is whole, and whether its figures come out again."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cifar_tune.bundles.archive import Bundle, read_bundle
from cifar_tune.bundles.initial import INITIAL_FOLDER, with_initial_weights
from cifar_tune.bundles.packing import SPLIT_FILE, split_csv
from cifar_tune.bundles.splits import difference
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.files import replace_files
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.model_files.configuration import read_trainable
from cifar_tune.model_files.description import DESCRIPTION_FILE, Metric, ModelDescription, split_sha256
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
    if f"{MODEL_FOLDER}/{DESCRIPTION_FILE}" not in bundle.files:
        rule = f"holds no model: there is no {MODEL_FOLDER}/{DESCRIPTION_FILE} in it; let its author bundle it again"
        raise UserError(Problem(rule, source=str(path)))
    with _unpacked(bundle, path) as unpacked, _named(path, unpacked):
        folder = unpacked / MODEL_FOLDER
        description, _ = read_all(folder)
        count = len(bundle.files)
        yield Finding(
            "hashes", True, f"all {count} files are those of the manifest; sha256 of the bundle {bundle.sha256}"
        )
        if wanted.only_hashes:
            return
        _show_plugins(folder, description, say)
        config = None
        if wanted.retrain:
            if description.origin.command != "finalize":
                raise CheckError("only a model that finalize has trained can be trained again")
            config = read_trainable(folder, description, wanted.run_plugins)
            config = with_initial_weights(config, unpacked, say)
        spec = _data(description, wanted.settings, path)
        resolve_device(wanted.device)  # before images are decoded
        _require_images(spec)
        prepared = prepare(spec)
        finding = _images(bundle, description, prepared)
        yield finding
        if finding.passed:
            yield from _figures(folder, description, spec, prepared, config, wanted, say)
        else:
            for name in ("weights", "test set", "training"):
                yield Finding(name, None, "not looked at, since the images are not the same")


def _figures(
    folder: Path,
    description: ModelDescription,
    spec: DataSpec,
    prepared: PreparedData,
    config: Configuration | None,
    wanted: Wanted,
    say: Callable[[str], None],
) -> Iterator[Finding]:
    """What the weights measure, and what a training does; `config` is None where nothing is to be trained."""
    device = resolve_device(wanted.device)
    model = load_model(folder, device, run_plugins=wanted.run_plugins)
    exactly = _must_be_equal(description, environment(device))
    splits: dict[str, tuple[Labelled, Metric]] = {}
    if description.check is None:
        words = "the bundle states no accuracy on them, so the weights cannot be checked"
        yield Finding("weights, validation images", False, words)
    else:
        check = description.check
        stated = Metric(value=check.accuracy, images=check.images, split="validation")
        splits["validation images"] = prepared.validation(), stated
    stated_test = description.metrics.get("test_accuracy")
    if wanted.test and stated_test is None:
        yield Finding("weights, test images", False, "the bundle states no accuracy on them, so none can be repeated")
    elif wanted.test and stated_test is not None:
        say("opens the test set of the images here, to measure once more what finalize has measured")
        images, fingerprint = opened_test_images(spec, description.classes)
        if description.origin.test_fingerprint not in (None, fingerprint):
            words = "the test images here are not those that finalize has measured; put those back"
            yield Finding("test images", False, words)
        else:
            splits["test images"] = images, stated_test
    for name, (images, stated) in splits.items():
        yield _weights(name, measured(model, images), stated, exactly)
    if not wanted.test:
        yield Finding("test set", None, "not opened; --test measures it once more")
    if config is None:
        yield Finding("training", None, "not repeated; --retrain trains again from scratch")
        return
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
    low, high = wilson(stated.value or 0.0, stated.images)  # not as the bundle has it, which could say anything
    words = f"trained again: accuracy {found.accuracy!r} of {found.images:,} {name}"
    if found.accuracy == stated.value:
        return Finding(f"training, {name}", True, f"{words}, the same to the digit")
    words += f"; the bundle says {stated.value!r}, with the 95 % interval {low:.4f} to {high:.4f}"
    if exactly:
        return Finding(f"training, {name}", False, f"{words}; on this kind of machine it must be the same to the digit")
    inside = low <= found.accuracy <= high
    return Finding(f"training, {name}", inside, f"{words}: {'inside' if inside else 'outside of'} it")


def _images(bundle: Bundle, description: ModelDescription, prepared: PreparedData) -> Finding:
    ours, theirs = split_csv(prepared), bundle.files.get(SPLIT_FILE, b"")
    if prepared.fingerprint != description.fingerprint:
        what = difference(theirs, ours)
        words = (
            f"the images here are not those that the model was trained on{what and f' ({what})'}; name their folder "
            f"with --set data.root=DIR"
        )
        return Finding("images", False, words)
    is_same = split_sha256(prepared.train_indices, prepared.val_indices) == description.split_sha256
    if not (is_same and theirs == ours):
        return Finding("images", False, f"the images are the same, and {SPLIT_FILE} splits them in another way")
    counts = f"{len(prepared.train_indices):,} training and {len(prepared.val_indices):,} validation images"
    return Finding("images", True, f"{counts}, the same as in the bundle, and split in the same way")


def _must_be_equal(description: ModelDescription, here: Mapping[str, str | int]) -> bool:
    """Whether figures must be equal to the digit: on a CPU of the same kind, with the same libraries."""
    there = description.environment
    return here.get("device") == "cpu" and all(here.get(name) == there.get(name) for name in _DECIDES)


def _require_images(spec: DataSpec) -> None:
    if spec.root is not None and spec.name != "cifar10" and not os.path.exists(expanded(spec.root)):  # noqa: PTH110 (Path raises where a name is too long)
        rule = (
            "the images of the study are needed, and are not here: say where they lie with --set data.root=DIR, or "
            "check only the files of the bundle with --only-hashes"
        )
        raise UserError(Problem(rule, "data.root", spec.root))


def _data(description: ModelDescription, settings: Sequence[Override], path: Path) -> DataSpec:
    for setting in settings:
        if setting.key not in PLACES:
            rule = f"changes what would be verified; only {' and '.join(PLACES)} can be set"
            raise UserError(Problem(rule, "--set", setting.key))
    here = {**description.data, "download": False}  # into a folder that the bundle names, only if somebody wants it
    return data_elsewhere(here, settings, BUILT_IN, f"{path}: {MODEL_FOLDER}/model.json")


def _show_plugins(folder: Path, description: ModelDescription, say: Callable[[str], None]) -> None:
    """Print the plugin files of the bundle, before any of them can run."""
    for copy, file in zip(description.plugins, read_plugin_copies(folder, description), strict=True):
        if file.module:
            say(
                f"plugin {visible(file.path)}: what runs is not this text, but the package that is installed here "
                f"under this name, if its code is the same; sha256 of the text {copy.sha256}:"
            )
        else:
            say(f"plugin {visible(file.path)}, sha256 {copy.sha256}:")
        for number, line in enumerate(file.source.splitlines(), start=1):
            say(f"  {number:4} {visible_lines(line)}")


@contextmanager
def _unpacked(bundle: Bundle, path: Path) -> Iterator[Path]:
    """The model of the bundle, and the weights that its training began with, on disk. All names were checked."""
    wanted = (f"{MODEL_FOLDER}/", f"{INITIAL_FOLDER}/")
    files = {name: content for name, content in bundle.files.items() if name.startswith(wanted)}
    with tempfile.TemporaryDirectory(prefix="cifar-tune-verify-") as made:
        folder = Path(made)
        try:
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            replace_files({folder / name: content for name, content in files.items()})
        except OSError as error:
            rule = f"cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}; TMPDIR names another folder"
            raise CheckError(f"{path}: {rule}") from error
        yield folder


@contextmanager
def _named(path: Path, unpacked: Path) -> Iterator[None]:
    """Let messages name the bundle, and not the folder that it is unpacked into for a moment."""

    def told(text: str) -> str:
        return text.replace(f"{unpacked}/", f"{path}: ")

    try:
        yield
    except UserError as error:
        problems = [
            replace(
                problem,
                rule=told(problem.rule),
                source=None if problem.source is None else told(problem.source),
                more=tuple(map(told, problem.more)),
            )
            for problem in error.problems
        ]
        raise UserError(problems) from error
