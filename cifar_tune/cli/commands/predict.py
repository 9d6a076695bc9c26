"""`cifar-tune predict`."""

from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.paths import given_path


def _folder(given: Path) -> Path:
    return given_path(given, "FOLDER")


def _file(param: typer.CallbackParam, given: Path | None) -> Path | None:
    return None if given is None else given_path(given, param.opts[0])


def predict(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A model folder, as finalize and train --save write it.",
            callback=_folder,
            show_default=False,
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Image files and folders of images; - reads an image, or a list of paths, from stdin.",
            show_default=False,
        ),
    ],
    top: Annotated[
        int, typer.Option(callback=options.within(1), metavar="K", help="Name the K most probable classes.")
    ] = 3,
    as_json: options.Json = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write the predictions into this file, as CSV or, with --json, as JSON.",
            show_default=False,
            callback=_file,
        ),
    ] = None,
    device: options.Device = "auto",
    batch_size: Annotated[int, typer.Option(callback=options.within(1), help="Images per batch.")] = 500,
    run_plugins: Annotated[
        bool, typer.Option("--run-plugins", help="Run the plugin files in the model folder, if it needs them.")
    ] = False,
) -> None:
    """Say what a saved model sees in images.

    Images are read, turned and resized as those of the training were. Files that cannot be read are named on stderr and
    left out, and the exit code is 1 then.

    Prints a line per image; for folders and lists of paths, a CSV table (image, label, class_1, probability_1, class_2
    and so on). Where a folder holds folders that are called like classes, these are taken for labels: the accuracy and
    the confusion matrix follow, on stdout, or on stderr where stdout has the table. With --json: an object with
    classes, predictions (a list of objects: image, label where there is one, and top, a list of class and probability),
    unreadable (image, error) and, where there are labels, accuracy, labelled_images and confusion (rows: labels).
    """
    from cifar_tune.model_files.reading import read_description

    read_description(folder)  # a wrong folder is told before PyTorch is loaded

    from cifar_tune.cli.prediction_run import PredictionOptions, run_predictions

    run_predictions(folder, images, PredictionOptions(top, as_json, output, device, batch_size, run_plugins))
