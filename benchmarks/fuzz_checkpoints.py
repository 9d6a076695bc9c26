"""Malformed checkpoints: a real one damaged in its bytes or in its content, foreign files, and files that attack.

Most of them get the digest that they should have: without it no checkpoint is looked into.
"""

import io
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.trees import places, value_at
from cifar_tune.training.checkpoint import first_line

State = dict[str, Any]


def malformed_checkpoint(draw: random.Random, content: bytes, state: State, canary: Path) -> bytes:
    """One malformed checkpoint, or by chance a right one.

    Args:
        draw: decides.
        content: of a real one.
        state: what that holds.
        canary: a file that a checkpoint may try to create.
    """
    kind = draw.random()
    if kind < 0.2:
        return _damaged(draw, content)
    archive = content.partition(b"\n")[2]
    if kind < 0.4:
        return sealed(_damaged(draw, archive))
    if kind < 0.75:
        return sealed(saved(_changed(draw, state)))
    made = draw.choice(_MADE)(draw, archive, state, canary)
    return sealed(made) if draw.random() < 0.8 else made


def sealed(content: bytes) -> bytes:
    """A checkpoint file of this content, whose digest is right."""
    return first_line(content) + content


def saved(state: object, **options: Any) -> bytes:
    """The bytes that torch writes of anything."""
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def _damaged(draw: random.Random, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8, 50))):
        at = draw.randrange(len(found)) if found else 0
        # small things stand at both ends: the pickled structure, and the directory of the archive
        at = draw.choice((at, min(at, 2_000), max(0, len(found) - 1 - draw.randrange(3_000))))
        match draw.randrange(6):
            case 0:
                del found[at:]
            case 1:
                found[at : at + draw.choice((1, 4, 100))] = draw.randbytes(draw.choice((0, 1, 4, 100)))
            case 2:
                found[at : at + 50] = bytes(50)
            case 3:
                found += draw.randbytes(draw.choice((1, 22, 500)))
            case _ if found:
                found[min(at, len(found) - 1)] ^= 1 << draw.randrange(8)
    return bytes(found)


def _changed(draw: random.Random, state: State) -> State:
    changed: Any = deepcopy(state)
    for _ in range(draw.choice((1, 1, 2, 4))):
        inside = places(changed)
        if not inside:
            break
        path = draw.choice(inside)
        parent = value_at(changed, path[:-1])
        if isinstance(parent, tuple):
            continue
        match draw.randrange(4):
            case 0:
                del parent[path[-1]]
            case 1 if isinstance(parent, dict):
                parent[draw.choice(("x", 0, 99, None, "model", "results"))] = parent.pop(path[-1])
            case _:
                parent[path[-1]] = _value(draw, parent[path[-1]])
    return {str(key): value for key, value in changed.items()}


def _value(draw: random.Random, old: Any) -> Any:
    if isinstance(old, Tensor) and draw.random() < 0.7:
        return draw.choice((
            lambda: old[:0] if old.dim() else old.reshape(1), old.double, lambda: old.to(torch.int8),
            lambda: old.unsqueeze(0), lambda: old.float() * float("nan"), lambda: old.float() + float("inf"),
            lambda: old.to(torch.complex64), old.flatten, lambda: old.float().to_sparse(),
            lambda: old.reshape(-1)[:1].expand(1000, 1000), lambda: old.to("meta"), lambda: old.t() if old.dim() == 2
            else old.transpose(0, -1) if old.dim() > 1 else old, lambda: old.to(torch.bool),
        ))()  # fmt: skip
    nested: Any = []
    for _ in range(draw.choice((2, 60))):
        nested = (nested, nested) if draw.random() < 0.5 else [nested, nested]
    return draw.choice((
        None, True, 0, -1, 10**30, 0.5, float("nan"), float("inf"), "", "x" * 3000, [], {}, (), [[]], {"x": {}},
        {(1, 2): 3}, nested, torch.zeros(0), torch.zeros(3, 3), b"bytes", {1, 2}, torch.float16, torch.device("cpu"),
        [{"epoch": 1}], [{}] * 500, torch.zeros(2, dtype=torch.complex64), torch.Size([1]),
    ))  # fmt: skip


