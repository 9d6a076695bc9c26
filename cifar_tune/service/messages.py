"""What people are told of a study, by the server and by a plain run alike: sentences, and the same for programs."""

from dataclasses import asdict, dataclass

from cifar_tune.service.addresses import Message
from cifar_tune.service.submissions import Submission
from cifar_tune.wording import metric_figure, rough_duration


@dataclass(frozen=True, slots=True)
class About:
    """What a message is about, as its JSON has it.

    Attributes:
        study: its name.
        owner: who submitted it, or runs it.
        submission: its number; None of a plain run.
        exit_code: of the run, once it has ended.
        message: how it ended.
        waits: why it waits.
    """

    study: str
    owner: str
    submission: int | None = None
    exit_code: int | None = None
    message: str | None = None
    waits: str | None = None


def about(found: Submission) -> About:
    """What a message on a submission is about."""
    return About(found.study, found.owner, found.id, found.exit_code, found.message, found.waits)


def end_message(key: str, about: About, state: str) -> Message:
    """It has ended: `done`, `failed` or `cancelled`."""
    text = f"The study {about.study} has ended: {state}{f' ({about.message})' if about.message else ''}."
    return Message(key, f"{about.study}: {state}", text, {"what": state, **asdict(about)})


def best_message(key: str, about: About, metric: str, value: float, trial: int) -> Message:
    """It has a new best trial."""
    text = f"The study {about.study} has a new best: {metric} {metric_figure(value)} in trial {trial}."
    detail = {"what": "best", **asdict(about), "metric": metric, "value": value, "trial": trial}
    return Message(key, f"{about.study}: new best", text, detail)


def waiting_message(key: str, about: About, seconds: float) -> Message:
    """It has been waiting for so many seconds."""
    why = f": {about.waits}" if about.waits else ""
    text = f"The study {about.study} has been waiting for {rough_duration(seconds)}{why}."
    return Message(key, f"{about.study} waits", text, {"what": "waits", **asdict(about)})
