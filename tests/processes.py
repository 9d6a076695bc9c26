"""cifar-tune in a process of its own, or in this one."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from cifar_tune.cli.main import main
from tests.forked import PROGRAM, Piped, forks
from tests.waiting import Program as Program  # noqa: PLC0414 (for whoever starts one)


def start_cifar_tune(
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    code: str | None = None,
    has_stdin: bool = True,
) -> Program:
    """Start it in `folder`, as the head of a process group, as a shell does; `code` is run in its place.

    Its stdin is empty, or closed if it has none.

    It is forked from a process that has imported everything: see `tests.forked` for what that does not show.
    """
    if sys.platform != "linux":
        return start_interpreter(arguments, folder, environment, code=code)
    (out, its_out), (err, its_err) = os.pipe(), os.pipe()
    stdin = os.open(os.devnull, os.O_RDONLY)
    try:
        streams = (stdin if has_stdin else None, its_out, its_err)
        return Piped(forks().start(arguments, folder, environment, streams, code=code or PROGRAM), out, err)
    finally:
        for descriptor in (stdin, its_out, its_err):
            os.close(descriptor)


def start_interpreter(
    arguments: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    prepare: Callable[[], None] | None = None,
    code: str | None = None,
) -> "subprocess.Popen[str]":
    """The same from the first instruction of a Python of its own; `prepare` is called in it before."""
    return subprocess.Popen(
        [sys.executable, *(("-m", "cifar_tune") if code is None else ("-c", code)), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 (tests start no threads)
    )


def call_cifar_tune(arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Let this process run it to its end, for where nothing is to happen to it; returns exit code, stdout and stderr.

    Its executors are processes of their own as ever, from the fork server of this process, which has torch already.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        chdir(folder),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch("sys.argv", ["cifar-tune", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return code, out.getvalue(), err.getvalue()
