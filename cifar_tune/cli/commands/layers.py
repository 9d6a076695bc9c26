"""`cifar-tune layers`."""

import json

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def layers(config: options.Config, settings: options.Set = None, as_json: options.Json = False) -> None:
    """Print the layers of a configuration's model: kind, output shape, parameters, multiply-adds.

    All figures are for one image. Multiply-adds are what studies call `flops`: one for each product that is summed up
    in convolutions, matrix products and attention, not biases, norms, activations, pooling and additions. With --json:
    an object with `layers`, a list of name, kind, output (a list, or null where the forward pass does not call the
    module itself), parameters and multiply_adds; and the totals parameters and multiply_adds.
    """
    from cifar_tune.study_spec.overrides import parse_overrides
    from cifar_tune.study_spec.run_config import read_run_config

    run = read_run_config(config, parse_overrides(settings or ()))

    from cifar_tune.cli.insight_run import class_count
    from cifar_tune.insight.layers import as_lines, as_values, layer_table

    size = run.data.image_size
    with run.problems.placing():
        table = layer_table(run.train, (3, size, size), class_count(run.data))
    if as_json:
        typer.echo(json.dumps(as_values(table), indent=2))
        return
    for line in as_lines(table):
        say(line)
    say(f"parameters={table.parameters}")
    say(f"multiply_adds={table.multiply_adds}")
