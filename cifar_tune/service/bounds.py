"""What people may ask for when they submit or change a study, however much they may do."""

from collections.abc import Sequence

from cifar_tune.errors import Problem, UserError
from cifar_tune.service.addresses import problems_of

MOST_PRIORITY = 1000
"""Priorities lie between this and its negative."""

MOST_WORKERS = 10_000


def require_sound(priority: int = 0, workers: int | None = None, notify: Sequence[str] = ()) -> None:
    """Refuse what makes no sense: a priority, a number of workers, or addresses to tell.

    Raises:
        UserError: with all that is wrong.
    """
    problems = []
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        problems.append(Problem(f"must be between -{MOST_PRIORITY} and {MOST_PRIORITY}", "priority", priority))
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        problems.append(Problem(f"must be between 1 and {MOST_WORKERS}", "workers", workers))
    problems += problems_of(notify)
    if problems:
        raise UserError(problems)
