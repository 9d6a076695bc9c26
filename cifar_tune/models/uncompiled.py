"""Trains and counts without `torch._dynamo`, the part of torch that follows Python code for `torch.compile`.

torch imports it where an optimizer is called for the first time, or a model on the meta device, only to tell it that it
should not follow what is called. That takes more than one CPU second and 150 MB in each process. The names here are
private to torch, so `tests/models/test_uncompiled.py` tries them on the torch that is installed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, wraps
from inspect import getclosurevars, unwrap
from types import CellType, FunctionType
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils import flop_counter

COMPILER = "torch._dynamo"


@cache  # once per process
def leave_compiler_out() -> None:
    """Let torch's optimizers, its meta device and its counter of operations do without the compiler.

    This holds from now on in this process. They compute the same. A model may still be compiled afterwards, and imports
    the compiler then: what is changed here is called outside of what is compiled. All stays as it is where the compiler
    has been imported before, and where torch does this in another way.

    Relies on how `torch._disable_dynamo` wraps functions, and calls what it finds in their attribute
    `__dynamo_disable`; on how `torch.optim.optimizer._use_grad_for_differentiable` wraps the `step` of an optimizer;
    and on where torch keeps such functions: `torch._decomp.global_decomposition_table`, `torch._refs` and
    `torch.utils.flop_counter._FlopCounterMode`.
    """
    if COMPILER in sys.modules:
        return
    for function in _with_those_inside(_called_early()):
        if _is_made_by("_disable_dynamo", function):
            plain = getclosurevars(function).nonlocals.get("fn")
            if isinstance(plain, FunctionType):
                vars(plain)["__dynamo_disable"] = plain
    for kind in vars(torch.optim).values():
        step = vars(kind).get("step") if isinstance(kind, type) else None
        if step is not None and _is_made_by("_use_grad_for_differentiable", step):
            kind.step = _differentiable_if_asked(unwrap(step))


def _called_early() -> Iterator[object]:
    """Functions that a training calls, and others."""
    tables = getattr(getattr(torch, "_decomp", None), "global_decomposition_table", {})
    references = getattr(torch, "_refs", None)
    kinds = (Optimizer, getattr(flop_counter, "_FlopCounterMode", None), references)
    for place in (*tables.values(), *(vars(kind) for kind in kinds if kind is not None)):
        yield from place.values()


def _with_those_inside(given: Iterable[object]) -> Iterator[FunctionType]:
    """The functions among these, and all that they wrap or hold."""
    found: set[object] = set()
    waiting = list(given)
    while waiting:
        function = waiting.pop()
        if isinstance(function, FunctionType) and function not in found:
            found.add(function)
            yield function
            waiting += [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]


def _is_made_by(decorator: str, function: object) -> bool:
    return isinstance(function, FunctionType) and function.__code__.co_qualname.startswith(f"{decorator}.<locals>.")


def _differentiable_if_asked(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step of an optimizer, with gradients only if it was built with `differentiable`."""

    @wraps(step)
    def stepped(self: Optimizer, *args: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **options)

    return stepped
