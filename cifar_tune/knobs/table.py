"""The table of knobs. Owners stand before the knobs that they own."""

from collections.abc import Mapping

from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.augmentations import AUGMENTATIONS, PADDING_MODES
from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.normalizations import NORMALIZATIONS
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.schedules import SCHEDULES

PRECISIONS: Mapping[str, str] = {
    "auto": "bf16 where the device multiplies it in hardware, else fp32",
    "fp32": "32-bit floats throughout",
    "bf16": "forward and backward pass under bfloat16 autocast; weights and optimizer in fp32",
}

_KNOBS = (
    Knob("model", Kind.NAME, "cnn3", "the network", names=MODELS),
    Knob("width", Kind.INT, 64, "channels of the first stage; the others keep their proportions", low=1, high=65536, owner="model"),
    Knob("activation", Kind.NAME, "relu", "the nonlinearity", names=ACTIVATIONS, owner="model"),
    Knob("negative_slope", Kind.FLOAT, 0.01, "slope of leaky_relu below zero", low=0, high=1, owner="activation"),
    Knob(
        "dropout", Kind.FLOAT, 0.0, "share of features dropped before each linear layer",
        low=0, high=1, high_open=True, owner="model",
    ),
    Knob("optimizer", Kind.NAME, "sgd", "the update rule", names=OPTIMIZERS),
    Knob("lr", Kind.FLOAT, 1e-3, "learning rate; the highest one where the schedule moves it", low=0, low_open=True, owner="optimizer"),
    Knob("momentum", Kind.FLOAT, 0.9, "momentum", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("nesterov", Kind.BOOL, False, "Nesterov momentum; needs momentum > 0", owner="optimizer"),
    Knob("weight_decay", Kind.FLOAT, 0.0, "L2 penalty, or decoupled weight decay (adamw)", low=0, owner="optimizer"),
    Knob("alpha", Kind.FLOAT, 0.99, "decay of the mean square (rmsprop)", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("beta1", Kind.FLOAT, 0.9, "decay of the mean of gradients", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("beta2", Kind.FLOAT, 0.999, "decay of the mean of squared gradients", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("eps", Kind.FLOAT, 1e-8, "added to the denominator", low=0, low_open=True, owner="optimizer"),
    Knob("batch_size", Kind.INT, 128, "images per optimizer step", low=1, high=1_000_000),
    Knob("epochs", Kind.INT, 15, "passes over the training images", low=1, high=1_000_000),
    Knob("schedule", Kind.NAME, "one_cycle", "how the learning rate moves", names=SCHEDULES),
    Knob("step_size", Kind.INT, 10, "epochs between two decays", low=1, high=1_000_000, owner="schedule"),
    Knob("gamma", Kind.FLOAT, 0.1, "factor of each decay", low=0, high=1, low_open=True, owner="schedule"),
    Knob("eta_min", Kind.FLOAT, 0.0, "learning rate at the end", low=0, owner="schedule"),
    Knob("pct_start", Kind.FLOAT, 0.3, "share of the steps in which the learning rate rises", low=0, high=1, owner="schedule"),
    Knob("div_factor", Kind.FLOAT, 25.0, "lr over the first learning rate", low=1, owner="schedule"),
    Knob("final_div_factor", Kind.FLOAT, 1e4, "the first learning rate over the last one", low=1, owner="schedule"),
    Knob("label_smoothing", Kind.FLOAT, 0.0, "share of the target spread evenly over all classes", low=0, high=1, high_open=True),
    Knob("augment", Kind.NAMES, (), "changes drawn anew for every training image in every epoch", names=AUGMENTATIONS),
    Knob("crop_padding", Kind.INT, 4, "pixels of padding on each side for random_crop", low=1, high=16, owner="augment"),
    Knob("crop_padding_mode", Kind.NAME, "zeros", "what random_crop pads with", names=PADDING_MODES, owner="augment"),
    Knob("rotation_degrees", Kind.FLOAT, 15.0, "largest angle of rotation, in degrees, either way", low=0, high=180, owner="augment"),
    Knob("scale_range", Kind.FLOAT, 0.2, "largest change of size by scale, as a share", low=0, high=1, high_open=True, owner="augment"),
    Knob("brightness", Kind.FLOAT, 0.4, "largest change of brightness, as a share", low=0, high=1, owner="augment"),
    Knob("contrast", Kind.FLOAT, 0.4, "largest change of contrast, as a share", low=0, high=1, owner="augment"),
    Knob("saturation", Kind.FLOAT, 0.4, "largest change of saturation, as a share", low=0, high=1, owner="augment"),
    Knob("hue", Kind.FLOAT, 0.1, "largest turn of the colour circle, in whole turns, either way", low=0, high=0.5, owner="augment"),
    Knob("color_temperature", Kind.FLOAT, 40.0, "largest change of colour temperature, in mired (a million over kelvin)", low=0, high=100, owner="augment"),
    Knob("noise_std", Kind.FLOAT, 0.05, "deviation of gaussian_noise, where white is 1", low=0, high=1, owner="augment"),
    Knob("randaugment_num_ops", Kind.INT, 2, "operations per image of randaugment", low=0, high=16, owner="augment"),
    Knob("randaugment_magnitude", Kind.INT, 9, "magnitude of the operations of randaugment", low=0, high=30, owner="augment"),
    Knob("cutout_size", Kind.INT, 16, "side of the square of cutout, in pixels", low=0, high=256, owner="augment"),
    Knob("erasing_probability", Kind.FLOAT, 0.5, "share of the images that random_erasing erases a part of", low=0, high=1, owner="augment"),
    Knob("erasing_max_area", Kind.FLOAT, 0.33, "largest share of an image that random_erasing erases", low=0.02, high=1, owner="augment"),
    Knob("mixup_alpha", Kind.FLOAT, 1.0, "mixup's shares come from Beta(alpha, alpha); 0 mixes nothing", low=0, high=100, owner="augment"),
    Knob("cutmix_alpha", Kind.FLOAT, 1.0, "cutmix's shares come from Beta(alpha, alpha); 0 mixes nothing", low=0, high=100, owner="augment"),
    Knob("normalization", Kind.NAME, "standardize", "how bytes become inputs", names=NORMALIZATIONS),
    Knob(
        "normalization_sample", Kind.FLOAT, 1.0, "share of the training images that mean and deviation are estimated on",
        low=0, high=1, low_open=True, owner="normalization",
    ),
    Knob("precision", Kind.NAME, "auto", "arithmetic of the forward and backward pass", names=PRECISIONS),
    Knob("seed", Kind.INT, 0, "seeds initial weights, order of images, augmentation and dropout", low=0, high=2**31 - 1),
    Knob("threads", Kind.INT, 1, "CPU threads of one trial; results depend on it", low=1, high=1024),
)  # fmt: skip

KNOBS: Mapping[str, Knob] = {knob.name: knob for knob in _KNOBS}
