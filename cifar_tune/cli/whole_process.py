"""What the command line sets for its whole process, and what the package shares with all threads of any process.

A notebook or a service keeps its own signals, stdout, warnings and logs: `main` and the commands set them for
themselves, and the package leaves them alone. What the package still shares with other threads:

- `data.cache` remembers which files it has found whole.
- `data.image_reading` silences libtiff.
- `executors.starting` changes two environment variables while it starts an executor; only one thread does so at a time.
- `executors.ray_engine` connects to Ray; a process has one connection.
- `training.loop` listens to warnings while it trains on a GPU, and leaves them as they were after each epoch.
- `training.device.configure` sets PyTorch's threads, precision, allocator and cuDNN, and a training seeds PyTorch's own
  generators. So a process trains one configuration at a time; studies train in executors, which are processes.
"""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

_Arguments = ParamSpec("_Arguments")


def silence_warnings() -> None:
    """Ignore warnings of Pillow, Optuna and torch: what matters to users is told in other ways.

    They are named by module and by text, since importing Optuna would take longer than `--help`.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", module=r"optuna\.")
    warnings.filterwarnings("ignore", message=r".* does not have a deterministic implementation, but you set 'torch\.")
    warnings.filterwarnings("ignore", message=r".* is experimental \(supported from v")  # Optuna's version is pinned


def quieten_optuna() -> None:
    """Let Optuna log errors only, and not warn. It sets its level when it is imported, so this imports it."""
    import optuna

    silence_warnings()
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def with_quiet_optuna(command: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """The command of a study, in whose process Optuna is quiet."""

    @wraps(command)
    def quietly(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> None:
        quieten_optuna()
        command(*arguments, **options)

    return quietly
