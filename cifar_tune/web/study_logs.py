"""What the runs of a submission have said: a file for each, beside the artifacts."""

from cifar_tune.files import open_regular
from cifar_tune.service.runs import log_file
from cifar_tune.service.submissions import Submission

_MOST_BYTES = 65_536


def read_log(submission: Submission, offset: int) -> tuple[str, int]:
    """The log from this byte on.

    Returns:
        Whole lines as long as there are any, and where the next part begins.
    """
    try:
        with open_regular(log_file(submission.id)) as file:
            size = file.seek(0, 2)
            file.seek(min(offset, size))
            content = file.read(_MOST_BYTES)
    except OSError:  # it has not begun, or ran on another machine
        return "", offset
    if len(content) == _MOST_BYTES and b"\n" in content:
        content = content[: content.rindex(b"\n") + 1]
    return content.decode(errors="replace"), min(offset, size) + len(content)
