"""`cifar-tune finalize`: a configuration on all images, and the one place that opens the test split."""

import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from uuid import uuid4

from optuna.storages import RDBStorage

import cifar_tune
from cifar_tune.data.batches import steps_per_epoch
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import decode_test, load_test, require_test, test_fingerprint, test_paths
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.model_files.folder import require_model_folder
from cifar_tune.model_files.writing import Evaluation
from cifar_tune.optuna_internals import study_id
from cifar_tune.storage.lease import Lease, acquire, new_token
from cifar_tune.storage.openings import ALL_IMAGES, BEST, STUDY_IMAGES, Opening, begin_opening, write_opening
from cifar_tune.storage.patience import Patience
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import load_optuna_study
from cifar_tune.study.choosing import (
    Candidate,
    Choice,
    about_training,
    candidate,
    require_current,
    require_new,
    study_data,
    trial_of,
)
from cifar_tune.study.final_model import add_test_result, write_final_model
from cifar_tune.study.finals import Course
from cifar_tune.study.networks import (
    Networks,
    TrainedNetwork,
    TrainedNetworks,
    forget_weights,
    plan_networks,
    train_networks,
)
from cifar_tune.study.testing import NetworkResult, analysed, further_metrics, summed_up
from cifar_tune.training.checkpoint import CheckpointError
from cifar_tune.training.device import resolve_device, resolve_precision
from cifar_tune.training.failures import training_errors
from cifar_tune.training.final import loaded, measure, trained
from cifar_tune.training.loop import Training
from cifar_tune.wording import counted

Say = Callable[[str], None]

_ADVICE = "end what else uses it, or take another one with --device"


def finalize(
    storage: RDBStorage,
    name: str,
    device_name: str,
    say: Say,
    again: bool = False,
    choice: Choice | None = None,
    save: Path | None = None,
    several: "Several | None" = None,
) -> StudyRecord:
    """Train a configuration on all images that are not test images, and measure it once on the test split.

    Where the test split was opened before, nothing happens but `again`. A database that goes away meanwhile is waited
    for; the training does without it.

    Args:
        storage: holds the study.
        name: the study.
        device_name: as `resolve_device` takes it.
        say: receives sentences, and a line per epoch.
        again: open the test split although it was opened before.
        choice: what is trained; None: the best trial.
        save: the folder that the model is written into (`write_model_folder`); None: it is not kept. Of several
            networks it is the first one, by their seeds.
        several: train networks with fresh seeds, with executors; None: one, in this process, with the seed that the
            configuration has.

    Returns:
        The study, with this opening among its `openings`.

    Raises:
        CheckError: the study has no completed trial, or the one that is named did not complete; the test split was
            opened for another choice; another process runs the study, or the training fails.
        UserError: the choice, folder, data, device or plugins cannot be used, data or plugins are not those of the
            study, or the study is an earlier version of another one.
        Interrupted: somebody asked to stop the training of several networks; the next call goes on.
    """
    choice = choice or Choice()
    patience = Patience(storage.engine.url, say, lambda: None)
    seen = patience.take(lambda: load_record(storage, name))
    if again or not seen.openings:
        require_current(seen)
    if choice.config is None:
        trial_of(seen, choice)  # before anything is waited for
    token = new_token()
    lease = patience.take(lambda: acquire(storage.engine, name, token))
    patience.renew = lease.renew
    with lease.kept():
        record = patience.take(lambda: load_record(storage, name))
        if record.openings and not again:
            require_new(record, choice)
            return record
        spec = study_data(record, choice.settings)
        chosen = candidate(record, choice, spec)
        device = resolve_device(device_name)
        if save is not None:
            require_model_folder(save)
        data, notes = _ready(record, choice, spec)
        for note in notes:
            say(f"note: {note}")
        networks = None if several is None else several.planned(record, chosen, choice)
        config = chosen.config if networks is None else chosen.config.replaced(seed=networks.seeds[0])
        precision = resolve_precision(config, device)
        opening = Opening(
            opened="",
            host=platform.node(),
            cifar_tune=cifar_tune.__version__,
            fingerprint=record.data["fingerprint"],
            trial=chosen.trial.number if chosen.trial else None,
            value=chosen.trial.value if chosen.trial else None,
            finished_trials=record.finished,
            config={**config.stored(), "precision": precision},
            seed=config.integer("seed"),
            epochs=len(chosen.val_losses),
            train_images=len(data.train_indices),
            device=str(device),
            precision=precision,
            chosen=chosen.how,
            source=chosen.source,
            images=STUDY_IMAGES if choice.study_images else ALL_IMAGES,
            steps=_steps(chosen, len(data.train_indices)),
            person=_person(),
            identity=uuid4().hex,
        )
        _announce(record, chosen, opening, 1 if networks is None else len(networks.seeds), say)
        if several is None or networks is None:
            with training_errors(device, _ADVICE):
                trainings = [trained(config, ResidentData(data, device), device, chosen.val_losses, say)]
        else:
            found = several.trained(storage, record, chosen, networks, spec)
            opening = _of_trained(opening, found)
            with training_errors(device, _ADVICE):
                trainings = _loaded(found.networks, chosen, ResidentData(data, device), say)
        patience.waits_for_files = True  # the training would be lost
        patience.take(lambda: _require_ours(storage, record, lease))  # before a model of theirs is replaced
        if save is None:
            _open(storage, record, spec, trainings, opening, patience, say)
        else:
            with training_errors(device, _ADVICE):
                written, opening = write_final_model(save, record, spec, trainings[0], opening, chosen.val_losses)
            patience.take(lambda: _require_ours(storage, record, lease))  # that took a while
            tested, evaluation = _open(storage, record, spec, trainings, opening, patience, say)
            say(add_test_result(save, written, record, tested, evaluation))
        if several is not None:
            patience.take(lambda: forget_weights(storage, name))
    return patience.take(lambda: load_record(storage, name))


