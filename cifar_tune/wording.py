"""Numbers, durations and values in words: the one place where it is decided how they are written for people."""

from collections.abc import Mapping


def counted(count: int, noun: str) -> str:
    """`1 epoch`, `2 epochs` or `1,000 epochs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def rough_duration(seconds: float) -> str:
    """`less than a second`, `45 s`, `12 min`, `3.4 h` or `2.1 days`."""
    if 0 < seconds < 0.95:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def estimated_duration(seconds: float) -> str:
    """`less than a second`, or `about 45 s`."""
    text = rough_duration(seconds)
    return text if text.startswith("less") else f"about {text}"


def duration(seconds: float) -> str:
    """`48 s`, `12 min 5 s` or `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def figure(value: object) -> str:
    """A knob's value with four digits; a dash where there is none."""
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case tuple():
            return "+".join(str(item) for item in value) or "none"
    return str(value)


def exact(value: object) -> str:
    """A knob's value with every digit, as a study file has it, but for an empty list, which is `none`."""
    if isinstance(value, bool):
        return str(value).lower()
    if value in ([], ()):
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(str(item) for item in value)}]"
    return str(value)


def result_line(name: str, value: object) -> str:
    """`name=value`, as commands print their results: numbers with every digit, text as it is, `unknown` for None."""
    return f"{name}={'unknown' if value is None else value}"


def shown_params(params: Mapping[str, object]) -> str:
    """`lr 0.0123, optimizer sgd`."""
    parts = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in params.items()]
    return ", ".join(parts) or "nothing is searched"


def metric_figure(figure: float) -> str:
    """`0.9133` or `23,890`."""
    return f"{figure:,.0f}" if figure.is_integer() and figure > 1 else f"{figure:.4f}"


def epoch_speed(seconds: float) -> str:
    """A trial's speed in words."""
    return f"{seconds:.1f} s/epoch"


def clock_label(seconds: float) -> str:
    """`0`, `30 s`, `5 min`, `1:30 h` or `2 d`."""
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds else "0"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min" if seconds % 60 == 0 else f"{int(seconds // 60)}:{int(seconds % 60):02} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes // 60}:{minutes % 60:02} h"
    return f"{minutes / 1440:.3g} d"


def tick_label(value: float) -> str:
    """`0.01`, `1e-5` or `128`."""
    return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e")


def first_line(error: Exception) -> str:
    """The first line of what an error says; the name of its class where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
