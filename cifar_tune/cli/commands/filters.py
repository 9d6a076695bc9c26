"""`cifar-tune filters`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def filters(
    config: options.Config,
    image: Annotated[
        int,
        typer.Option(
            callback=options.within(0), help="Which validation image's feature maps are drawn, counted from 0."
        ),
    ] = 0,
    output: options.Output = None,
    device: options.Device = "auto",
    settings: options.Set = None,
) -> None:
    """Train a configuration, and show what it looks at and where it is wrong, on the validation split.

    Writes filters.png (the first layer's filters), feature_maps.png (one image, stage by stage), classes.png (accuracy
    of each class and confusion matrix), mistakes.png (the most confident mistakes), classes.csv, confusion.csv,
    mistakes.csv and filters.json. No test image is opened.
    """
    from cifar_tune.study_spec.overrides import parse_overrides
    from cifar_tune.study_spec.run_config import read_run_config

    run_config = read_run_config(config, parse_overrides(settings or ()))

    from cifar_tune.cli.insight_run import now_and_then, open_run, output_folder, print_lines
    from cifar_tune.errors import Problem, UserError
    from cifar_tune.insight.files import require_folder
    from cifar_tune.insight.filters_report import write_filters
    from cifar_tune.statistics.predictions import worst_class
    from cifar_tune.training.failures import training_errors
    from cifar_tune.training.loop import Training

    folder = output_folder(config, output)
    require_folder(folder)
    run = open_run(run_config, device)
    if image >= run.data.val_size:
        rule = f"must be below {run.data.val_size}, the number of validation images"
        raise UserError(Problem(rule, "--image", image))
    say = now_and_then()
    total = run.config.integer("epochs")
    with run_config.problems.placing(), training_errors(run.device):
        training = Training(run.config, run.data, run.device)
        for result in training.epochs():
            say(f"epoch {result.epoch}/{total}: val loss {result.val_loss:.4f}, accuracy {result.val_accuracy:.4f}")
        predictions, files = write_filters(folder, training, image)
    worst, accuracy = worst_class(predictions.classes, predictions.confusion())
    values: dict[str, object] = {
        "val_accuracy": training.results[-1].val_accuracy,
        "mistakes": len(predictions.mistakes()),
        "worst_class": worst,
        "worst_class_accuracy": accuracy,
    }
    print_lines(values, files)
