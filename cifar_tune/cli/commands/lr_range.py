"""`cifar-tune lr-range`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def lr_range(
    config: options.Config,
    low: Annotated[float, typer.Option(help="The first learning rate.")] = 1e-5,
    high: Annotated[float, typer.Option(help="The last learning rate.")] = 10.0,
    steps: Annotated[
        int, typer.Option(callback=options.within(30), help="Steps from one to the other, at least 30.")
    ] = 284,
    write: options.Write = None,
    output: options.Output = None,
    device: options.Device = "auto",
    settings: options.Set = None,
) -> None:
    """Find out which learning rates are worth searching: train with an ever higher one, and watch the loss.

    The learning rate grows by the same factor in every step (1.05 with the defaults) until all steps are taken, the
    smoothed loss is above 4 times its minimum, or the loss is no finite number. Suggested are as `high` the learning
    rate at which the loss turns up, and as `low` the one at which it has begun to fall, by a tenth of the whole fall;
    or none, with the reason. Writes lr_range.png, .csv and .json. With --write, search_space.lr of a study file gets
    the suggested low and high; exit code 1 where there is none to write.
    """
    from cifar_tune.errors import CheckError, Problem, UserError
    from cifar_tune.study_spec.lr_in_file import lr_in_study
    from cifar_tune.study_spec.overrides import parse_overrides
    from cifar_tune.study_spec.run_config import read_run_config

    if not 0 < low < high < float("inf"):
        raise UserError(Problem(f"must be > 0 and below --high, which is {high:g}", "--low", low))
    run_config = read_run_config(config, parse_overrides(settings or ()))
    study = None if write is None else lr_in_study(write)

    from cifar_tune.cli.insight_run import now_and_then, open_run, output_folder, print_lines
    from cifar_tune.insight.files import require_folder
    from cifar_tune.insight.lr_range import growing_lrs, lr_range_test
    from cifar_tune.insight.lr_range_report import write_lr_range
    from cifar_tune.insight.lr_suggestion import suggest
    from cifar_tune.training.failures import training_errors

    folder = output_folder(config, output)
    require_folder(folder)
    run = open_run(run_config, device)
    say = now_and_then()
    with run_config.problems.placing(), training_errors(run.device):
        test = lr_range_test(
            run.config,
            run.data,
            run.device,
            growing_lrs(low, high, steps),
            lambda number, step: say(f"step {number}/{steps}: lr {step.lr:.3g}, smoothed loss {step.smoothed:.4f}"),
        )
    suggestion = suggest(test)
    files = write_lr_range(folder, run.config, test, suggestion)
    values: dict[str, object] = {"steps": len(test.steps), "stopped": test.stop, "last_lr": test.steps[-1].lr}
    if suggestion.low is None or suggestion.high is None:
        values |= {"suggestion": "none", "reason": suggestion.reason}
    else:
        values |= {"low": suggestion.low, "high": suggestion.high}
        values |= {"note": suggestion.reason} if suggestion.reason else {}
    print_lines(values, files)
    if study is None:
        return
    if suggestion.low is None or suggestion.high is None:
        raise CheckError(f"{study.path} stays as it is: {suggestion.reason}")
    study.write(study.searched(suggestion.low, run.config), study.searched(suggestion.high, run.config))
    typer.echo(f"written={study.path}")
    if study.per is not None:
        typer.echo(f"note: written per {study.per.reference:g} of {study.per.knob}, as it is searched there", err=True)
