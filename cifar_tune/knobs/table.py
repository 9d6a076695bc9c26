"""The table of knobs. Owners stand before the knobs that they own."""

from collections.abc import Mapping
from types import MappingProxyType

from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.augmentations import AUGMENTATIONS, PADDING_MODES
from cifar_tune.knobs.class_weights import CLASS_WEIGHTS
from cifar_tune.knobs.initial_weights import FRESH
from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.lookaheads import LOOKAHEADS
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.normalizations import NORMALIZATIONS
from cifar_tune.knobs.norms import NORMS
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS

STEMS: Mapping[str, str] = {
    "cifar": "one 3x3 convolution: the image keeps its size",
    "imagenet": "as published for 224x224 pixels: 7x7 of stride 2, then pooling by 2",
}

NORM_PLACEMENTS: Mapping[str, str] = {
    "every": "after every convolution",
    "first": "after the stem and the first convolution of each block",
}

INITS: Mapping[str, str] = {
    "dirac": "convolutions pass on the channels that come in; what outputs remain are PyTorch's",
    "pytorch": "PyTorch's own",
}

PRECISIONS: Mapping[str, str] = {
    "auto": "bf16 where the device multiplies it in hardware, fp16 on NVIDIA GPUs with tensor cores but without bf16 (V100, T4), else fp32",
    "fp32": "32-bit floats throughout, also in the convolutions and products of GPUs that have TF32",
    "tf32": "32-bit floats, of which convolutions and products use 10 bits of mantissa; only on NVIDIA GPUs since Ampere (A100)",
    "bf16": "forward and backward pass under bfloat16 autocast; weights and optimizer in fp32",
    "fp16": "forward and backward pass under float16 autocast, with a scaled loss; weights and optimizer in fp32. A step whose gradients overflow leaves the weights as they are. Slow on CPUs",
}

SAMPLINGS: Mapping[str, str] = {
    "uniform": "every training image once, in a random order",
    "balanced": "as many images of every class, as many in all: those of small classes come several times, those of large ones only in part",
}

ON_OOM: Mapping[str, str] = {
    "prune": "the training ends; in a study its trial is pruned",
    "accumulate": "steps are split into micro-batches with the same gradient, but for batch norm, which sees each by itself",
}

