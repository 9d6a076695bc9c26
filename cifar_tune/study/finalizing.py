"""`cifar-tune finalize`: the best configuration on all images, and the one place that opens the test split."""

import math
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from optuna.storages import RDBStorage

import cifar_tune
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.test_split import decode_test, load_test, require_test
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.optuna_internals import study_id
from cifar_tune.storage.lease import Lease, acquire, new_token
from cifar_tune.storage.openings import Opening, write_opening
from cifar_tune.storage.patience import Patience
from cifar_tune.storage.records import StudyRecord, TrialRecord, load_optuna_study, load_record
from cifar_tune.study_spec.plugin_section import read_plugins
from cifar_tune.training.device import resolve_device
from cifar_tune.training.failures import training_errors
from cifar_tune.training.final import measure, train_without_validation
from cifar_tune.training.loop import Training
from cifar_tune.wording import counted

Say = Callable[[str], None]

_ADVICE = "end what else uses it, or take another one with --device"


def finalize(storage: RDBStorage, name: str, device_name: str, say: Say, again: bool = False) -> StudyRecord:
    """Train the best configuration on training and validation images, and measure it once on the test split.

    Where the test split was opened before, nothing happens but `again`. A database that goes away meanwhile is waited
    for; the training does without it.

    Args:
        storage: holds the study.
        name: the study.
        device_name: as `resolve_device` takes it.
        say: receives sentences, and a line per epoch.
        again: open the test split although it was opened before.

    Returns:
        The study, with this opening among its `openings`.

    Raises:
        CheckError: the study has no completed trial, another process runs it, or the training fails.
        UserError: data, device or plugins cannot be used, or data or plugins are not those of the study.
    """
    patience = Patience(storage.engine.url, say, lambda: None)
    _best_of(patience.take(lambda: load_record(storage, name)))
    token = new_token()
    lease = patience.take(lambda: acquire(storage.engine, name, token))
    patience.renew = lease.renew
    with lease.kept():
        record = patience.take(lambda: load_record(storage, name))
        if record.openings and not again:
            return record
        best = _best_of(record)
        config = _trainable(record, best)
        device = resolve_device(device_name)
        require_test(record.spec.data)  # before the training, which would be for nothing
        data = _merged_data(record)
        test_classes, test_notes = decode_test(record.spec.data)
        for note in (*data.notes, *(f"test images: {note}" for note in test_notes)):
            say(f"note: {note}")
        _require_same_classes(data.classes, test_classes)
        with training_errors(device, _ADVICE):
            training = Training(config, ResidentData(data, device), device)
        opening = Opening(
            opened="",
            host=platform.node(),
            cifar_tune=cifar_tune.__version__,
            fingerprint=record.data["fingerprint"],
            trial=best.number,
            value=best.value,
            finished_trials=record.finished,
            config={**best.config, "precision": training.precision},
            seed=training.config.integer("seed"),
            epochs=best.epochs,
            train_images=len(data.train_indices),
            device=str(device),
            precision=training.precision,
        )
        _announce(record, best, config, opening, say)
        _train(training, best, say)
        patience.waits_for_files = True  # the training would be lost
        patience.take(lambda: _require_ours(storage, record, lease))
        _open(record, training, opening, patience, say)
    return patience.take(lambda: load_record(storage, name))


def _best_of(record: StudyRecord) -> TrialRecord:
    if record.best is None:
        raise CheckError(
            f"{record.without_best_words}, so there is no best configuration to train; "
            f"see: cifar-tune status {record.name}"
        )
    return record.best


def _trainable(record: StudyRecord, best: TrialRecord) -> Configuration:
    """The configuration, with plugins out of the files that the study was run with: the storage only describes them."""
    files = [plugin.reference for plugin in record.spec.plugins]
    return best.configuration(read_plugins({"plugins": files}, f"the stored study {record.name!r}", {}, ()))


def _merged_data(record: StudyRecord) -> PreparedData:
    data = prepare(record.spec.data)
    if data.fingerprint != record.data["fingerprint"]:
        rule = (
            f"the images are not those that the study {record.name!r} was run on, so its best configuration may not "
            f"be theirs; put those back"
        )
        raise UserError(Problem(rule, "data", record.spec.data.root or record.spec.data.name))
    return data.merged()


def _announce(record: StudyRecord, best: TrialRecord, config: Configuration, opening: Opening, say: Say) -> None:
    budget = record.spec.budget.trials
    if record.finished < budget:
        say(
            f"note: {record.finished} of {counted(budget, 'trial')} are done; if a later one is better, the test set "
            f"will have been opened for another"
        )
    say(
        f"{record.name}: trains trial {best.number} again, for {counted(best.epochs, 'epoch')}, on "
        f"{opening.train_images:,} images: {record.data['train_images']:,} of the training and "
        f"{record.data['val_images']:,} of the validation split; {opening.device}, {opening.precision}"
    )
    if best.epochs < config.integer("epochs"):
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
            f"the study {record.name!r} was deleted or renamed while its best configuration was trained; the test set "
            f"was not opened"
        )


def _train(training: Training, best: TrialRecord, say: Say) -> None:
    with training_errors(training.device, _ADVICE):
        for epoch in train_without_validation(training, best.history["val_loss"]):
            say(
                f"epoch {epoch.epoch}/{best.epochs}: train loss {epoch.train_loss:.4f}, "
                f"train accuracy {epoch.train_accuracy:.4f} ({epoch.seconds:.1f} s)"
            )


def _open(record: StudyRecord, training: Training, opening: Opening, patience: Patience, say: Say) -> None:
    """Open the test split: first write down that it is opened, then what came out."""

    def write(written: Opening | None) -> None:
        patience.take(lambda: write_opening(record.study, len(record.openings), written))

    opening = replace(opening, opened=datetime.now(UTC).isoformat(timespec="seconds"))
    write(opening)
    patience.renew = lambda: None  # whoever has the study now, its test set is opened, and what comes out is written
    try:
        images, labels, classes = load_test(record.spec.data)
        _require_same_classes(training.data.classes, classes)
    except UserError:  # nothing of them was measured
        write(None)
        raise
    with training_errors(training.device, _ADVICE):
        loss, accuracy = measure(training, images, labels)
    say(f"test set of {len(labels):,} images: loss {loss!r}, accuracy {accuracy!r}")
    tested = replace(
        opening,
        test_images=len(labels),
        test_loss=loss if math.isfinite(loss) else None,
        test_accuracy=accuracy,
    )
    write(tested)


def _require_same_classes(trained: tuple[str, ...], tested: tuple[str, ...]) -> None:
    if trained != tested:
        rule = f"the test split has other classes ({', '.join(tested)}) than the training split ({', '.join(trained)})"
        raise UserError(Problem(rule, "data"))
