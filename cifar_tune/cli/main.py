"""The entry point, and the one place where errors become messages and exit codes."""

import inspect
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from types import FrameType
from typing import cast

import typer

from cifar_tune.cli.commands import (
    bundle,
    changes,
    check,
    compare,
    convert,
    dashboard,
    db,
    delete,
    events,
    export,
    filters,
    finalize,
    knobs,
    landscape,
    layers,
    lr_range,
    owner,
    predict,
    queue,
    run,
    serve,
    status,
    stop,
    submit,
    token,
    train,
    verify,
    watch,
)
from cifar_tune.cli.crash_log import crash_lines, without_passwords
from cifar_tune.cli.whole_process import silence_warnings, with_quiet_optuna
from cifar_tune.errors import CifarTuneError, UnexpectedError
from cifar_tune.visible import visible

_INTERRUPTED = 130
_AFTERWARDS = {
    "finalize": "; the same command goes on",
    "submit": "; what was queued goes on (see: cifar-tune queue)",
}
"""What is said to whoever interrupts a command."""

app = typer.Typer(
    name="cifar-tune",
    help="Hyperparameter optimization for CIFAR-10-size image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(with_quiet_optuna(run.run))
app.command("check")(with_quiet_optuna(check.check))
app.command("knobs")(knobs.knobs)
app.command("status")(with_quiet_optuna(status.status))
app.command("stop")(with_quiet_optuna(stop.stop))
app.command("watch")(with_quiet_optuna(watch.watch))
app.command("export")(with_quiet_optuna(export.export))
app.command("compare")(with_quiet_optuna(compare.compare))
app.command("train")(train.train)
app.command("convert")(convert.convert)
app.command("finalize")(with_quiet_optuna(finalize.finalize))
app.command("predict")(predict.predict)
app.command("bundle")(with_quiet_optuna(bundle.bundle))
app.command("verify")(with_quiet_optuna(verify.verify))
app.command("lr-range")(lr_range.lr_range)
app.command("landscape")(landscape.landscape)
app.command("filters")(filters.filters)
app.command("layers")(layers.layers)
app.command("dashboard")(with_quiet_optuna(dashboard.dashboard))
app.command("delete")(with_quiet_optuna(delete.delete))
app.command("serve")(with_quiet_optuna(serve.serve))
app.command("submit")(with_quiet_optuna(submit.submit))
app.command("queue")(with_quiet_optuna(queue.queue))
app.command("pause")(with_quiet_optuna(changes.pause))
app.command("resume")(with_quiet_optuna(changes.resume))
app.command("cancel")(with_quiet_optuna(changes.cancel))
app.command("priority", context_settings={"ignore_unknown_options": True})(  # -1 is a number
    with_quiet_optuna(changes.priority)
)
app.command("workers")(with_quiet_optuna(changes.workers))
app.command("owner")(with_quiet_optuna(owner.owner))
app.command("events")(with_quiet_optuna(events.events))
app.add_typer(token.app, name="token")
app.add_typer(db.app, name="db")


@app.callback(invoke_without_command=True)
def cifar_tune(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    """Hyperparameter optimization for CIFAR-10-size image classifiers.

    Exit codes: 0 done; 1 a study ended without one completed trial, a check failed, or results could not be written to
    stdout; 2 wrong input; 130 interrupted; 141 whoever read stdout had gone.
    """
    if version:
        from cifar_tune import __version__

        typer.echo(__version__)
        raise typer.Exit


@cache
def all_commands() -> typer.core.TyperGroup:
    """The program with all of its commands and options. Making them takes a tenth of a second: once per process."""
    made = cast(typer.core.TyperGroup, typer.main.get_command(app))
    for command in _each(made):
        if command.help is not None:  # else a terminal breaks each of its lines for itself
            command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help))
        for option in command.params:
            if isinstance(option, typer.core.TyperOption) and option.is_flag:
                option.metavar = ""  # a flag takes no value
    return made


def _each(group: typer.core.TyperGroup) -> Iterator[typer.core.TyperCommand | typer.core.TyperGroup]:
    for command in group.commands.values():
        if isinstance(command, typer.core.TyperGroup):
            yield from _each(command)
        yield cast(typer.core.TyperCommand, command)
    yield group


def main() -> None:
    """Run the command line; never returns."""
    interruptions = 0

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interruptions
        interruptions += 1
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    silence_warnings()
    try:
        all_commands()(prog_name="cifar-tune")  # also where it was started as `python -m cifar_tune`
    except CifarTuneError as error:
        lines = str(error).split("\n")
        if isinstance(error, UnexpectedError):
            lines += crash_lines(error.__cause__ or error, sys.argv[1:])
        _print_lines(lines)
        sys.exit(error.exit_code)
    except SystemExit as ended:
        # what Typer makes of a KeyboardInterrupt; `run` takes signals for itself, and says more
        if interruptions and ended.code == _INTERRUPTED:
            print(f"cifar-tune: interrupted{_AFTERWARDS.get(''.join(sys.argv[1:2]), '')}", file=sys.stderr)
        raise
    except Exception as error:  # noqa: BLE001 (the last resort of every command: a sentence, and a file for whoever mends it)
        if _is_of_database(error):
            from cifar_tune.storage.rdb import own_words

            words = without_passwords(own_words(error.__cause__ or error), sys.argv[1:])
            lines = [f"the database cannot be read or written: {words}; what is stored stays as it is"]
            if not _is_out_of_reach(error):
                lines += crash_lines(error, sys.argv[1:])
            _print_lines(lines)
            sys.exit(CifarTuneError.exit_code)
        words = without_passwords(f"{type(error).__name__}: {error}".splitlines()[0], sys.argv[1:])
        _print_lines([f"an unexpected error ended the command: {words}", *crash_lines(error, sys.argv[1:])])
        sys.exit(CifarTuneError.exit_code)


def _is_of_database(error: Exception) -> bool:
    """Whether the database, or the connection to it, failed; whoever has not imported its driver has not used one."""
    known = [("sqlalchemy.exc", "DBAPIError"), ("optuna.exceptions", "StorageInternalError")]
    return any(isinstance(error, getattr(sys.modules[module], name)) for module, name in known if module in sys.modules)


def _is_out_of_reach(error: Exception) -> bool:
    """Whether the database was away or busy. Otherwise it refused a statement, which may be a fault of ours."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    return isinstance(error, OperationalError | InterfaceError) or isinstance(
        error.__cause__, OperationalError | InterfaceError
    )


def _print_lines(lines: Sequence[str]) -> None:
    for line in map(visible, lines):
        print(f"cifar-tune: {line}" if not line.startswith("  ") else line, file=sys.stderr)
