"""The user attributes in which a study and its trials keep what Optuna has no column for.

The figures of a trial's epochs are kept in pieces: a value in MySQL holds 65,535 bytes, about 600 epochs.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from cifar_tune.training.results import FIGURES

SPEC = "spec"
"""Study: the whole specification, as `StudySpec.plain`."""

ENVIRONMENT = "environment"
"""Study: versions of cifar-tune, Python, Optuna and torch, and the device of the first run."""

DATA = "data"
"""Study: `fingerprint`, `classes`, `train_images`, `val_images`, `image_shape`, and where the `splits` come from."""

ELAPSED = "elapsed_seconds"
"""Study: seconds of wall clock over all runs."""

IDENTITY = "identity"
"""Study: a name that no other study of any database has, so that its checkpoints are known as its own."""

EVOLVED = "evolved"
"""Study: what `run --evolve` made it from: `from` (name of the study as it was), `version` (its number), and how many
trials were `carried` over and `left` behind."""

STOPPED = "stopped"
"""Study: why its rule `stop` has ended it, or `repeats` before the budget was used up: `words`, `rule`, `finished` and
`budget` (trials); None where it goes on."""


STOP_SINCE = "stop_since"
"""Study: the first trial that counts for `stop`, since it has gone on with a larger budget."""

TEST_OPENING = "test_opening_"
"""Study: this and a number from 1 on: one opening of the test split, `Opening.plain`."""

TEST_ANALYSIS = "test_analysis_"
"""Study: this, the number of an opening and that of a piece: what the opening showed, see `storage.analyses`."""

LINKED = "linked"
"""Study that belongs to another one (`cifar_tune.storage.linked`): what it is for, as `Race.plain` or
`Networks.plain` say it."""

TASK = "task"
"""Trial of a linked study: which of its planned trainings it is: `candidate`, `block`, `seed` and `fold` (see
`cifar_tune.study.script.Task`)."""

FAILED_ONCE = "failed_once"
"""Trial of a linked study: why its training failed, before it was repeated."""

CONFIG = "config"
"""Trial: every knob of the run, `Configuration.stored`."""

START_FROM = "start_from"
"""Trial: which item of the study's `start_from` it is, from 0; other trials do not have it."""

TRANSFER = "transfer"
"""Study: what `transfer_from` has taken from an earlier study, as `study.transfer.Transfer.plain` says it. With it, the
study goes on without the earlier one."""

TRANSFERRED_FROM = "transferred_from"
"""Trial: `study` and `trial` whose configuration it tries (`transfer_from`); other trials do not have it."""

CARRIED_FROM = "carried_from"
"""Trial: `study` and `number` that it had before `run --evolve`."""

EPOCHS = "epochs"
"""Trial: finished epochs."""

SECONDS = "seconds"
"""Trial: seconds of training and evaluation."""

SPENT = "spent_seconds"
"""Trial: seconds that executors have had it, up to when it was last parked or lost its executor. With a
`trial_timeout`, up to its last finished epoch."""

PARAMETERS = "parameters"
"""Trial: trainable parameters of the model."""

FLOPS = "flops"
"""Trial: multiply-adds of convolutions and matrix products in the forward pass of one image."""

METRICS = "metrics"
"""Trial: the metrics of the study by name, after the last finished epoch. Kept where there are several objectives,
since Optuna then takes no reports, where there are constraints, and where the study lists further `metrics`."""

DEVICE = "device"
"""Trial: such as `cpu` or `cuda:0`."""

PRECISION = "precision"
"""Trial: `fp32`, `tf32`, `bf16` or `fp16`, as it came out on the device."""

MICRO_BATCHES = "micro_batches"
"""Trial: into how many parts its training steps are split since memory ran out (`on_oom: accumulate`)."""

REASON = "reason"
"""Trial: why it ended; one of REASONS."""

ERROR = "error"
"""Trial: what an executor died of."""

PRUNED_AT = "pruned_at"
"""Trial: the epoch after which the pruner said to stop it, written before anything else of its end."""

PAUSED = "paused"
"""Trial: the epoch after which it waits to be promoted (pruner `promotion`); None where it goes on."""

SPARED_AT = "spared_at"
"""Trial: the epoch after which the pruner would have stopped it, had it not been spared (`pruner.spare`)."""

HISTORY = "history"
"""Trial: one list per figure (train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds), one item per epoch.
Also one per further metric such as val_macro_f1, with null where an epoch was trained before the study asked for it. Of
long trainings in pieces, see `cifar_tune.storage.attributes`."""

RESUMED_FROM = "resumed_from"
"""Trial: after how many finished epochs it was taken up again, once per time."""

REPEATS = "repeats"
"""Trial: the number of the one with the same configuration whose result it took over."""

REPEAT = "repeat"
"""Trial: which of the trainings of its configuration it is, from 1, in a study with `repeats`."""

REASONS = {
    "completed": "trained all its epochs, or up to its patience",
    "repeated": "an earlier trial with the same configuration has its result, so it was not trained again",
    "pruned": "stopped by the pruner",
    "infeasible": "the model itself breaks a constraint, so it was not trained",
    "diverged": "the loss became infinite or not a number",
    "out_of_memory": "the device ran out of memory",
    "timeout": "it hung, or took longer than budget.trial_timeout",
    "error": "an error ended it",
}


PIECE = 500
"""Epochs per piece; six figures of nine digits take at most 102 bytes per epoch."""
_BYTES = 102 * PIECE
_BYTES_OF_MEASURE = 25
"""Of a further metric and epoch: 17 digits, a sign, an exponent and a comma."""


def pieces(history: Mapping[str, Sequence[float | None]]) -> dict[str, dict[str, list[float | None]]]:
    """The trial's attributes that hold it: HISTORY, and for more epochs HISTORY with `_2`, `_3` and so on."""
    epochs = max((len(values) for values in history.values()), default=0)
    measures = sum(name not in FIGURES for name in history)
    size = max(1, _BYTES // (102 + _BYTES_OF_MEASURE * measures))
    return {
        _name(index): {name: list(values[start : start + size]) for name, values in history.items()}
        for index, start in enumerate(range(0, max(epochs, 1), size))
    }


def joined(attrs: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """The history that a trial's attributes hold.

    Further pieces than it has epochs are those of an earlier run whose checkpoint was lost.
    """
    history: dict[str, list[float | None]] = {name: list(each) for name, each in attrs.get(HISTORY, {}).items()}
    for index in count(1):
        piece = attrs.get(_name(index))
        if piece is None:
            break
        for name in history:
            history[name] += piece.get(name, ())
    epochs = attrs.get(EPOCHS)
    return {name: values[:epochs] for name, values in history.items()}


def why_stopped(stopped: Mapping[str, Any]) -> str:
    """What STOPPED says, for people, without a full stop; the rule is empty where `repeats` left trainings out."""
    by = "stopped by its rule" if stopped["rule"] else "ended before its budget was used up"
    return f"{by}: {stopped['words']}"


def is_piece(name: str) -> bool:
    """Whether a trial's attribute of this name is a piece of its history."""
    return name == HISTORY or name.startswith(f"{HISTORY}_")


def _name(index: int) -> str:
    return HISTORY if index == 0 else f"{HISTORY}_{index + 1}"
