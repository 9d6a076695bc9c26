"""`cifar-tune verify`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say

_WORDS = {True: "passed", False: "FAILED", None: "left out"}


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The file that `cifar-tune bundle` wrote.")],
    test: Annotated[bool, typer.Option("--test", help="Measure the test set once more.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train again from scratch.")] = False,
    only_hashes: Annotated[
        bool, typer.Option("--only-hashes", help="Check only the hashes, and look at no image.")
    ] = False,
    run_plugins: Annotated[
        bool, typer.Option("--run-plugins", help="Run plugin files of the bundle; they are printed first.")
    ] = False,
    settings: options.Places = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Check a bundle on this machine: its hashes, its images and split, and its weights.

    The weights are measured on the validation images, which must come out as in the bundle: to the digit on the same
    kind of CPU with the same torch, and else within 0.2 points. --test measures the test set too, to repeat what
    finalize has published. --retrain trains again, and says whether the accuracy is the same to the digit, where it
    must be, or lies inside the 95 % interval. No study is needed.

    Exit code 1 if a check failed. With --json: {"bundle", "passed", "findings": [{"name", "passed" (null if left out),
    "words"}]}.
    """
    from cifar_tune.bundles.verifying import Wanted
    from cifar_tune.bundles.verifying import verify as check
    from cifar_tune.paths import given_path
    from cifar_tune.study_spec.overrides import parse_overrides

    path = given_path(bundle, "BUNDLE")
    wanted = Wanted(parse_overrides(settings or ()), device, test, retrain, only_hashes, run_plugins)
    findings = []
    for finding in check(path, wanted, lambda line: say(line, err=True)):
        findings.append(finding)
        if not as_json:
            say(f"{_WORDS[finding.passed]}: {finding.name}: {finding.words}")
    passed = all(finding.passed is not False for finding in findings)
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"bundle": str(path), "passed": passed, "findings": found}, indent=2))
    if not passed:
        raise typer.Exit(1)
