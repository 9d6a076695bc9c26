from io import StringIO

import pytest
from rich.console import Console

from cifar_tune.cli.progress import TrialRows

PARAMS = "optimizer rmsprop, lr 0.1185, momentum 0.9877, weight_decay 3.2e-05, activation leaky_relu, width 64"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("with_device", [False, True])
def test_each_trial_takes_one_line_that_says_what_matters(width: int, with_device: bool) -> None:
    rows = TrialRows("val_accuracy", with_device)
    rows.add(7, 0, 0, device="cuda:0", params=PARAMS)
    rows.add(123, 29, 30, "0.6000", "123.4 s/epoch", "[bold]", PARAMS)
    out = StringIO()
    Console(file=out, width=width).print(rows.table)
    first, second = out.getvalue().splitlines()
    assert len(second) <= width
    for words in ("trial 123", "29/30", "val_accuracy 0.6000", "123.4 s/epoch", "op"):
        assert words in second
    assert ("[bold]" in second) is with_device
    assert "0/?" in first
    assert first.index("op") == second.index("op")