def require_ready(record: StudyRecord, choice: Choice, device_name: str, save: Path | None) -> None:
    """See that nothing is in the way of a `finalize` with these arguments, before a race that would be for nothing.

    Raises:
        CheckError, UserError: as `finalize`.
    """
    _ready(record, choice, require_choice(record, choice, device_name, save))


def require_choice(record: StudyRecord, choice: Choice, device_name: str, save: Path | None) -> DataSpec:
    """See that these arguments name something that can be trained, without a look at the images.

    Returns:
        The images of the study, where `--set` says that they lie.

    Raises:
        CheckError, UserError: as `finalize`.
    """
    require_current(record)
    spec = study_data(record, choice.settings)
    resolve_precision(candidate(record, choice, spec).config, resolve_device(device_name))
    if save is not None:
        require_model_folder(save)
    return spec


def _ready(record: StudyRecord, choice: Choice, spec: DataSpec) -> tuple[PreparedData, Sequence[str]]:
    """All images but those of the test, and notes on both; the test images are decoded, and not looked at."""
    require_test(spec)
    data = _all_images(record, spec, choice)
    test_classes, test_notes = decode_test(spec)
    _require_same_classes(data.classes, test_classes)
    return data, (*data.notes, *(f"test images: {note}" for note in test_notes))


@dataclass(frozen=True)
class Several:
    """Several networks with fresh seeds, trained by executors.

    Attributes:
        count: how many, at least 2.
        courses: makes a block in which trainings run, and may be stopped.
    """

    count: int
    courses: Callable[[], AbstractContextManager[Course]]

    def planned(self, record: StudyRecord, chosen: Candidate, choice: Choice) -> Networks:
        """The networks of what was chosen."""
        return plan_networks(record, chosen, self.count, with_unused=not choice.study_images)

    def trained(
        self, storage: RDBStorage, record: StudyRecord, chosen: Candidate, networks: Networks, data: DataSpec
    ) -> TrainedNetworks:
        """Train them; see `train_networks`."""
        with self.courses() as course:
            return train_networks(storage, record, chosen, networks, data, course)


def _all_images(record: StudyRecord, spec: DataSpec, choice: Choice) -> PreparedData:
    data = prepare(spec)
    if data.fingerprint != record.data["fingerprint"]:
        rule = (
            f"the images are not those that the study {record.name!r} was run on, so its best configuration may not "
            f"be theirs; put those back"
        )
        raise UserError(Problem(rule, "data", spec.root or spec.name))
    return data.merged(with_unused=not choice.study_images)


def _steps(chosen: Candidate, images: int) -> int:
    return len(chosen.val_losses) * steps_per_epoch(images, chosen.config.integer("batch_size"))


