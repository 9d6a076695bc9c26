"""What the database has of a trial, compared with what it should have."""

import json
from typing import Any

from optuna.trial import FrozenTrial


def is_what_was_sent(stored: FrozenTrial, sent: FrozenTrial) -> bool:
    """Whether a trial of the database is a new one that was sent there, be it without an answer."""
    return (
        stored.state == sent.state
        and stored.params == sent.params
        and stored.intermediate_values.keys() == sent.intermediate_values.keys()
        and _plain(stored.user_attrs) == _plain(sent.user_attrs)
        and _plain(stored.system_attrs) == _plain(sent.system_attrs)
    )


def lacks_something(stored: FrozenTrial, ours: FrozenTrial) -> bool:
    """Whether a trial of the database, which can still be changed there, is not yet what it is in memory."""
    if stored.state.is_finished():
        return False
    return (
        stored.state != ours.state
        or not stored.params.keys() >= ours.params.keys()
        or not stored.intermediate_values.keys() >= ours.intermediate_values.keys()
        or _plain(stored.user_attrs | ours.user_attrs) != _plain(stored.user_attrs)
        or _plain(stored.system_attrs | ours.system_attrs) != _plain(stored.system_attrs)
    )


def _plain(attrs: dict[str, Any]) -> str:
    """A text that is the same for the same values, NaN among them."""
    return json.dumps(attrs, sort_keys=True)
