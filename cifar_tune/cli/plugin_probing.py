"""One real step with the parts of plugins, for `cifar-tune check`: what a study would only find out in its trials."""

import pickle
from io import BytesIO

import torch

from cifar_tune.data.batches import training_batches, validation_batches
from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.learner import build_learner


def probe_plugins(config: Configuration, data: PreparedData, device: torch.device) -> None:
    """Augment a batch, take a step on it, validate, and go on from a checkpoint.

    Raises:
        CheckError: the model's outputs are not what a loss takes, or a checkpoint cannot hold a part's state.
        Exception: whatever else the code of a plugin raises.
    """
    resident = ResidentData(data, device)
    classes = len(data.classes)
    learner = build_learner(config, resident, device, steps_per_epoch=2)
    images, labels = next(training_batches(resident, config, epoch=1))
    if images.shape[1:] != data.image_shape:
        names = "+".join(config.names("augment"))
        raise CheckError(f"augment {names} makes {tuple(images.shape)} of images {data.image_shape}")
    learner.model.eval()
    with torch.no_grad():
        inputs, _ = next(validation_batches(resident, config))
        logits = learner.model(inputs)
    if logits.shape != (len(inputs), classes):
        raise CheckError(
            f"model {config.text('model')} makes {tuple(logits.shape)} of {len(inputs)} images; "
            f"it must make one number per image and class, {(len(inputs), classes)}"
        )
    learner.begin_epoch(1)
    learner.train_step(images, labels)
    learner.end_epoch()
    learner.schedule.after_epoch(1.0)
    content = BytesIO()
    torch.save(learner.state_dict(), content)
    content.seek(0)
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("WeightsUnpickler error: ")[2].partition("\n")[0]
        raise CheckError(
            f"no training could go on from a checkpoint: the state of model {config.text('model')}, optimizer "
            f"{config.text('optimizer')} or schedule {config.text('schedule')} must hold tensors, numbers, text, lists "
            f"and dictionaries alone: {reason}"
        ) from error
    build_learner(config, resident, device, steps_per_epoch=2).load_state_dict(state)
