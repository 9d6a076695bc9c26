"""What counts of a plugin's text: its code, not its comments."""

import pytest

from cifar_tune.plugins.meaning import meaning_of

CODE = '''"""A module."""

import math


class Own:
    """A class."""

    size = 1_000

    def half(self, value: float) -> float:
        """A method."""
        return value * 0.5 + math.pi  # a comment


PARTS = {"own": Own}
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another one"),
        ('"""A module."""\n', ""),
        ('"""A method."""', '"""Half of it."""'),
        ('        """A method."""\n', ""),
        ("1_000", "1000"),
        ("0.5", "5e-1"),
        ('{"own": Own}', "{\n    'own': Own,\n}"),
        ("value * 0.5", "(value * 0.5)"),
        ("\n\n\n", "\n"),
        ("\n", "\r\n"),
    ],
)
def test_the_same(old: str, new: str) -> None:
    changed = CODE.replace(old, new)
    assert changed != CODE
    assert meaning_of(changed) == meaning_of(CODE) != ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("1_000", "1_000.0"),
        ("1_000", "True"),
        ("value *", "value /"),
        ("math.pi", "math.e"),
        ('"own"', '"other"'),
        ('"own"', 'b"own"'),
        ("def half", "async def half"),
        ("value: float", "value: float = 1.0"),
        ("import math", "import cmath as math"),
    ],
)
def test_not_the_same(old: str, new: str) -> None:
    changed = CODE.replace(old, new)
    assert changed != CODE
    assert meaning_of(changed) != meaning_of(CODE)


def test_docstrings_count_where_they_are_read() -> None:
    reading = CODE + "WORDS = Own.__doc__\n"
    assert meaning_of(reading) != meaning_of(reading.replace("A class", "Another class"))


@pytest.mark.parametrize(
    "code", ["import inspect\nx = inspect.getsource(f)", "from inspect import getcomments", "f.__code__.co_firstlineno"]
)
def test_code_that_reads_its_own_text_has_no_meaning_but_its_text(code: str) -> None:
    assert meaning_of(code) == ""


def test_text_that_is_no_code_has_no_meaning() -> None:
    assert meaning_of("x = (\n") == meaning_of("\0") == ""


def test_it_is_kept_in_databases_and_so_never_changes() -> None:
    assert meaning_of("x = 1\n") == EXPECTED


EXPECTED = "ea93d07096c51dc76bfef258f246358db311331194316ce75d2182f331f82f42"
