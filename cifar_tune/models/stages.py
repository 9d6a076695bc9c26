"""The stages of a network, from the input on: what is frozen together, and learns at one rate."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn


@dataclass
class Stage:
    """A block, or a convolution or linear layer with the norms that follow it."""

    modules: list[nn.Module] = field(default_factory=list)
    parameters: list[nn.Parameter] = field(default_factory=list)

    def add(self, module: nn.Module) -> None:
        """Take one more module in."""
        self.modules.append(module)
        self.parameters += module.parameters()


def stages_of(model: nn.Module) -> list[Stage]:
    """The stages, in the order in which the model defines its modules.

    Sequences of modules are taken apart; any other module is a block. Parameters that belong to the network itself,
    such as the position embeddings of a transformer, are in the first stage.
    """
    stages: list[Stage] = []
    for module in _units(model):
        is_norm = all(parameter.dim() < 2 for parameter in module.parameters())
        if not stages or not is_norm:
            stages.append(Stage())
        stages[-1].add(module)
    known = {id(parameter) for stage in stages for parameter in stage.parameters}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    if others and not stages:
        stages.append(Stage())
    if others:
        stages[0].parameters += others
    return stages


def _units(model: nn.Module) -> Iterator[nn.Module]:
    for child in model.children():
        if next(child.parameters(), None) is None:
            continue
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _units(child)
        else:
            yield child
