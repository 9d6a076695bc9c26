"""The names under which a study and its trials keep what Optuna has no column for: user attributes."""

SPEC = "spec"
"""Study: the whole specification, as `StudySpec.plain`."""

ENVIRONMENT = "environment"
"""Study: versions of cifar-tune, Python, Optuna and torch, and the device of the first run."""

DATA = "data"
"""Study: `fingerprint`, `classes`, `train_images`, `val_images`."""

ELAPSED = "elapsed_seconds"
"""Study: seconds of wall clock over all runs."""

TEST_OPENING = "test_opening_"
"""Study: this and a number from 1 on: one opening of the test split, `Opening.plain`."""

CONFIG = "config"
"""Trial: every knob of the run, `Configuration.stored`."""

EPOCHS = "epochs"
"""Trial: finished epochs."""

SECONDS = "seconds"
"""Trial: seconds of training and evaluation."""

PARAMETERS = "parameters"
"""Trial: trainable parameters of the model."""

DEVICE = "device"
"""Trial: such as `cpu` or `cuda:0`."""

PRECISION = "precision"
"""Trial: `fp32` or `bf16`, as it came out on the device."""

REASON = "reason"
"""Trial: why it ended; one of REASONS."""

ERROR = "error"
"""Trial: what an executor died of."""

PRUNED_AT = "pruned_at"
"""Trial: the epoch after which the pruner said to stop it, written before anything else of its end."""

HISTORY = "history"
"""Trial: one list per figure (train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds), one item per epoch."""

RESUMED_FROM = "resumed_from"
"""Trial: after how many finished epochs it was taken up again, once per time."""

REASONS = {
    "completed": "trained all its epochs, or up to its patience",
    "pruned": "stopped by the pruner",
    "diverged": "the loss became infinite or not a number",
    "out_of_memory": "the device ran out of memory",
    "error": "an error ended it",
}
