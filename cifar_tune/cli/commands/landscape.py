"""`cifar-tune landscape`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def landscape(
    config: options.Config,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KNOB=VALUE",
            help="What the other model has instead. Repeatable. Default: norm=none.",
            show_default=False,
        ),
    ] = None,
    lrs: Annotated[str, typer.Option(help="The learning rates, at least two.")] = "1e-3,2e-3,1e-4,5e-4",
    epochs: Annotated[
        int | None,
        typer.Option(
            callback=options.within(1),
            help="Epochs at each learning rate; default: those of CONFIG.",
            show_default=False,
        ),
    ] = None,
    distances: Annotated[str, typer.Option(help="Steps between the gradients that are compared.")] = "1",
    fixed_batch: Annotated[
        bool, typer.Option("--fixed-batch", help="Compare gradients on one batch, not on successive ones.")
    ] = False,
    output: options.Output = None,
    device: options.Device = "auto",
    settings: options.Set = None,
) -> None:
    """Compare the loss landscapes of a configuration and of the same without its norm (or with other knobs).

    Both are trained at each learning rate, which stays the same throughout. Three panels show, step by step, the band
    from the smallest to the largest value over the learning rates: the training loss, the change of the gradient, and
    that change over the distance moved (effective beta-smoothness). Gradients are those of the output layer's weights,
    in fp32. After Santurkar et al. 2018. Writes landscape.png, .csv and .json.
    """
    from cifar_tune.cli.landscape_options import other_configuration, read_distances, read_lrs, told_apart
    from cifar_tune.study_spec.overrides import parse_overrides
    from cifar_tune.study_spec.run_config import read_run_config

    rates, steps_apart = read_lrs(lrs), read_distances(distances)
    run_config = read_run_config(config, parse_overrides(settings or ()))
    changed = other_configuration(run_config.train, against or ["norm=none"])

    from cifar_tune.cli.insight_run import now_and_then, open_run, output_folder, print_lines
    from cifar_tune.insight.files import require_folder
    from cifar_tune.insight.landscape import Landscape, landscape_run
    from cifar_tune.insight.landscape_report import all_figures, write_landscapes
    from cifar_tune.training.failures import training_errors
    from cifar_tune.wording import counted

    folder = output_folder(config, output)
    require_folder(folder)
    run = open_run(run_config, device)
    say = now_and_then()
    landscapes = []
    for model, label in zip((run.config, changed), told_apart(run.config, changed), strict=True):
        if epochs is not None:
            model = model.replaced(epochs=epochs)  # noqa: PLW2901
        runs = []
        for lr in rates:
            typer.echo(f"{label}: lr {lr:g}, {counted(model.integer('epochs'), 'epoch')}", err=True)
            with training_errors(run.device):
                runs.append(
                    landscape_run(
                        model.replaced(lr=lr), run.data, run.device, steps_apart, fixed_batch,
                        lambda step, loss: say(f"step {step}: loss {loss:.4f}"),
                    )
                )  # fmt: skip
            if runs[-1].diverged:
                typer.echo(f"{label}: diverged at lr {lr:g}, in step {len(runs[-1].steps) + 1}", err=True)
        landscapes.append(Landscape(label, model, tuple(runs)))
    files = write_landscapes(folder, landscapes, steps_apart, fixed_batch)
    values: dict[str, object] = {}
    found = all_figures(landscapes)
    for name, item, figures in zip(("configuration", "against"), landscapes, found, strict=True):
        values[name] = item.label
        values |= {f"{name}_{key}": value for key, value in figures.items()}
        values[f"{name}_diverged"] = sum(run.diverged for run in item.runs)
    print_lines(values, files)
