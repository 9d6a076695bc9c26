"""How often the test split of a study was opened, by whom, for what, and what came out: kept with the study.

Each opening is a user attribute of its own, so that none grows with their number. It is written before the test split
is opened and again with its result, so that an opening whose result was lost still counts. Each takes a number that
none had before it, so that no process writes over the opening of another one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from cifar_tune import __version__
from cifar_tune.errors import Problem, UserError, enumerate_names
from cifar_tune.knobs.part import Scalar
from cifar_tune.optuna_internals import study_id
from cifar_tune.optuna_questions import add_attribute_of_study, attributes_of_all_studies
from cifar_tune.storage import attributes
from cifar_tune.storage.analyses import Analysis, pieces, read_analysis
from cifar_tune.storage.versions import is_copy

TRIAL_STUDY = "study"

_NAMED = 5
"""Other studies that are named; the others are counted."""

BEST, RACE, TRIAL, CONFIG = "best", "race", "trial", "config"
"""How what was tested was chosen: the best trial, the winner of a race, a trial by its number, or a configuration file.
"""

ALL_IMAGES, STUDY_IMAGES = "all", "study"
"""What was trained on: all images but the test images, or those alone that the study used."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of the test split.

    Attributes:
        opened: when, ISO 8601 in UTC.
        host: on which machine.
        cifar_tune: version.
        fingerprint: of the study's training and validation images.
        trial: whose configuration was trained; None where it came from a file.
        value: the objective of that trial, on the validation split; None where there is no trial.
        finished_trials: trials that the study had finished by then.
        config: all knobs, `Configuration.stored`, with the precision as it came out.
        seed: the knob, which draws everything in the training.
        epochs: trained ones.
        train_images: how many images it was trained on, those of the validation split among them.
        device: such as `cpu` or `cuda:0`.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        study: the earlier version of the study that holds the trial, where `run --evolve` left it behind.
        test_images: None until the result is known.
        test_loss: mean cross entropy; None where the result was lost, and where it is not finite. Of several networks
            the mean.
        test_accuracy: fraction of the test images that is right; None where the result was lost. Of several networks
            the mean.
        chosen: `best`, `race`, `trial` or `config`. Earlier versions knew the best trial alone.
        source: the configuration file, as it was given.
        images: `all`, or `study` where images that the study left out stayed out. Earlier versions left them out.
        steps: optimizer steps of the training; None where an earlier version opened it.
        model: the folder that the model was written into, on that machine; None where none was.
        weights_sha256: of the weights in it.
        test_metrics: the further metrics that the study looks at, such as `test_macro_f1`; without those that these
            images or predictions have no number for. Empty where an earlier version opened it.
        test_fingerprint: of the test images, SHA-256 in hex; None where an earlier version opened it.
        person: who opened it, as the system calls them; None where an earlier version did.
        identity: a name that no other opening has; None where an earlier version opened it.
        networks: the networks that were tested: `seed`, `test_loss` and `test_accuracy` of each. The first one has the
            `seed`, the `model` and the `analysis` of the opening. Empty where one was trained alone.
        new_images: 95 % interval of the mean accuracy, for new images and new seeds; None without `networks`.
        same_images: the same for these images and new seeds.
        failed_networks: `seed` and `reason` of each network that could not be trained, such as one that diverged. One
            with another seed took its place, so the figures are of trainings that finish.
        analysis: confusion, calibration and mistakes; None where an earlier version opened it, or the result was lost.
    """

    opened: str
    host: str
    cifar_tune: str
    fingerprint: str
    trial: int | None
    value: float | None
    finished_trials: int
    config: Mapping[str, Scalar]
    seed: int
    epochs: int
    train_images: int
    device: str
    precision: str
    test_images: int | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    study: str | None = None
    chosen: str = BEST
    source: str | None = None
    images: str = STUDY_IMAGES
    steps: int | None = None
    model: str | None = None
    weights_sha256: str | None = None
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    test_fingerprint: str | None = None
    person: str | None = None
    identity: str | None = None
    networks: Sequence[Mapping[str, float | None]] = ()
    new_images: Sequence[float] | None = None
    same_images: Sequence[float] | None = None
    failed_networks: Sequence[Mapping[str, str | int]] = ()
    analysis: Analysis | None = field(default=None, repr=False)

    @property
    def failure_words(self) -> str:
        """Which networks could not be trained, as a sentence; empty where all could."""
        count = len(self.failed_networks)
        if not count:
            return ""
        each = ", ".join(f"{network['reason']} with seed {network['seed']}" for network in self.failed_networks)
        took = "another seed took its place" if count == 1 else "other seeds took their places"
        return (
            f"Of {count + len(self.networks)} networks {count} could not be trained ({each}), and {took}: the figures "
            f"are those of trainings that finish."
        )

    @property
    def tested(self) -> str:
        """The trial, for people: `7`, or `7 of NAME@1`; or the file."""
        if self.trial is None:
            return str(self.source)
        return str(self.trial) if self.study is None else f"{self.trial} of {self.study}"

    @property
    def subject(self) -> str:
        """The same in a sentence: `trial 7`, or `the configuration small.yaml`."""
        return f"{'the configuration' if self.trial is None else 'trial'} {self.tested}"

    def plain(self) -> dict[str, Any]:
        """The fields by name, as the database has them: without the analysis, which is kept in pieces."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "analysis"}

    def shown(self) -> dict[str, Any]:
        """The fields by name, as JSON has them."""
        return {**self.plain(), "analysis": None if self.analysis is None else self.analysis.shown()}


