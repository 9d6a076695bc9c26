"""`python -m cifar_tune` is `cifar-tune`: the commands, and what is said of an interruption before one has begun."""

import sys


def main() -> None:
    """Run the command line; never returns."""
    try:
        from cifar_tune.cli.main import main as run_command_line  # noqa: PLC0415 (importing it takes a moment)

        run_command_line()
    except KeyboardInterrupt:
        sys.stderr.write("cifar-tune: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
