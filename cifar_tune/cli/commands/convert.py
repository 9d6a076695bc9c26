"""`cifar-tune convert`."""

import json
from pathlib import Path
from typing import Annotated, cast

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model folder, as finalize writes it.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="onnx or pt2.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file. Default: FOLDER/model.onnx or FOLDER/model.pt2.", show_default=False
        ),
    ] = None,
    weights: Annotated[str, typer.Option(metavar="TYPE", help="fp32, fp16 or int8 (of onnx).")] = "fp32",
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing/--without-preprocessing",
            help="Whether the file takes bytes and normalises them itself, or takes normalised images.",
        ),
    ] = True,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Compare on images in this directory. Default: validation images of the training.",
            show_default=False,
        ),
    ] = None,
    run_plugins: Annotated[
        bool, typer.Option("--run-plugins", help="Run plugin files in FOLDER; read them first.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Turn a trained model into one file that runs without cifar-tune.

    onnx is for onnxruntime and many other programs; pt2 is for PyTorch. The file takes batches of any size. It is
    compared with the model on real images, and only a file that agrees is kept; else the exit code is 1. fp16 and int8
    make smaller files. Their accuracy on the validation images is measured first, so these must be there. Ends with
    key=value lines, or with an object of the same keys with --json.
    """
    from cifar_tune.conversion.formats import FORMATS, WEIGHTS, Weights
    from cifar_tune.conversion.wanted import Wanted
    from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
    from cifar_tune.model_files.reading import read_description
    from cifar_tune.paths import given_path

    for option, value, choices in (("--to", to, tuple(FORMATS)), ("--weights", weights, WEIGHTS)):
        if value not in choices:
            rule = f"must be {enumerate_names(choices)}"
            raise UserError(Problem(rule, option, value, nearest=nearest_name(value, choices)))
    path = given_path(folder, "FOLDER")
    read_description(path)
    kind = cast(Weights, weights)
    name = f"model{'' if kind == 'fp32' else f'-{kind}'}{FORMATS[to].suffix}"
    wanted = Wanted(
        to,
        kind,
        with_preprocessing,
        path / name if output is None else given_path(output, "--output"),
        None if images is None else given_path(images, "--images"),
    )
    wanted.require_possible()

    from cifar_tune.conversion.converting import convert as make  # only now: it takes torch
    from cifar_tune.conversion.converting import require_free
    from cifar_tune.model_files.loading import load_model

    require_free(wanted)
    made = make(load_model(path, run_plugins=run_plugins), wanted, lambda line: say(line, err=True))
    values = made.plain()
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        for key, found in values.items():
            say(f"{key}={found}")
