"""`cifar-tune finalize`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import executor_options, options
from cifar_tune.streams import say


def finalize(
    study: options.Study,
    storage: options.Storage = None,
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial",
            metavar="N",
            callback=options.within(0),
            help="A completed trial instead of the best.",
            show_default=False,
        ),
    ] = None,
    config: options.ConfigOption = None,
    study_images: Annotated[
        bool, typer.Option("--study-images", help="Leave out what data.train_size or val_size left out.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Where the images lie: data.root, data.download.", show_default=False
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help="Folder of the trained model; else models/STUDY. A model that is there is replaced.",
            show_default=False,
            callback=options.path,
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Although the test set was opened before.")] = False,
    trainings: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            help="Race the best trials first, in at most so many trainings with fresh seeds.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and how long.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda:0.")] = "auto",
    workers: executor_options.Workers = "1",
    devices: executor_options.Devices = "auto",
    engine: executor_options.Engine = "local",
    address: executor_options.Address = None,
    gpus_per_worker: executor_options.GpusPerWorker = None,
    quiet: executor_options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train the best configuration on all images, and open the test set: once.

    All images are those that are not test images, also the ones that data.train_size left out. --trial and --config
    name another configuration; the record says which one, and how it was chosen. A configuration file must have the
    data of the study. --set changes nothing that the result depends on. The trained model is kept in a folder, which
    `load_model` reads.

    Ends with key=value lines at full precision. Every opening is recorded with the study; where there is one, the
    record is printed and nothing is trained. With --json: {"study", "best_trial", "test_openings": [...]}, the newest
    opening last: opened, host, cifar_tune, fingerprint, trial (null for a file), value (its objective),
    finished_trials, config, seed, epochs, train_images, device, precision, test_images, test_loss, test_accuracy (null
    where the result was lost), chosen (best, trial or config), source (the file), images (all, or study with
    --study-images), steps (of the optimizer), model (its folder), weights_sha256, test_metrics (the
    further metrics of the study, such as test_macro_f1), person (who opened it; null where an earlier version did),
    identity (a name that no other opening has), analysis (classes, confusion,
    expected_calibration_error, calibration with its bins, and the most confident mistakes; null where an earlier
    version opened it).
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from cifar_tune.cli.find_study import find_stored, when_reached
    from cifar_tune.cli.opening_lines import kept_lines, result_lines
    from cifar_tune.cli.race_run import planned_lines, raced, require_own
    from cifar_tune.optuna_internals import BatchStorage
    from cifar_tune.storage.rdb import unusable
    from cifar_tune.storage.records import StudyRecord, load_record
    from cifar_tune.storage.urls import model_folder, storage_url
    from cifar_tune.study.choosing import Choice, require_new
    from cifar_tune.study_spec.overrides import parse_overrides

    url = storage_url(storage)
    choice = Choice(trial, config, parse_overrides(settings or ()), study_images)

    def found() -> tuple[str, BatchStorage, StudyRecord]:
        name, database = find_stored(study, url)
        return name, database, load_record(database, name)

    name, database, record = when_reached(found, url)
    require_own(name)
    if trainings is not None or dry_run:
        where = executor_options.executor_options(workers, devices, engine, address, gpus_per_worker)
    if dry_run:
        for line in planned_lines(database, record, choice, trainings, 1):
            say(line)
        return
    if record.openings and not again:
        require_new(record, choice)
        for line in kept_lines(record):
            say(line, err=True)
    else:
        from cifar_tune.study.finalizing import finalize as train_and_open  # only now: it takes torch

        folder = model_folder(name) if save is None else save
        if trainings is not None:
            choice = raced(database, record, choice, trainings, url, where, quiet)
        try:
            record = train_and_open(database, name, device, lambda line: say(line, err=True), again, choice, folder)
        except (SQLAlchemyError, StorageInternalError) as error:
            raise unusable(url, error.__cause__ or error) from error
    if as_json:
        openings = [opening.shown() for opening in record.openings]
        best = record.best.number if record.best else None
        typer.echo(json.dumps({"study": name, "best_trial": best, "test_openings": openings}, indent=2))
        return
    for line in result_lines(record):
        say(line)
