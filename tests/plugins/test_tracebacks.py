"""Errors of plugins show the lines that ran, whatever else has the same path."""

import inspect
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cifar_tune.errors import CheckError, UserError
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.plugins.execute import plugin_errors_told
from cifar_tune.plugins.files import read_plugin_file
from cifar_tune.plugins.load import load_plugins

SOURCE = """
from cifar_tune.plugins import LossPart

def lossy(logits, targets):
    {filler}
    raise ArithmeticError  # of {name}

LOSSES = {{"lossy": LossPart(lossy, "fails")}}
"""


def loaded(path: str, name: str, filler: str) -> tuple[Plugin, Callable[..., object]]:
    Path(path).write_text(SOURCE.format(name=name, filler=filler))
    (plugin,) = load_plugins([read_plugin_file(path)])
    lossy = plugin.parts["loss"]["lossy"].target
    assert callable(lossy)
    return plugin, lossy


def shown(call: Callable[..., object]) -> str:
    with pytest.raises(ArithmeticError) as raised:
        call(None, None)
    return "".join(traceback.format_exception(raised.value))


def test_two_contents_of_one_path_show_their_own_lines() -> None:
    first, of_first = loaded("shared.py", "the first", "pass")
    _, of_second = loaded("shared.py", "the second", "pass\n    " * 3 + "pass")
    for _ in range(2):  # whichever was loaded or failed last
        assert "raise ArithmeticError  # of the first" in shown(of_first)
        assert "raise ArithmeticError  # of the second" in shown(of_second)
        assert load_plugins([file for file in (first.file,) if file is not None])[0].parts["loss"] is not None
    assert "# of the first" in inspect.getsource(of_first)  # as torch.compile and torch.jit look for it
    assert "# of the second" in inspect.getsource(of_second)
    names = [each.__code__.co_filename for each in (of_first, of_second)]
    assert names[0] != names[1]
    assert all(name.startswith("shared.py") for name in names)


def test_a_path_that_stands_for_one_content_is_shown_as_it_is() -> None:
    _, lossy = loaded("alone.py", "the only one", "pass")
    assert 'File "alone.py", line 6, in lossy\n    raise ArithmeticError  # of the only one' in shown(lossy)


def test_an_error_outside_of_the_plugin_names_the_line_that_raised_it() -> None:
    plugin, _ = loaded("innocent.py", "x", "pass")
    with pytest.raises(CheckError) as raised, plugin_errors_told([plugin]):
        torch.ones(2).unflatten(0, (3,))  # type: ignore[no-untyped-call]
    words = (
        r"while the parts of innocent.py were used: RuntimeError: .* \(torch/_tensor.py:\d+, in unflatten, not in a "
    )
    assert re.fullmatch(words + r"line of theirs\)", str(raised.value))


def test_messages_name_the_path_and_the_line_of_each_content() -> None:
    for filler, line in (("pass", 6), ("pass\n    pass", 7)):
        plugin, lossy = loaded("told.py", str(line), filler)
        with (
            pytest.raises(CheckError, match=f"^told.py:{line}: in lossy: ArithmeticError$"),
            plugin_errors_told([plugin]),
        ):
            lossy(None, None)
        Path("broken.py").write_text("\n" * line + "1 / 0\n")
        with pytest.raises(UserError) as raised:
            load_plugins([read_plugin_file("broken.py")])
        assert [(each.source, each.line) for each in raised.value.problems] == [("broken.py", line + 1)]
