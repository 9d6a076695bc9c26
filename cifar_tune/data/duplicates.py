"""Equal images in different splits: what is learned by heart would be taken for what is understood.

Training and validation images are compared as they were decoded. Test images stay closed: of their files, only those
are read that are as long as a training or validation file, and only a hash of their bytes is taken. No test image is
decoded, no label of one is looked at, and what is reported names training and validation images alone.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.source_table import SOURCES
from cifar_tune.data.sources.part import SplitFiles
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.wording import counted

SECONDS = 10.0
"""How long each comparison may take; what is left then is not compared, and that is said."""

_DIGEST = 16


def duplicate_lines(spec: DataSpec, prepared: PreparedData, seconds: float = SECONDS) -> Iterator[str]:
    """Lines for people about equal images; notes where they do harm."""
    yield from _decoded(prepared, _clock(seconds))
    module = import_module(SOURCES[spec.name].target.partition(":")[0])
    find: Callable[[DataSpec], SplitFiles] | None = getattr(module, "split_files", None)
    if find is None:
        return
    try:
        files = find(spec)
    except UserError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        yield f"equal files: nothing was compared with the test files, which are closed here ({error})"
    else:
        yield from _with_test_files(files, _clock(seconds))


def _clock(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _decoded(prepared: PreparedData, is_over: Callable[[], bool]) -> Iterator[str]:
    images = prepared.open_images()
    # validation first: where the time does not suffice for all, these are the ones that matter
    rows = [*map(int, prepared.val_indices), *map(int, prepared.train_indices)]
    is_validation = set(map(int, prepared.val_indices))
    first: dict[bytes, int] = {}
    across: list[tuple[int, int]] = []
    contrary: list[tuple[int, int]] = []
    repeated = compared = 0
    for row in rows:
        if is_over():
            break
        compared += 1
        digest = hashlib.blake2b(images[row].tobytes(), digest_size=_DIGEST).digest()
        other = first.setdefault(digest, row)
        if other == row:
            continue
        repeated += 1
        if prepared.labels[other] != prepared.labels[row]:
            contrary.append((row, other))
        elif (other in is_validation) != (row in is_validation):
            across.append((row, other))
    yield (
        f"equal images (by their pixels, once decoded): {repeated:,} of {len(rows):,} training and validation images "
        f"repeat another one{_unfinished(len(rows) - compared)}"
    )
    if across:
        verb = "is" if len(across) == 1 else "are"
        yield (
            f"note: {counted(len(across), 'training image')} {verb} also in the validation split"
            f"{_such_as(prepared, across[0])}: the validation accuracy would be too good; take them out of one of the "
            f"two"
        )
    if contrary:
        verb = "equals" if len(contrary) == 1 else "equal"
        yield (
            f"note: {counted(len(contrary), 'image')} {verb} an image of another class"
            f"{_such_as(prepared, contrary[0])}: one of the two labels is wrong"
        )


def _unfinished(left: int) -> str:
    return f"; {left:,} were not compared, since that takes too long" if left else ""


def _such_as(prepared: PreparedData, rows: tuple[int, int]) -> str:
    if not prepared.paths:
        return ""
    return f" (such as {prepared.paths[rows[0]]}, which is {prepared.paths[rows[1]]})"


def _with_test_files(files: SplitFiles, is_over: Callable[[], bool]) -> Iterator[str]:
    by_size: dict[int, list[str]] = {}
    closed = 0
    for path in files.test:
        try:
            by_size.setdefault((files.root / path).stat().st_size, []).append(path)
        except OSError:
            closed += 1
    known = [(path, (files.root / path).stat().st_size) for path in files.known]
    candidates = [(path, size) for path, size in known if size in by_size]
    tests: dict[int, set[bytes]] = {}
    equal: list[str] = []
    compared = 0
    for path, size in candidates:
        if is_over():
            break
        if size not in tests:
            tests[size] = set()
            for each in by_size[size]:
                try:
                    tests[size].add(_hash(files.root / each))
                except OSError:
                    closed += 1
        compared += 1
        if _hash(files.root / path) in tests[size]:
            equal.append(path)
    hidden = f"; {counted(closed, 'test file')} cannot be read here, and only finalize needs to" if closed else ""
    yield (
        f"equal files (by their bytes; no test image was decoded): {len(equal):,} of {len(known):,} training and "
        f"validation files are test files too{_unfinished(len(candidates) - compared)}{hidden}"
    )
    if equal:
        verb = "is" if len(equal) == 1 else "are"
        yield (
            f"note: {counted(len(equal), 'training or validation file')} {verb} also in the test split (such as "
            f"{equal[0]}): what finalize measures would be too good; take them out of training and validation"
        )


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST)).digest()
