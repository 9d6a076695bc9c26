"""What `--workers auto` would be, for `cifar-tune check`."""

from collections.abc import Iterator, Sequence

from cifar_tune.executors.local import cpu_workers
from cifar_tune.study.run import auto_executors
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.device import resolve_device


def auto_workers_lines(spec: StudySpec, devices: Sequence[str]) -> Iterator[str]:
    """The decision with its figures; GPUs are tried for some seconds, by the very executors that `run` starts.

    The images must have been decoded.

    Raises:
        UserError: a device cannot be used.
    """
    threads = spec.largest_threads
    if [resolve_device(name).type for name in devices] == ["cpu"]:
        workers = cpu_workers(threads)
        yield f"--workers auto: {workers} at a time, by cores and the largest `threads` ({threads})"
        return
    notes: list[str] = []
    executors = auto_executors(spec, devices, notes.append)
    try:
        executors.wait_for_start(spec.data, "", lambda: None)
        yield from notes or [f"--workers auto: {executors.workers} at a time, one per device"]
    finally:
        executors.close(lambda: True)