_KNOBS = (
    Knob("model", Kind.NAME, "cnn3", "the network", names=MODELS),
    Knob("width", Kind.INT, 64, "channels of the first layer; the others keep their proportions", low=1, high=65536, owner="model"),
    Knob("timm_name", Kind.TEXT, "resnet18", "which model of timm, such as convnext_atto; pretrained only with init_from", owner="model"),
    Knob("stem", Kind.NAME, "cifar", "the first layers", names=STEMS, owner="model"),
    Knob("norm", Kind.NAME, "batch", "what the outputs of convolutions are normalized by", names=NORMS, owner="model"),
    Knob("norm_groups", Kind.INT, 8, "groups of channels; must divide the channels of every layer", low=1, high=65536, owner="norm"),
    Knob("bn_momentum", Kind.FLOAT, 0.1, "share of the newest batch in the statistics that batch norm evaluates with", low=0, high=1, low_open=True, owner="norm"),
    Knob("norm_placement", Kind.NAME, "every", "which convolutions a norm follows", names=NORM_PLACEMENTS, owner="model"),
    Knob("residual", Kind.BOOL, True, "shortcuts around the blocks; false makes the plain net", owner="model"),
    Knob("zero_init_residual", Kind.BOOL, True, "each block with a shortcut begins by only passing its input on: the scale of its last norm (without a norm, its last filters) begins at 0", owner="model"),
    Knob("activation", Kind.NAME, "relu", "the nonlinearity", names=ACTIVATIONS, owner="model"),
    Knob("negative_slope", Kind.FLOAT, 0.01, "slope of leaky_relu below zero", low=0, high=1, owner="activation"),
    Knob(
        "dropout", Kind.FLOAT, 0.0, "share of features dropped before each linear layer",
        low=0, high=1, high_open=True, owner="model",
    ),
    Knob("init", Kind.NAME, "dirac", "the weights that convolutions begin with", names=INITS, owner="model"),
    Knob("output_scale", Kind.FLOAT, 1 / 9, "factor of the logits", low=0, low_open=True, owner="model"),
    Knob("whitening_bias_epochs", Kind.INT, 3, "epochs in which the bias of the whitening layer is learned", low=0, high=1_000_000, owner="model"),
    Knob("init_from", Kind.WEIGHTS, FRESH, "weights to begin with: a model folder, a safetensors file, or timm for the published ones; a head for other classes is drawn from the seed"),
    Knob("frozen_stages", Kind.INT, 0, "how many stages, counted from the input, keep the weights of init_from; a stage is a block, or a layer with its norm", low=0, high=1000),
    Knob("stage_lr_decay", Kind.FLOAT, 1.0, "each stage learns at the rate of the next stage times this; the last stage at lr", low=0, high=1, low_open=True),
    Knob("optimizer", Kind.NAME, "sgd", "the update rule", names=OPTIMIZERS),
    Knob("lr", Kind.FLOAT, 1e-3, "learning rate; the highest one where the schedule moves it", low=0, low_open=True, owner="optimizer"),
    Knob("momentum", Kind.FLOAT, 0.9, "momentum", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("nesterov", Kind.BOOL, False, "Nesterov momentum; needs momentum > 0", owner="optimizer"),
    Knob("weight_decay", Kind.FLOAT, 0.0, "L2 penalty, or decoupled weight decay (adamw, lion, muon, adamw_schedule_free)", low=0, owner="optimizer"),
    Knob("decoupled_weight_decay", Kind.BOOL, False, "weight decay as in adamw, not as an L2 penalty", owner="optimizer"),
    Knob("alpha", Kind.FLOAT, 0.99, "decay of the mean square (rmsprop)", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("rho", Kind.FLOAT, 0.9, "decay of the mean squares (adadelta)", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("beta1", Kind.FLOAT, 0.9, "decay of the mean of gradients", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("beta2", Kind.FLOAT, 0.999, "decay of the mean of squared gradients; of the mean that is kept (lion)", low=0, high=1, high_open=True, owner="optimizer"),
    Knob("eps", Kind.FLOAT, 1e-8, "added to the denominator", low=0, low_open=True, owner="optimizer"),
    Knob("momentum_decay", Kind.FLOAT, 0.004, "how fast momentum grows to beta1 (nadam)", low=0, owner="optimizer"),
    Knob("lr_decay", Kind.FLOAT, 0.0, "lr is divided by 1 + steps * lr_decay (adagrad)", low=0, owner="optimizer"),
    Knob("initial_accumulator_value", Kind.FLOAT, 0.0, "sum of squared gradients at the start (adagrad)", low=0, owner="optimizer"),
    Knob("ns_steps", Kind.INT, 5, "Newton-Schulz iterations of the orthogonalization (muon)", low=1, high=99, owner="optimizer"),
    Knob("decay_norm_and_bias", Kind.BOOL, True, "weight decay and l1 act on biases and norms too, not only on filters and matrices"),
    Knob("norm_bias_lr_factor", Kind.FLOAT, 1.0, "biases of norms learn at lr times this; they shrink by weight decay as the others do", low=0, low_open=True),
    Knob("l1", Kind.FLOAT, 0.0, "L1 penalty: this times the sign of each weight is added to its gradient", low=0),
    Knob("clip_grad_norm", Kind.FLOAT, 0.0, "largest norm of the gradient over all weights; 0: no limit", low=0),
    Knob("ema_decay", Kind.FLOAT, 0.0, "validate a moving average of the weights with this decay per step; 0: the weights themselves", low=0, high=1, high_open=True),
    Knob("lookahead", Kind.NAME, "none", "whether weights go back to slow ones every few steps", names=LOOKAHEADS),
    Knob("lookahead_steps", Kind.INT, 5, "optimizer steps between two returns to the slow weights", low=1, high=1_000_000, owner="lookahead"),
    Knob("lookahead_alpha", Kind.FLOAT, 0.5, "share of their distance by which the slow weights follow", low=0, high=1, low_open=True, owner="lookahead"),
    Knob("batch_size", Kind.INT, 128, "images per optimizer step", low=1, high=1_000_000),
    Knob("sampling", Kind.NAME, "uniform", "which training images an epoch has", names=SAMPLINGS),
    Knob("epochs", Kind.INT, 15, "passes over the training images", low=1, high=1_000_000),
    Knob("patience", Kind.INT, 0, "training ends after this many epochs without a new best validation loss or accuracy; 0: never early", low=0, high=1_000_000),
    Knob("schedule", Kind.NAME, "one_cycle", "how the learning rate moves", names=SCHEDULES),
    Knob("step_size", Kind.INT, 10, "epochs between two decays (step), or from base_lr to lr (cyclic)", low=1, high=1_000_000, owner="schedule"),
    Knob("gamma", Kind.FLOAT, 0.1, "factor of each decay", low=0, high=1, low_open=True, owner="schedule"),
    Knob("milestone1", Kind.FLOAT, 0.5, "share of the steps before a decay, in any order; 1: none", low=0, high=1, low_open=True, owner="schedule"),
    Knob("milestone2", Kind.FLOAT, 0.75, "the same for another decay", low=0, high=1, low_open=True, owner="schedule"),
    Knob("milestone3", Kind.FLOAT, 1.0, "the same for another decay", low=0, high=1, low_open=True, owner="schedule"),
    Knob("plateau_patience", Kind.INT, 3, "epochs without a lower validation loss that are tolerated", low=0, high=1_000_000, owner="schedule"),
    Knob("eta_min", Kind.FLOAT, 0.0, "learning rate at the end", low=0, owner="schedule"),
    Knob("t_0", Kind.INT, 5, "epochs until the first restart", low=1, high=1_000_000, owner="schedule"),
    Knob("t_mult", Kind.INT, 2, "length of each cosine over the one before", low=1, high=1000, owner="schedule"),
    Knob("base_lr", Kind.FLOAT, 1e-5, "lowest learning rate of a cycle; lr is the highest", low=0, owner="schedule"),
    Knob("pct_start", Kind.FLOAT, 0.3, "share of the steps in which the learning rate rises", low=0, high=1, owner="schedule"),
    Knob("div_factor", Kind.FLOAT, 25.0, "lr over the first learning rate", low=1, owner="schedule"),
    Knob("final_div_factor", Kind.FLOAT, 1e4, "the first learning rate over the last one", low=1, owner="schedule"),
    Knob("warmup_epochs", Kind.FLOAT, 0.0, "epochs, or parts of one, in which a factor that rises from 0 to 1 is put on the schedule", low=0),
    Knob("loss", Kind.NAME, "cross_entropy", "what training minimises; val_loss is the cross entropy whatever it is", names=LOSSES),
    Knob(
        "label_smoothing", Kind.FLOAT, 0.0, "share of the target spread evenly over all classes",
        low=0, high=1, high_open=True, owner="loss",
    ),
    Knob("focal_gamma", Kind.FLOAT, 2.0, "how much less weight is on what is right already (focal); 0: cross entropy", low=0, owner="loss"),
    Knob("margin", Kind.FLOAT, 1.0, "how much larger than all others the right logit should be (multi_margin)", low=0, low_open=True, owner="loss"),
    Knob("class_weights", Kind.CLASS_WEIGHTS, "none", "how much the images of a class weigh in the loss: none, balanced, or numbers such as {cat: 2.0, dog: 0.5}, where other classes weigh 1. Only their ratios count: they are scaled so that the training images weigh 1 on average. val_loss knows no weights", names=CLASS_WEIGHTS, owner="loss"),
    Knob("augment", Kind.NAMES, (), "random changes of each training image in each epoch, in the order: crop and flips, rotation and scale, colours and noise and policies, normalization, cutout and erasing, mixup or cutmix; the order of the list counts within such a step", names=AUGMENTATIONS),
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
    Knob("randaugment_magnitude", Kind.INT, 9, "magnitude of the operations of randaugment; 30 is the largest", low=0, high=30, owner="augment"),
    Knob("cutout_size", Kind.INT, 16, "side of the square of cutout, in pixels", low=0, high=256, owner="augment"),
    Knob("erasing_probability", Kind.FLOAT, 0.5, "share of the images that random_erasing erases a part of", low=0, high=1, owner="augment"),
    Knob("erasing_max_area", Kind.FLOAT, 0.33, "largest share of an image that random_erasing erases", low=0.02, high=1, owner="augment"),
    Knob("mixup_alpha", Kind.FLOAT, 1.0, "the shares of mixup come from Beta(alpha, alpha), one per image; 0 mixes nothing", low=0, high=100, owner="augment"),
    Knob("cutmix_alpha", Kind.FLOAT, 1.0, "the shares of cutmix come from Beta(alpha, alpha), one per image; 0 mixes nothing", low=0, high=100, owner="augment"),
    Knob("normalization", Kind.NAME, "standardize", "how bytes become inputs", names=NORMALIZATIONS),
    Knob(
        "normalization_sample", Kind.FLOAT, 1.0, "share of the training images that mean and deviation are estimated on",
        low=0, high=1, low_open=True, owner="normalization",
    ),
    Knob("test_time_augmentation", Kind.NAME, "none", "what a model looks at where it is evaluated", names=TEST_TIME_AUGMENTATIONS),
    Knob("compile", Kind.BOOL, False, "torch.compile for the training steps: about a minute at the start, which pays in long trainings on a GPU"),
    Knob("cuda_graphs", Kind.BOOL, True, "on an NVIDIA GPU, each training step is captured once and then launched as a whole (a CUDA graph); what cannot be captured runs as it is"),
    Knob("repeatable", Kind.BOOL, True, "on an NVIDIA GPU, only algorithms that add up in the same order every time, so that the same configuration gives the same value on the same kind of GPU with the same libraries; on the CPU it always does"),
    Knob("on_oom", Kind.NAME, "prune", "what happens when a training step runs out of memory", names=ON_OOM),
    Knob("precision", Kind.NAME, "auto", "arithmetic of the forward and backward pass", names=PRECISIONS),
    Knob("seed", Kind.INT, 0, "seeds initial weights, order of images, augmentation and dropout", low=0, high=2**31 - 1),
    Knob("threads", Kind.INT, 1, "CPU threads of one trial; results depend on it", low=1, high=1024),
)  # fmt: skip

BEFORE_THEY_WERE_KNOBS: Mapping[str, Value] = {"zero_init_residual": False, "cuda_graphs": False, "repeatable": False}
"""What trainings did before there was a knob for it, or before its default changed, where that is something else now.

A study stores which defaults of these knobs it began with. A stored study that says nothing of a knob is older than the
knob or its default, and goes on as it began: its parked trials at their checkpoints, which hold the old value.
"""

KNOBS: Mapping[str, Knob] = MappingProxyType({knob.name: knob for knob in _KNOBS})
