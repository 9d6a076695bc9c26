"""`cifar-tune bundle`."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def bundle(
    study: options.Study,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="The file. Default: bundles/STUDY.zip.",
            show_default=False,
            callback=options.path,
        ),
    ] = None,
    storage: options.Storage = None,
    settings: options.Places = None,
) -> None:
    """Pack the final model of a study and all that belongs to it into one file that others can verify.

    It holds the model folder that `finalize` has kept, the report with trials.csv, the exact split, the versions of
    the packages in use, and the weights that the training began with, where `init_from` names a file. It is a plain
    zip. Prints its path and its sha256: tell that to whoever gets the file.
    """
    from cifar_tune.bundles.packing import write_bundle
    from cifar_tune.cli.find_study import find_record
    from cifar_tune.errors import Problem, UserError
    from cifar_tune.reports.weights import kept_opening, whose_model
    from cifar_tune.storage.urls import is_folder_name, storage_url
    from cifar_tune.study_spec.overrides import parse_overrides

    record = find_record(study, storage_url(storage))
    if output is None and not is_folder_name(record.name):
        raise UserError(Problem(f"the name of the study {record.name!r} is none for a file; name one with --output"))
    path = output or Path("bundles") / f"{record.name}.zip"
    say(f"note: {whose_model(kept_opening(record))}", err=True)
    content = write_bundle(record, path, parse_overrides(settings or ()), lambda line: say(line, err=True))
    say(f"bundle={path}")
    say(f"bytes={len(content)}")
    say(f"sha256={hashlib.sha256(content).hexdigest()}")
