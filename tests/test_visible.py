"""Text of others, as people see it."""

import io
import json
import subprocess
import sys

import pytest
import yaml
from rich.console import Console

from cifar_tune.errors import Problem, UserError
from cifar_tune.visible import visible, visible_drawing, visible_json, visible_lines

HOSTILE = "a\x1b[31m\x1b]0;title\x07\r\n\x9b2J\u202eb\u2066\u2028\x7f\ufeff\ud800\0c"
SHOWN = r"a\x1b[31m\x1b]0;title\x07\r\n\x9b2J\u202eb\u2066\u2028\x7f\ufeff\ud800\x00c"
PLAIN = "café naïve 猫　犬 \N{WAVING HAND SIGN} می\u200cخواهم [1;2H 100 %"  # noqa: RUF001 (letters of another script)


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible_lines(HOSTILE) == SHOWN.replace(r"\n", "\n")


@pytest.mark.parametrize("seen", [visible, visible_lines, visible_drawing, visible_json])
def test_text_in_any_script_stays_as_it_is(seen: object) -> None:
    assert callable(seen)
    assert seen(PLAIN) == PLAIN


def test_json_with_escapes_has_the_same_values() -> None:
    values = {HOSTILE: [HOSTILE, "\U000e0001"], "name": PLAIN}
    text = visible_json(json.dumps(values, ensure_ascii=False, indent=2))
    assert visible_lines(text) == text
    assert json.loads(text) == values
    assert PLAIN in text


def test_yaml_in_quotes_with_escapes_has_the_same_values() -> None:
    value = "a\u202eb\U000e0001\u2028"
    assert yaml.safe_load(visible_lines(f'"{value}"')) == value


def test_what_rich_draws_keeps_its_colours_and_loses_the_rest() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print("[red]x[/red]")
    assert visible_drawing(captured.get()) == captured.get()
    assert visible_drawing("\x1b[2K\x1b[1A\r\x1b[?25l") == "\x1b[2K\x1b[1A\r\x1b[?25l"
    assert visible_drawing("\x1b]8;;x\x1b\\\x1b[6n\x1bc\x07\x9b") == r"\x1b]8;;x\x1b\\x1b[6n\x1bc\x07\x9b"


def test_a_problem_is_one_line() -> None:
    problem = Problem(f"no study {HOSTILE}", HOSTILE, source=HOSTILE)
    assert str(UserError([problem, problem])).split("\n") == [f"{SHOWN}: {SHOWN}: no study {SHOWN}"] * 2


def test_further_lines_of_a_problem_are_lines_of_their_own() -> None:
    assert str(Problem("one of", key="k", more=(f"  - {HOSTILE}", "  - b"))) == f"k: one of\n  - {SHOWN}\n  - b"
    assert str(UserError("differs:\n  a -> b")) == "differs:\n  a -> b"


PRINTS = f"""
import sys
from cifar_tune.streams import drawing_stream, guard_streams, say
from rich.console import Console
guard_streams()
print({HOSTILE!r})
say({HOSTILE!r}, err=True)
sys.stderr.writelines([{HOSTILE!r}, "\\n"])
Console(force_terminal=True, color_system="standard").print("[red]one[/red]")
Console(file=drawing_stream(sys.stdout), force_terminal=True, color_system="standard").print("[red]two[/red]")
"""


def test_the_guarded_streams_write_nothing_else() -> None:
    ended = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, check=True)
    lines = SHOWN.replace(r"\n", "\n")
    assert ended.stdout.decode() == f"{lines}\n\x1b[31mone\x1b[0m\n\x1b[31mtwo\x1b[0m\n"
    assert ended.stderr.decode() == f"{SHOWN}\n{lines}\n"
