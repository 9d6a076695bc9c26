"""Submissions, events and tokens, as people and as programs see them."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from cifar_tune.service.audit import Event
from cifar_tune.service.people import Token
from cifar_tune.service.submissions import SoFar, Submission
from cifar_tune.visible import visible
from cifar_tune.wording import counted, metric_figure, rough_duration

_ON_THE_WAY = {"pause": "pausing", "cancel": "ending"}


def submission_json(submission: Submission) -> dict[str, Any]:
    """All that is known of a submission but its text."""
    return {key: value for key, value in asdict(submission).items() if key not in ("text", "notes")}


def event_json(event: Event) -> dict[str, Any]:
    """All that is known of an event."""
    return asdict(event)


def token_json(token: Token) -> dict[str, Any]:
    """All that may be known of a token."""
    return asdict(token)


def state_words(submission: Submission) -> str:
    """What it does, in a word."""
    return _ON_THE_WAY.get(submission.wanted, "running") if submission.state == "running" else submission.state


def queue_lines(submissions: Sequence[Submission]) -> list[str]:
    """A table of submissions, with why each one waits."""
    now = time.time()
    rows = [("", "study", "owner", "state", "trials", "best", "priority", "workers", "since", "")]
    for each in submissions:
        since = each.ended_at or (
            each.waiting_since if each.state == "queued" else each.started_at or each.submitted_at
        )
        why = (each.waits if each.state == "queued" else each.message) or ""
        rows.append(
            (
                "" if each.position is None else str(each.position),
                each.study,
                each.owner,
                state_words(each),
                _trials(each),
                best_words(each.so_far),
                str(each.priority),
                "all" if each.workers is None else str(each.workers),
                rough_duration(max(0.0, now - since)),
                why.split("\n")[0],
            )
        )
    return table(rows)


def best_words(so_far: SoFar | None) -> str:
    """`val_accuracy 0.9433`; empty where nothing has been found yet."""
    if so_far is None or so_far.best is None:
        return ""
    return f"{so_far.metric} {metric_figure(so_far.best)}"


def _trials(submission: Submission) -> str:
    finished = None if submission.so_far is None else submission.so_far.finished
    return "" if finished is None else f"{finished:,}/{submission.trials:,}"


def event_lines(events: Sequence[Event]) -> list[str]:
    """A line for each event."""
    rows = []
    for each in events:
        done = f"{each.action} {each.target or ''}".rstrip()
        why = str(each.detail.get("why", "")).split("\n")[0]
        times, others = each.detail.get("times", 1), each.detail.get("others", 0)
        often = [f"{times} times"] * (times > 1) + [f"and {others} others"] * bool(others)
        outcome = f"{each.outcome} ({', '.join(often)})" if often else each.outcome
        outcome = f"{outcome}: {why}" if why else outcome
        rows.append((str(each.id), date_and_time(each.at), each.actor, done, outcome))
    return table(rows)


def token_lines(tokens: Sequence[Token]) -> list[str]:
    """A table of tokens."""
    now = time.time()
    rows = [("token", "owner", "role", "label", "made", "last used", "expires")]
    for each in tokens:
        end = "never" if each.expires_at is None else date_and_time(each.expires_at)
        if each.revoked_at is not None:
            end = "revoked"
        elif not each.is_valid(now):
            end = "expired"
        used = "never" if each.used_at is None else date_and_time(each.used_at)
        rows.append((str(each.id), each.owner, each.role, each.label, date_and_time(each.created_at), used, end))
    return table(rows)


def numbers_of(submissions: Sequence[Submission]) -> str:
    """`2 running, 1 queued`."""
    states = [each.state for each in submissions]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{counted(len(states), 'submission')}: {counts}"


def date_and_time(seconds: float) -> str:
    """In local time, to the second."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with columns below each other; what nobody could see is shown."""
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))] if shown else []
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
