"""The learning-rate schedules. A new one is one entry here."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class SchedulePart(Part):
    """A schedule: a class of `torch.optim.lr_scheduler`.

    Attributes:
        per: the scheduler is stepped after every optimizer step, or after every epoch.
        length_argument: the argument that receives the length of training, counted in that unit.
        lr_argument: the argument that receives the learning rate, where the class asks for it again.
        epochs_arguments: arguments that come in epochs and are turned into steps.
        shares_argument: an argument that comes as shares of training and is turned into steps.
        watches_loss: it is told the validation loss of each epoch.
    """

    per: Literal["step", "epoch"] = "step"
    length_argument: str | None = None
    lr_argument: str | None = None
    epochs_arguments: tuple[str, ...] = ()
    shares_argument: str | None = None
    watches_loss: bool = False


_BUILT_IN: Mapping[str, SchedulePart] = {
    "constant": SchedulePart(
        "torch.optim.lr_scheduler:ConstantLR",
        "the learning rate does not change",
        constants={"factor": 1.0, "total_iters": 0},
        per="epoch",
    ),
    "step": SchedulePart(
        "torch.optim.lr_scheduler:StepLR",
        "times gamma every step_size epochs",
        arguments={"step_size": "step_size", "gamma": "gamma"},
        per="epoch",
    ),
    "multistep": SchedulePart(
        "torch.optim.lr_scheduler:MultiStepLR",
        "times gamma at each of up to three milestones, as He et al. 2016 do at 0.5 and 0.75 of training",
        arguments={
            "milestone1": "milestones.0",
            "milestone2": "milestones.1",
            "milestone3": "milestones.2",
            "gamma": "gamma",
        },
        shares_argument="milestones",
    ),
    "exponential": SchedulePart(
        "torch.optim.lr_scheduler:ExponentialLR",
        "times gamma every epoch",
        arguments={"gamma": "gamma"},
        defaults={"gamma": 0.8},
        per="epoch",
    ),
    "plateau": SchedulePart(
        "torch.optim.lr_scheduler:ReduceLROnPlateau",
        "times gamma where the validation loss has not fallen for more than plateau_patience epochs",
        arguments={"gamma": "factor", "plateau_patience": "patience"},
        defaults={"gamma": 0.5},
        per="epoch",
        watches_loss=True,
    ),
    "cosine": SchedulePart(
        "torch.optim.lr_scheduler:CosineAnnealingLR",
        "half a cosine from lr to eta_min over the whole training (Loshchilov and Hutter 2017)",
        arguments={"eta_min": "eta_min"},
        length_argument="T_max",
    ),
    "cosine_restarts": SchedulePart(
        "torch.optim.lr_scheduler:CosineAnnealingWarmRestarts",
        "cosines from lr to eta_min, the first of t_0 epochs, each t_mult times the last (Loshchilov and Hutter 2017)",
        arguments={"t_0": "T_0", "t_mult": "T_mult", "eta_min": "eta_min"},
        epochs_arguments=("T_0",),
    ),
    "cyclic": SchedulePart(
        "torch.optim.lr_scheduler:CyclicLR",
        "up from base_lr to lr in step_size epochs, down in as many, and again: triangles (Smith 2017)",
        arguments={"base_lr": "base_lr", "step_size": "step_size_up"},
        defaults={"step_size": 2},
        constants={"cycle_momentum": False},
        lr_argument="max_lr",
        epochs_arguments=("step_size_up",),
    ),
    "one_cycle": SchedulePart(
        "torch.optim.lr_scheduler:OneCycleLR",
        "up from lr / div_factor to lr, then down by a cosine (Smith and Topin 2018)",
        arguments={
            "pct_start": "pct_start",
            "div_factor": "div_factor",
            "final_div_factor": "final_div_factor",
        },
        constants={"cycle_momentum": False},
        length_argument="total_steps",
        lr_argument="max_lr",
    ),
    "triangular": SchedulePart(
        "torch.optim.lr_scheduler:OneCycleLR",
        "as one_cycle, but in straight lines, and neither beginning nor ending near zero (Jordan 2024)",
        arguments={
            "pct_start": "pct_start",
            "div_factor": "div_factor",
            "final_div_factor": "final_div_factor",
        },
        defaults={"pct_start": 0.23, "div_factor": 5.0, "final_div_factor": 3.0},
        constants={"cycle_momentum": False, "anneal_strategy": "linear"},
        length_argument="total_steps",
        lr_argument="max_lr",
    ),
}

SCHEDULES: Mapping[str, SchedulePart] = MappingProxyType(_BUILT_IN)
