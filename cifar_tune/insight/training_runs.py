"""Trains one configuration with one seed or several, for `cifar-tune train`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from statistics import mean, stdev
from typing import Any

import torch

from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError
from cifar_tune.insight.predictions import predict
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.model_files.description import Check, Origin
from cifar_tune.model_files.folder import require_model_folder
from cifar_tune.model_files.learned import learned_images_warnings
from cifar_tune.model_files.writing import Chosen, Evaluation, write_model_folder
from cifar_tune.models.build import count_multiply_adds
from cifar_tune.plugins.execute import plugin_errors_told
from cifar_tune.study_spec.data_fit import require_metrics_fit
from cifar_tune.study_spec.metrics import METRICS, Measured, Metrics
from cifar_tune.study_spec.run_config import RunConfig
from cifar_tune.training.device import configure, resolve_device
from cifar_tune.training.failures import Diverged, training_errors
from cifar_tune.training.loop import Training
from cifar_tune.wording import result_line


def train_seeds(
    run: RunConfig, seeds: int, device_name: str, say: Callable[[str], None], save: Path | None = None
) -> dict[str, Any]:
    """Train once or several times, with `seeds_of`.

    Args:
        run: the configuration.
        seeds: how many trainings.
        device_name: as `resolve_device` takes it.
        say: receives notes on the data, and a line per epoch.
        save: the folder that the model is written into; of several trainings each has a folder `seed-N` in it.

    Raises:
        CheckError: if the loss becomes infinite or not a number, the memory does not suffice, or the code of a plugin
            fails.
        UserError: if data, device or folder cannot be used.
    """
    with plugin_errors_told(run.train.vocabulary.plugins):
        return _train_seeds(run, seeds, device_name, say, save)


def seeds_of(chosen: int, count: int) -> Sequence[int]:
    """The seed of a configuration itself; where several are wanted, the `count` seeds that follow it.

    The seed of a configuration that was chosen among many, such as that of `best.yaml`, was lucky: with it among them,
    the mean of several would be too high.
    """
    return (chosen,) if count == 1 else range(chosen + 1, chosen + 1 + count)


def _train_seeds(
    run: RunConfig, seeds: int, device_name: str, say: Callable[[str], None], save: Path | None
) -> dict[str, Any]:
    device = resolve_device(device_name)
    wanted = seeds_of(run.train.integer("seed"), seeds)
    folders = {} if save is None else {seed: save if seeds == 1 else save / f"seed-{seed}" for seed in wanted}
    for folder in folders.values():
        require_model_folder(folder)
    configure(run.train, device)
    prepared = prepare(run.data)
    for note in prepared.told():
        say(f"note: {note}")
    for warning in learned_images_warnings([run.train["init_from"]], run.data, prepared):
        say(f"warning: {warning}")
    require_metrics_fit(run.metrics, Metrics(run.train.vocabulary), prepared.classes, prepared.val_counts)
    data = ResidentData(prepared, device)
    flops = count_multiply_adds(run.train, data.image_shape, len(data.classes))
    results: dict[str, Any] = {"device": str(device), "precision": "", "parameters": 0, "flops": flops, "runs": []}
    runs = results["runs"]
    for seed in wanted:
        with training_errors(device):
            training = _trained(run.train.replaced(seed=seed), data, device, run.metrics, say)
        results |= {"precision": training.precision, "parameters": training.parameters}
        runs.append(_figures(training, flops, run.metrics))
        if seed in folders:
            _save(folders[seed], run, prepared, training, runs[-1])
            runs[-1]["model"] = str(folders[seed].absolute())
            say(f"model folder: {folders[seed]}")
        del training  # there may be no room for the next one beside it
    if seeds > 1:
        accuracies = [run["val_accuracy"] for run in runs]
        results |= {"val_accuracy_mean": mean(accuracies), "val_accuracy_std": stdev(accuracies)}
    return results


def _trained(
    config: Configuration,
    data: ResidentData,
    device: torch.device,
    metrics: Sequence[str],
    say: Callable[[str], None],
) -> Training:
    training = Training(config, data, device, measures=Metrics(config.vocabulary).measures(metrics))
    seed, total = config.integer("seed"), config.integer("epochs")
    try:
        for result in training.epochs():
            say(
                f"seed {seed} epoch {result.epoch}/{total}: train loss {result.train_loss:.4f}, "
                f"val loss {result.val_loss:.4f}, val accuracy {result.val_accuracy:.4f} ({result.seconds:.1f} s)"
            )
    except Diverged as error:
        raise CheckError(f"seed {seed}: {error}") from error
    for remark in training.remarks:
        say(f"seed {seed}: {remark}")
    if training.accumulation.parts > 1:
        say(f"seed {seed}: {training.accumulation.words}")
    return training


def _save(folder: Path, run: RunConfig, prepared: PreparedData, training: Training, shown: Mapping[str, Any]) -> None:
    last = training.results[-1]
    # what begins with best_ belongs to the weights of another epoch
    others = {name: shown[name] for name in run.metrics if name.startswith("val_") and shown[name] is not None}
    check = Check(images=len(prepared.val_indices), loss=last.val_loss, accuracy=last.val_accuracy, trained_on=False)
    chosen = Chosen(run.data, prepared, last.epoch, Origin(command="train"), check)
    with training_errors(training.device):
        confusion = predict(training).confusion().tolist()
    figures = Evaluation("validation", len(prepared.val_indices), last.val_loss, last.val_accuracy, confusion, others)
    write_model_folder(folder, training, chosen, figures)


def _figures(training: Training, flops: int, further: Sequence[str]) -> dict[str, Any]:
    metrics = Metrics(training.config.vocabulary)
    measured = Measured(training.results, training.parameters, flops)
    shown = [name for name in dict.fromkeys((*METRICS, *further)) if not metrics[name].is_known_before_training]
    last = training.results[-1]
    return {
        "seed": training.config.integer("seed"),
        **{name: metrics[name].value(measured) for name in shown},
        "train_accuracy": last.train_accuracy,
        "train_loss": last.train_loss,
        "epochs": last.epoch,
        "seconds": round(sum(result.seconds for result in training.results), 3),
    }


def result_lines(results: dict[str, Any]) -> list[str]:
    """`key=value` lines at full precision; with several seeds one line per seed first, quoted as in a shell."""
    runs = results["runs"]
    lines = [result_line(name, results[name]) for name in ("device", "precision", "parameters", "flops")]
    if len(runs) == 1:
        return lines + [result_line(name, value) for name, value in runs[0].items()]
    lines += [" ".join(quote(result_line(name, value)) for name, value in run.items()) for run in runs]
    return lines + [result_line(name, results[name]) for name in ("val_accuracy_mean", "val_accuracy_std")]