def _announce(record: StudyRecord, chosen: Candidate, opening: Opening, networks: int, say: Say) -> None:
    trial, config, epochs = chosen.trial, chosen.config, opening.epochs
    budget = record.spec.budget.trials
    if chosen.how == BEST and record.finished < budget and not record.ended_early:
        say(
            f"note: {record.finished} of {counted(budget, 'trial')} are done; if a later one is better, the test set "
            f"will have been opened for another"
        )
    if trial is not None and (sentence := about_training(record, trial)) is not None:
        say(f"note: {sentence}")
    if trial is not None and trial.feasible is False:
        constraints = " and ".join(str(constraint) for constraint in record.spec.constraints)
        say(f"note: trial {trial.number} does not keep {constraints}")
    trained, validated = record.data["train_images"], record.data["val_images"]
    unused = opening.train_images - trained - validated
    images = f"{trained:,} of the training and {validated:,} of the validation split"
    images += f", and {unused:,} that the study left out" if unused else ""
    say(
        f"{record.name}: trains {chosen.words}{' again' if trial else ''}"
        f"{f', {networks} times with fresh seeds' if networks > 1 else ''}, for {counted(epochs, 'epoch')}, on "
        f"{opening.train_images:,} images: {images}; {opening.device}, {opening.precision}"
    )
    before = _steps(chosen, trained)
    if trial is not None and before != opening.steps:
        say(f"note: the same epochs on more images are {opening.steps:,} steps, where the trial took {before:,}")
    if unused:
        say(
            f"note: the study searched with {trained:,} training images, and other values may suit all of them better; "
            f"--study-images trains only on the images of the study"
        )
    if trial is not None and epochs < config.integer("epochs"):
        say(f"note: as many epochs as the trial trained before its patience ended, of {config.integer('epochs')}")
    if config.text("schedule") == "plateau":
        say("note: schedule plateau lowers the learning rate after the same epochs as in the trial")
    if record.spec.objective.metric.startswith("best_"):
        say("note: the objective is that of the best epoch; what is tested are the weights of the last one")


def _require_ours(storage: RDBStorage, record: StudyRecord, lease: Lease) -> None:
    """See that nobody has taken the study over, deleted or renamed it.

    Raises:
        CheckError: somebody has.
    """
    lease.renew()
    try:
        present = load_optuna_study(storage, record.name)
    except UserError:
        present = None
    if present is None or study_id(present) != study_id(record.study):
        raise CheckError(
            f"the study {record.name!r} was deleted or renamed while its configuration was trained; the test set "
            f"was not opened"
        )


def _of_trained(opening: Opening, found: TrainedNetworks) -> Opening:
    """The opening with the networks that were trained: the first one may be another than was planned."""
    seed = found.networks[0].seed
    config = {**opening.config, "seed": seed}
    return replace(opening, seed=seed, config=config, failed_networks=tuple(found.failed))


def _loaded(networks: Sequence[TrainedNetwork], chosen: Candidate, data: ResidentData, say: Say) -> list[Training]:
    """The networks with their weights; one whose checkpoint cannot be used is trained here."""
    trainings = []
    for each in networks:
        config = chosen.config.replaced(seed=each.seed)
        try:
            trainings.append(loaded(config, data, data.device, len(chosen.val_losses), each.checkpoint))
        except CheckpointError as error:
            say(f"note: the network with seed {each.seed} is trained here, since its weights are not there: {error}")
            trainings.append(trained(config, data, data.device, chosen.val_losses, say))
    return trainings


def _open(
    storage: RDBStorage,
    record: StudyRecord,
    spec: DataSpec,
    trainings: Sequence[Training],
    opening: Opening,
    patience: Patience,
    say: Say,
) -> tuple[Opening, Evaluation]:
    """Open the test split once for all networks: first write down that it is opened, then what came out.

    Returns:
        What was written, and what the first network gave.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    opening = replace(opening, opened=now, test_fingerprint=test_fingerprint(spec))
    number = patience.take(lambda: begin_opening(storage, record.study, opening))

    def write(written: Opening | None) -> None:
        patience.take(lambda: write_opening(record.study, number, written))

    patience.renew = lambda: None  # whoever has the study now, its test set is opened, and what comes out is written
    try:
        paths = test_paths(spec)
        images, labels, classes = load_test(spec)
        fingerprint = test_fingerprint(spec)
        _require_same_classes(trainings[0].data.classes, classes)
    except UserError:  # nothing of them was measured
        write(None)
        raise
    found: list[NetworkResult] = []
    for training in trainings:
        with training_errors(training.device, _ADVICE):
            loss, accuracy, predictions = measure(training, images, labels)
        seed = training.config.integer("seed")
        which = f", seed {seed}" if len(trainings) > 1 else ""
        say(f"test set of {len(labels):,} images{which}: loss {loss!r}, accuracy {accuracy!r}")
        metrics = further_metrics(record.spec.measures, training.config.vocabulary, predictions, say)
        found.append(NetworkResult(seed, loss, accuracy, metrics, predictions))
    analysis = analysed(found[0].predictions, images, paths)
    tested = replace(
        opening, test_images=len(labels), test_fingerprint=fingerprint, analysis=analysis, **summed_up(found)
    )
    write(tested)
    first = found[0]
    confusion = first.predictions.confusion().tolist()
    return tested, Evaluation("test", len(labels), first.loss, first.accuracy, confusion, first.metrics)


def _person() -> str:
    try:
        return getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in some containers
        return "unknown"


def _require_same_classes(trained: tuple[str, ...], tested: tuple[str, ...]) -> None:
    if trained != tested:
        rule = f"the test split has other classes ({', '.join(tested)}) than the training split ({', '.join(trained)})"
        raise UserError(Problem(rule, "data"))
