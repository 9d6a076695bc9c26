"""`python -m cifar_tune` is `cifar-tune`: the commands, and what is said of an interruption before one has begun."""

import sys

from cifar_tune.streams import final_exit_code, guard_streams


def main() -> None:
    """Run the command line; never returns."""
    guard_streams()
    try:
        from cifar_tune.cli.main import main as run_command_line  # noqa: PLC0415 (importing it takes a moment)

        run_command_line()
    except KeyboardInterrupt:
        sys.stderr.write("cifar-tune: interrupted\n")
        sys.exit(final_exit_code(130))
    except SystemExit as ended:
        sys.exit(final_exit_code(ended.code if isinstance(ended.code, int) else 1 if ended.code else 0))
    sys.exit(final_exit_code(0))


if __name__ == "__main__":
    main()
