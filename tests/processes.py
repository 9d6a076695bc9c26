"""cifar-tune in a process of its own."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def start_cifar_tune(
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    prepare: Callable[[], None] | None = None,
) -> "subprocess.Popen[str]":
    """Start it in `folder`, as the head of a process group, as a shell does; `prepare` is called in it before."""
    return subprocess.Popen(
        [sys.executable, "-m", "cifar_tune", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 (tests start no threads)
    )
