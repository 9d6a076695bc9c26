"""The kinds of parts that a plugin can define, and what each of them must be."""

from collections.abc import Mapping
from dataclasses import dataclass

from cifar_tune.knobs.augmentations import AugmentationPart
from cifar_tune.knobs.losses import LossPart
from cifar_tune.knobs.metrics import BEST, VALIDATION, MetricPart
from cifar_tune.knobs.models import ModelPart
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.schedules import SchedulePart
from cifar_tune.knobs.vocabulary import METRIC


@dataclass(frozen=True, slots=True)
class PartKind:
    """A kind of parts.

    Attributes:
        dictionary: its name in a plugin's file.
        entry: the class of its entries.
        given: what the target gets by position, before the arguments that its entry names.
        base: what a class must derive from, as `module:name`; None where the target may not be a class.
        noun: what a function must be instead, for people.
        needs: knobs that every entry must take.
        methods: one of these a class must define itself: training calls it, and the base class has none that works.
    """

    dictionary: str
    entry: type[Part]
    given: tuple[str, ...]
    base: str | None
    noun: str
    needs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


_FORWARD = ("forward", "__call__")

KINDS: Mapping[str, PartKind] = {
    "model": PartKind(
        "MODELS",
        ModelPart,
        ("image_shape", "classes"),
        "torch.nn:Module",
        "a function that makes one",
        methods=_FORWARD,
    ),
    "norm": PartKind("NORMS", Part, ("channels",), "torch.nn:Module", "a function that makes one", methods=_FORWARD),
    "activation": PartKind("ACTIVATIONS", Part, (), "torch.nn:Module", "a function that makes one", methods=_FORWARD),
    "optimizer": PartKind(
        "OPTIMIZERS",
        Part,
        ("parameters",),
        "torch.optim:Optimizer",
        "a function that makes one",
        needs=("lr",),
        methods=("step",),
    ),
    "schedule": PartKind(
        "SCHEDULES",
        SchedulePart,
        ("optimizer",),
        "torch.optim.lr_scheduler:LRScheduler",
        "a function that makes one",
        methods=("get_lr", "step"),
    ),
    "loss": PartKind("LOSSES", LossPart, ("logits", "targets"), None, "a function of logits and targets"),
    "augment": PartKind(
        "AUGMENTATIONS", AugmentationPart, ("draw",), "builtins:object", "a function of a draw", methods=("__call__",)
    ),
    METRIC: PartKind(
        "METRICS", MetricPart, ("probabilities", "labels"), None, "a function of probabilities and labels"
    ),
}
"""By the knob that names the parts; no knob names metrics."""

OWNERS = tuple(owner for owner in KINDS if owner != METRIC)
"""The knobs that name parts, and that own the knobs of these."""

OWN_KNOBS = "KNOBS"
"""The name of a plugin's list of knobs."""

RESERVED = frozenset(
    (
        *("name", "objective", "constraints", "metrics", "budget", "sampler", "pruner", "data", "plugins", "train"),
        *("search_space", "per", "start_from", "transfer_from", "deterministic", "stop", "repeats", "notify"),
        *("number", "state", "reason", "value", "finished_epochs", "duration_seconds", "parameters"),
        *("started", "ended", "source", "feasible", "on_front"),
        *("val_accuracy", "best_val_accuracy", "val_loss", "best_val_loss", "flops"),
        *("seconds_per_epoch", "epochs_to_best"),
    )
)
"""Names that knobs cannot have: the sections of a study file, and the columns of its table of trials, metrics too."""

RESERVED_BEGINNINGS = (VALIDATION, BEST)
"""So no name of a knob begins: these are metrics, which plugins can have of their own."""

OTHER_METRICS = frozenset(("accuracy", "loss"))
"""Metrics that every training has: no plugin can call its own so."""
