"""The model card: what a model folder holds, in Markdown, for people. Without torch."""

from cifar_tune.markdown import code, inert, table
from cifar_tune.model_files.description import DESCRIPTION_FILE, WEIGHTS_FILE, Metric, ModelDescription
from cifar_tune.wording import counted

_MOST_CLASSES = 30
"""Of a confusion matrix that people still can read."""


def card(description: ModelDescription) -> str:
    """The text of the folder's README.md. It begins with the fields that model hubs read."""
    name = description.origin.study or description.architecture.model
    sections = [
        _front_matter(description),
        f"# {inert(name)}",
        _what(description),
        "## Use\n\n" + _use(description),
        "## How it was chosen\n\n" + _chosen(description),
        "## How good it is\n\n" + _measured(description),
        *([] if description.confusion is None else ["## Confusion matrix\n\n" + _confusion(description)]),
        "## Limits\n\n" + _limits(description),
        "## Licence\n\n" + _licence(description),
        "## Made with\n\n" + _made_with(description),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(description: ModelDescription) -> str:
    return (
        "---\n"
        "library_name: cifar-tune\n"
        "pipeline_tag: image-classification\n"
        f"license: {'other' if description.licence else 'unknown'}\n"
        "metrics:\n- accuracy\n"
        "---"
    )


def _what(description: ModelDescription) -> str:
    classes, shape = description.classes, description.image_shape
    return (
        f"An image classifier: {code(description.architecture.model)} with "
        f"{description.architecture.parameters:,} parameters, for images of {shape[2]} x {shape[1]} pixels in "
        f"{len(classes)} classes: {', '.join(code(each) for each in classes)}."
    )


def _use(description: ModelDescription) -> str:
    needs = any(copy.file for copy in description.plugins)
    plugins = (
        "\n\nThe folder holds plugin files ("
        + ", ".join(code(copy.file) for copy in description.plugins)
        + "). They are "
        "Python programs. Where the network is one of their parts, `load_model` runs them only if you say "
        "`run_plugins=True`. Read them first."
        if needs
        else ""
    )
    return (
        "```python\n"
        "import torch\n"
        "from PIL import Image\n"
        "from cifar_tune import load_model\n\n"
        'model = load_model("this/folder")\n'
        'image = model.preprocess(Image.open("photo.jpg"))  # uint8 [3, H, W]\n'
        "with torch.inference_mode():\n"
        "    probabilities = model(image[None]).softmax(1)[0]\n"
        "print(model.classes[int(probabilities.argmax())], float(probabilities.max()))\n"
        "```\n\n"
        f"The weights are in `{WEIGHTS_FILE}`, everything else about them is in `{DESCRIPTION_FILE}`." + plugins
    )


def _chosen(description: ModelDescription) -> str:
    origin = description.origin
    seed = (
        f"seed {description.seed}, {counted(description.epochs, 'epoch')}, {description.train_images:,} training images"
    )
    if origin.command == "train":
        return f"One configuration was trained with `cifar-tune train`: {seed}."
    study = f" of the study {code(origin.study)}" if origin.study else ""
    among = "" if origin.finished_trials is None else f" of {counted(origin.finished_trials, 'finished trial')}"
    if origin.trial is None:
        what = f"The configuration {code(origin.source)} was named by hand, for the test set{study}."
    else:
        value = ""
        if origin.objective_value is not None:
            value = f" ({code(origin.objective)} = {origin.objective_value:.6g} in the study"
            value += "" if origin.race_value is None else f", {origin.race_value:.6g} in fresh trainings"
            value += ")"
        how = {"best": "the best one", "race": "the winner of a race with fresh seeds,"}.get(
            origin.chosen or "", "named by hand, out"
        )
        what = (
            f"It has the configuration of trial {origin.trial}{study}{value}: {how}{among}. Trials were compared on "
            f"validation images only."
        )
    return f"{what} It was then trained again from the beginning on all images that are not test images: {seed}."


def _measured(description: ModelDescription) -> str:
    if not description.metrics:
        return "Nothing was measured on these weights yet: the command that wrote them has not finished."
    rows = [
        (code(name), _value(metric), _interval(metric), f"{metric.images:,}", metric.split)
        for name, metric in description.metrics.items()
    ]
    lines = [table(("figure", "value", "95 % interval", "images", "split"), rows, right=(1, 3))]
    openings = description.origin.test_openings
    if description.origin.command == "train":
        lines.append(
            "The test set was not opened. Where validation images also decided what to train, expect a little less on "
            "new images."
        )
    elif openings == 1:
        together = (
            f"{description.origin.networks} networks, of which this is one" if description.origin.networks else ""
        )
        lines.append(f"The test set was opened once, for {together or 'this model'} ({description.origin.opened}).")
    else:
        lines.append(
            f"The test set of this study has been opened {openings} times; each time makes its result a little less "
            f"trustworthy. For this model it was opened on {description.origin.opened}."
        )
    if mean := description.origin.mean_words:
        lines.append(f"The table is only for this network. {mean}")
    lines.append(
        "The interval is for other images of the same kind. It knows nothing of other seeds and other cameras."
    )
    return "\n\n".join(lines)


def _value(metric: Metric) -> str:
    return "not finite" if metric.value is None else f"{metric.value:.6g}"


def _interval(metric: Metric) -> str:
    return "" if metric.low is None or metric.high is None else f"{metric.low:.4f} to {metric.high:.4f}"


def _confusion(description: ModelDescription) -> str:
    rows, classes = description.confusion or (), description.classes
    if len(classes) > _MOST_CLASSES:
        return f"It has {len(classes)} rows and is in `{DESCRIPTION_FILE}` (`confusion`)."
    body = [(inert(name), *(str(count) for count in row)) for name, row in zip(classes, rows, strict=True)]
    header = ("true \\ predicted", *(inert(name) for name in classes))
    return table(header, body, right=range(1, len(classes) + 1))


def _limits(description: ModelDescription) -> str:
    size = description.image_shape[1]
    return "\n".join(
        (
            f"- It knows {len(description.classes)} classes. Whatever an image shows, it answers with one of them.",
            f"- Images are resized to {size} x {size} pixels, as in training. Smaller details cannot be seen.",
            "- Photographs of another kind (camera, light, cropping, country) may be recognised much worse.",
            "- The probabilities are those of the softmax; they are not calibrated.",
        )
    )


def _licence(description: ModelDescription) -> str:
    if description.licence:
        return inert(description.licence)
    return (
        "Not stated. Whoever shares this model writes its licence here, and may have to look at the licence of the "
        "training images first."
    )


def _made_with(description: ModelDescription) -> str:
    facts = {
        "cifar-tune": description.cifar_tune,
        "written": description.created,
        "weights": description.weights_of,
        "test-time augmentation": description.test_time_augmentation,
        "precision": description.precision,
        **{name: value for name, value in description.environment.items() if name != "cifar_tune"},
        "data": description.data.get("name", "unknown"),
        "fingerprint of the images": description.fingerprint,
        "sha256 of the split": description.split_sha256,
        "sha256 of the weights": description.weights_sha256,
    }
    return table(("", ""), [(name, code(value)) for name, value in facts.items()])
