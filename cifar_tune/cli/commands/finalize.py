"""`cifar-tune finalize`."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar_tune.cli import executor_options, options
from cifar_tune.streams import say

if TYPE_CHECKING:
    from cifar_tune.cli.race_run import Asked, Surroundings
    from cifar_tune.optuna_storage import BatchStorage
    from cifar_tune.storage.records import StudyRecord
    from cifar_tune.study.choosing import Choice


def finalize(
    study: options.Study,
    storage: options.Storage = None,
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial",
            metavar="N",
            callback=options.within(0),
            help="Take this completed trial instead of the best one.",
            show_default=False,
        ),
    ] = None,
    config: options.ConfigOption = None,
    study_images: Annotated[
        bool,
        typer.Option(
            "--study-images",
            help="Train only on the images of the study: without those that data.train_size or val_size left out.",
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Where the images are: data.root, data.download.", show_default=False
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help="The folder for the trained model. Default: models/STUDY. A model in it is replaced.",
            show_default=False,
            callback=options.path,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Open the test set again, although it was opened before.")
    ] = False,
    trainings: Annotated[
        int | None,
        typer.Option(
            metavar="B",
            help="The race has at most B trainings; default: half as many as candidates, from 10 to 40.",
            show_default=False,
        ),
    ] = None,
    networks: Annotated[
        int | None,
        typer.Option(
            metavar="R",
            callback=options.within(1),
            help="Networks that are trained and tested. Default: 5.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="No race, and one network with the seed of its configuration.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and about how long it takes.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu, mps, cuda:0. The race and the networks take --devices, if given.")
    ] = "auto",
    workers: executor_options.Workers = "1",
    devices: executor_options.Devices = "auto",
    engine: executor_options.Engine = "local",
    address: executor_options.Address = None,
    gpus_per_worker: executor_options.GpusPerWorker = None,
    quiet: executor_options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Race the best trials, train the winner on all images, and open the test set: once.

    The race trains the best candidates again, with fresh seeds, each time validated on images that chose nothing, and
    drops the worse ones step by step. Its trials are those of the study STUDY/finals. The winner is then trained R
    times with further seeds, on all images that are not test images, also those that data.train_size left out: the
    trials of STUDY/networks. The test set is opened once for all of these networks. After a stop or a kill, the same
    command goes on where it was. The first network, by its seed, is kept in a folder, which `load_model` reads.

    --trial and --config name a configuration, and nothing is raced; the record says how it was chosen. A configuration
    file must have the data of the study. --set changes nothing that the result depends on. --quick races nothing, and
    trains one network, with the seed that its configuration has.

    Ends with key=value lines at full precision. Every opening is recorded with the study; where there is one, the
    record is printed and nothing is trained. docs/commands.md lists the keys of --json.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from cifar_tune.cli.find_study import find_stored, when_reached
    from cifar_tune.cli.opening_lines import caution_lines, kept_lines, result_lines
    from cifar_tune.cli.race_run import Surroundings, asked, require_own
    from cifar_tune.optuna_storage import BatchStorage
    from cifar_tune.reports.race import race_lines
    from cifar_tune.storage.openings import RACE, elsewhere_words
    from cifar_tune.storage.rdb import unusable
    from cifar_tune.storage.records import StudyRecord, load_record
    from cifar_tune.storage.urls import model_folder, storage_url
    from cifar_tune.study.choosing import Choice, require_new
    from cifar_tune.study.race_result import stored_result
    from cifar_tune.study_spec.overrides import parse_overrides

    url = storage_url(storage)
    choice = Choice(trial, config, parse_overrides(settings or ()), study_images)

    def found() -> tuple[str, BatchStorage, StudyRecord]:
        name, database = find_stored(study, url)
        return name, database, load_record(database, name)

    name, database, record = when_reached(found, url)
    require_own(name)
    where = asked(choice, trainings, networks, quick, executor_options.executor_options(
        workers, device if devices == "auto" else devices, engine, address, gpus_per_worker
    ))  # fmt: skip
    around = Surroundings(url, device, model_folder(name) if save is None else save, again, quiet)
    if dry_run:
        for line in _plan(database, record, choice, where, around):
            say(line)
        return
    if record.openings and not again:
        require_new(record, choice)
        for line in kept_lines(record):
            say(line, err=True)
    else:
        try:
            record = _finalized(database, record, choice, where, around)
        except (SQLAlchemyError, StorageInternalError) as error:
            raise unusable(url, error.__cause__ or error) from error
        if record.elsewhere:
            say(f"note: {elsewhere_words(record.elsewhere).rstrip('.')}", err=True)
    result = stored_result(record)
    if as_json:
        openings = [opening.shown() for opening in record.openings]
        best = record.best.number if record.best else None
        race = None if result is None else result.plain(record.trials)
        typer.echo(json.dumps({"study": name, "best_trial": best, "race": race, "test_openings": openings}, indent=2))
        return
    last = record.openings[-1]
    about = race_lines(record, result) if result is not None and last.chosen == RACE else []
    for line in (*about, *caution_lines(last)):
        say(line, err=True)
    for line in result_lines(record):
        say(line)


def _plan(
    storage: "BatchStorage", record: "StudyRecord", choice: "Choice", wanted: "Asked", around: "Surroundings"
) -> list[str]:
    """What the command would do; refuses what it would refuse, without a look at a test image. Arguments as below."""
    from cifar_tune.cli.opening_lines import kept_lines
    from cifar_tune.cli.race_run import planned_lines
    from cifar_tune.study.choosing import require_new
    from cifar_tune.study.finalizing import require_choice

    if record.openings and not around.again:
        require_new(record, choice)
        return kept_lines(record, "nothing would be trained")
    require_choice(record, choice, around.device, around.folder)
    return planned_lines(storage, record, choice, wanted)


def _finalized(
    storage: "BatchStorage", record: "StudyRecord", choice: "Choice", wanted: "Asked", around: "Surroundings"
) -> "StudyRecord":
    """Train and test; returns the study with its new opening. Ends the process with 130 where somebody has stopped it.

    Args:
        storage: holds the study.
        record: the study.
        choice: what is trained, unless a race decides that.
        wanted: how much is trained, and where.
        around: everything else.
    """
    from cifar_tune.cli.race_run import about_quick, course, raced
    from cifar_tune.storage.lease import acquire
    from cifar_tune.storage.linked import NETWORKS
    from cifar_tune.study.events import Interrupted
    from cifar_tune.study.finalizing import Several, require_ready
    from cifar_tune.study.finalizing import finalize as train_and_open

    def aloud(line: str) -> None:
        say(line, err=True)

    name, device = record.name, around.device
    if wanted.quick:
        if words := about_quick(record, choice, wanted):
            say(f"note: {words}", err=True)
        return train_and_open(storage, name, device, aloud, around.again, choice, around.folder)
    require_ready(record, choice, device, around.folder)
    acquire(storage.engine, name).release()  # nobody may run the study, which the networks would find out late
    try:
        choice = raced(storage, record, choice, wanted, around)
        several = Several(wanted.networks, partial(course, record, NETWORKS, around.url, wanted.options, around.quiet))
        return train_and_open(storage, name, device, aloud, around.again, choice, around.folder, several)
    except Interrupted:
        words = f"interrupted; the same command goes on: cifar-tune finalize {name}{choice.options}"
        print(f"cifar-tune: {words}", file=sys.stderr)
        sys.exit(130)