def read_openings(user_attrs: Mapping[str, Any]) -> list[Opening]:
    """All openings of the study with these user attributes, the first one first.

    Raises:
        UserError: another version of cifar-tune wrote one that this version cannot read.
    """
    openings: list[Opening] = []
    for number in numbers_of_openings(user_attrs):
        if (plain := user_attrs[_name(number)]) is None:  # taken back
            continue
        opening = _read(plain, _name(number))
        if opening.test_accuracy is not None:  # without its result, a kill may have cut the analysis short
            opening = replace(opening, analysis=read_analysis(user_attrs, number))
        openings.append(opening)
    return openings


def numbers_of_openings(user_attrs: Mapping[str, Any]) -> list[int]:
    """The numbers, from 0, of all openings in these attributes of a study, also of those that were taken back."""
    ends = [key.removeprefix(attributes.TEST_OPENING) for key in user_attrs if key.startswith(attributes.TEST_OPENING)]
    return sorted(int(end) - 1 for end in ends if end.isdecimal())


def _read(plain: Any, name: str) -> Opening:
    try:
        opening = Opening(**plain)
        # JSON has made lists of them
        return replace(opening, networks=tuple(opening.networks), failed_networks=tuple(opening.failed_networks))
    except TypeError as error:  # not a mapping, or with fields too many or too few
        writer = plain.get("cifar_tune") if isinstance(plain, Mapping) else None
        by = f"cifar-tune {writer}" if writer else "another version of cifar-tune"
        rule = f"was written by {by}, and cifar-tune {__version__} cannot read it: use the version that wrote it"
        raise UserError(Problem(rule, name)) from error


def begin_opening(storage: RDBStorage, study: optuna.Study, opening: Opening) -> int:
    """Write down that the test split is being opened, and return the number of this opening, from 0.

    Of processes that do so at the same time, each gets a number of its own. A call that is repeated because the
    database gave no answer writes nothing twice: the `identity` of the opening tells.

    Raises:
        KeyError: the study was deleted.
    """
    while True:
        attrs = storage.get_study_user_attrs(study_id(study))
        numbers = numbers_of_openings(attrs)
        for number in numbers:
            if opening.identity is not None and (attrs[_name(number)] or {}).get("identity") == opening.identity:
                return number
        free = max(numbers, default=-1) + 1
        if add_attribute_of_study(storage.engine, study_id(study), _name(free), opening.plain()):
            return free


def write_opening(study: optuna.Study, number: int, opening: Opening | None) -> None:
    """Store the opening with this number, from 0; None takes it back, where not one image could be read.

    The analysis comes first: an opening with a result has it whole.
    """
    if opening is not None and opening.analysis is not None:
        for name, piece in pieces(opening.analysis, number):
            study.set_user_attr(name, piece)
    study.set_user_attr(_name(number), None if opening is None else opening.plain())


Elsewhere = tuple[str, Opening]
"""An opening of the same test images for another study, with the name of that."""


def openings_elsewhere(storage: BaseStorage, name: str, openings: Sequence[Opening]) -> list[Elsewhere]:
    """Openings of the same test images for other studies of the storage, in the order of their time.

    Those that came along when a study was copied or has evolved are none of others: they have the same `identity`.

    Args:
        storage: holds the studies.
        name: of the study.
        openings: of this study.
    """
    images = {each.test_fingerprint for each in openings} - {None}
    if not images or not isinstance(storage, RDBStorage):
        return []
    own = {each.identity for each in openings}
    found: dict[str | None, Elsewhere] = {}
    for study, _, plain in attributes_of_all_studies(storage.engine, attributes.TEST_OPENING):
        if study == name or is_copy(study) or not isinstance(plain, Mapping):
            continue
        try:
            opening = Opening(**plain)
        except TypeError:  # of another version, or damaged: whoever reads that study is told
            continue
        if opening.test_fingerprint in images and opening.identity not in own:
            found.setdefault(opening.identity, (study, opening))
    return sorted(found.values(), key=lambda each: (each[1].opened, each[0]))


def elsewhere_shown(elsewhere: Sequence[Elsewhere]) -> list[dict[str, Any]]:
    """The same as JSON has them: `study`, `opened`, `person`, `host`, `identity`, `test_accuracy`, `test_images`."""
    keys = ("opened", "person", "host", "identity", "test_accuracy", "test_images")
    return [{"study": study, **{key: getattr(opening, key) for key in keys}} for study, opening in elsewhere]


def elsewhere_words(elsewhere: Sequence[Elsewhere]) -> str:
    """What openings for other studies mean, in two sentences; empty without any."""
    if not elsewhere:
        return ""
    names = list(dict.fromkeys(study for study, _ in elsewhere))
    shown = [f"{name} ({times([each for each in elsewhere if each[0] == name])})" for name in names[:_NAMED]]
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    return (
        f"The same test images were opened for other studies too: {enumerate_names(shown, 'and')}. Whoever chooses "
        f"among studies by such results makes them optimistic."
    )


def times(openings: Sequence[object]) -> str:
    """`once`, `twice` or `3 times`."""
    count = len(openings)
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _name(number: int) -> str:
    return f"{attributes.TEST_OPENING}{number + 1}"
