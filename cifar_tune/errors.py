"""What went wrong, said to people: where, which key, which value, which rule, and the nearest right thing."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from itertools import takewhile
from types import TracebackType

from cifar_tune.synonyms import same_thing
from cifar_tune.visible import visible


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the user's input.

    `key` is a dotted path such as `search_space.lr.low`; `line` counts from 1, None where no file has it. `more` are
    further lines of the message, such as a list.
    """

    rule: str
    key: str | None = None
    value: object = None
    source: str | None = None
    line: int | None = None
    nearest: str | None = None
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = self.source or ""
        if self.line is not None:
            place += f":{self.line}"
        parts = [part for part in (place, self.key) if part]
        text = ": ".join(parts)
        if self.value is not None:
            text += f" = {_shown(self.value)}"
        text = f"{text}: {self.rule}" if text else self.rule
        if self.nearest:
            text += f" (did you mean {self.nearest!r}?)"
        return "\n".join(map(visible, (text, *self.more)))


class CifarTuneError(Exception):
    """Anything that ends a command with a message instead of a traceback."""

    exit_code = 1


class CheckError(CifarTuneError):
    """A check failed, or a study ended without one completed trial (exit code 1)."""


class DamagedError(CheckError):
    """What the database holds makes no sense: a disk, a copy that was cut short or another program changed it."""


class UnexpectedError(CifarTuneError):
    """Something that nobody foresaw, most likely a fault of this program; its cause says where it happened."""


class UserError(CifarTuneError):
    """The user's input is wrong (exit code 2). Carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            first, *more = problems.split("\n")
            problems = Problem(first, more=tuple(more))
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Stage(AbstractContextManager[None]):
    """One of several blocks whose errors do not depend on each other; see `all_at_once`."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def __enter__(self) -> None:
        """Begin a block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Remember what a user got wrong; everything else ends the whole."""
        if isinstance(error, UserError):
            self.problems += [problem for problem in error.problems if problem not in self.problems]
        return isinstance(error, UserError)


@contextmanager
def all_at_once() -> Iterator[Stage]:
    """Report the mistakes of several blocks together: each block runs `with` what this yields.

    Raises:
        UserError: at the end, with the problems of all blocks.
    """
    stage = Stage()
    yield stage
    if stage.problems:
        raise UserError(stage.problems)


def last_line(error: str | None) -> str:
    """The line of an error, or of a traceback, that says most: its last one; empty where there is none."""
    return (error or "").strip().rpartition("\n")[2].strip()


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The entry of `names` that `name` was most likely meant to be, by its meaning or by its letters; or None."""
    names = list(names)
    same = same_thing(name, names)
    if same is not None:
        return same
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = get_close_matches(name.lower(), list(by_lower), n=max(1, len(by_lower)), cutoff=0.6)
    listed = [each for each in by_lower if each in found]
    return by_lower[max(listed, key=lambda each: _likeness(name.lower(), each))] if listed else None


def _likeness(name: str, other: str) -> tuple[float, int]:
    """By letters, then by the common beginning. Of equals, `max` takes the first one that it is given."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False))
    return SequenceMatcher(None, other, name).ratio(), len(list(same))


def enumerate_names(names: Sequence[str], last: str = "or") -> str:
    """`a, b or c`, for messages."""
    if len(names) <= 1:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    except Exception:  # noqa: BLE001 (an object of a plugin can do anything)
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."
