"""What a plugin writes its entries with: the entries of the product's own registries. See docs/plugins.md."""

from cifar_tune.knobs.augmentations import AugmentationPart
from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.losses import LossPart
from cifar_tune.knobs.metrics import MetricPart
from cifar_tune.knobs.models import ModelPart
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.schedules import SchedulePart

__all__ = ["AugmentationPart", "Kind", "Knob", "LossPart", "MetricPart", "ModelPart", "Part", "SchedulePart"]
