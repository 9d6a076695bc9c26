"""The learning-rate schedules. A new one is one entry here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class SchedulePart(Part):
    """A schedule: a class of `torch.optim.lr_scheduler`.

    Attributes:
        per: the scheduler is stepped after every optimizer step, or after every epoch.
        length_argument: the argument that receives the length of training, counted in that unit.
        lr_argument: the argument that receives the learning rate, where the class asks for it again.
    """

    per: Literal["step", "epoch"] = "step"
    length_argument: str | None = None
    lr_argument: str | None = None


SCHEDULES: Mapping[str, SchedulePart] = {
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
    "cosine": SchedulePart(
        "torch.optim.lr_scheduler:CosineAnnealingLR",
        "half a cosine from lr to eta_min over the whole training (Loshchilov and Hutter 2017)",
        arguments={"eta_min": "eta_min"},
        length_argument="T_max",
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
}