class _Attack:
    """Unpickled by pickle itself, it creates the canary."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def _attack(draw: random.Random, canary: Path) -> object:
    import os  # noqa: PLC0415 (beside what it is used for)

    return draw.choice((
        _Attack(os.system, f"touch {canary}"), _Attack(eval, f"open({str(canary)!r}, 'w')"),
        _Attack(open, str(canary), "w"), _Attack(getattr, "torch", "load"), _Attack(__import__, "antigravity"),
    ))  # fmt: skip


def _executing(draw: random.Random, content: bytes, state: State, canary: Path) -> bytes:
    attack = _attack(draw, canary)
    match draw.randrange(4):
        case 0:
            return pickle.dumps(attack)
        case 1:
            return saved(state | {draw.choice(list(state)): attack})
        case 2:
            return saved(attack, _use_new_zipfile_serialization=False)
    payload = pickle.dumps(attack, protocol=draw.choice((0, 2, 4)))
    return _with_record(content, "data.pkl", payload)


def _with_record(content: bytes, name: str, payload: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with another content of one record."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(buffer, "w", compression) as after:
        for entry in before.infolist():
            record = payload if entry.filename.endswith(name) else before.read(entry)
            after.writestr(entry.filename, record)
    return buffer.getvalue()


def _bomb(draw: random.Random, content: bytes, _state: State, _canary: Path) -> bytes:
    zeros = bytes(draw.choice((1, 30)) * 1_000_000)
    if draw.random() < 0.5:
        return _with_record(
            content, draw.choice(("data/0", "data/1", "data.pkl", "version")), zeros, zipfile.ZIP_DEFLATED
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(draw.choice((1, 50))):
            archive.writestr(f"archive/data/{number}", zeros[:1_000_000])
    return buffer.getvalue()


def _wrong_record(draw: random.Random, content: bytes, _state: State, _canary: Path) -> bytes:
    name = draw.choice(("data/0", "data/1", "data.pkl", "version", "byteorder", "data/3"))
    payload = draw.choice(
        (b"", b"\0" * 8, b"big", b"999999999999", draw.randbytes(64), b"\x80\x02.", b"\x80\x02]q\0" * 999)
    )
    return _with_record(content, name, payload)


def _opcodes(draw: random.Random, content: bytes, _state: State, _canary: Path) -> bytes:
    """A valid archive whose pickled structure is damaged: its checksum is right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith("data.pkl"))
        pickled = archive.read(name)
    return _with_record(content, "data.pkl", _damaged(draw, pickled))


def _foreign(draw: random.Random, _content: bytes, state: State, _canary: Path) -> bytes:
    module = torch.nn.Linear(2, 2)
    return draw.choice((
        lambda: saved({"weights": torch.zeros(3)}), lambda: saved([1, 2]), lambda: saved(module.state_dict()),
        lambda: saved(module), lambda: saved(torch.zeros(3)), lambda: saved(None), lambda: saved("text"),
        lambda: saved(state, _use_new_zipfile_serialization=False), lambda: pickle.dumps(state["results"]),
        lambda: _jit(module), _tar, lambda: b"", lambda: b"PK\5\6" + bytes(18), lambda: b"name: x\n",
        lambda: draw.randbytes(5_000),
        lambda: b"\x80\x02" + b"(" * 100_000, lambda: saved(state | {"plugins": draw.choice((None, ["0"], [1], "0"))}),
        lambda: sealed(saved(state)), lambda: first_line(b"") + saved(state), lambda: first_line(saved(state)),
    ))()  # fmt: skip


def _jit(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 2)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
    return buffer.getvalue()


_MADE: tuple[Callable[[random.Random, bytes, State, Path], bytes], ...] = (
    _executing, _executing, _bomb, _wrong_record, _opcodes, _opcodes, _foreign, _foreign,
)  # fmt: skip
