"""`cifar-tune train`."""

import json
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def train(
    config: options.Config,
    seeds: Annotated[
        int,
        typer.Option(
            callback=options.within(1), help="How many trainings; if several, with seed + 1, seed + 2, and so on."
        ),
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0.")] = "auto",
    settings: options.Set = None,
    save: options.Save = None,
    as_json: options.Json = False,
) -> None:
    """Train one configuration and print its results, on the validation split.

    With one seed, the value of the trial comes out again. With several, the seed of CONFIG is left out: it may have
    been chosen because it was lucky, and the mean would be too high.

    With --save, the trained model is written into a folder, which `load_model` reads. Of several seeds, each model has
    a folder `seed-N` in it.

    Ends with key=value lines at full precision. With --json: an object with device, precision, parameters, flops
    (multiply-adds of one image) and `runs`, a list with one object per seed: seed, val_accuracy, best_val_accuracy,
    val_loss, best_val_loss, seconds_per_epoch, epochs_to_best, train_accuracy, train_loss, epochs, seconds,
    and with --save model, its folder; and, for several seeds, val_accuracy_mean and val_accuracy_std.
    """
    from cifar_tune.insight.training_runs import result_lines, train_seeds
    from cifar_tune.study_spec.overrides import parse_overrides
    from cifar_tune.study_spec.run_config import read_run_config

    run_config = read_run_config(config, parse_overrides(settings or ()))
    with run_config.problems.placing():
        results = train_seeds(run_config, seeds, device, lambda line: say(line, err=True), save)
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        for line in result_lines(results):
            say(line)
