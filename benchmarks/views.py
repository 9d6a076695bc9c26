"""How the pages and routes of the service take many trials, and many studies."""

from collections.abc import Sequence

from benchmarks.measuring import digits, table
from benchmarks.question import Options, run
from benchmarks.service_views import OF_A_STUDY, OF_ALL_TRIALS, OF_MANY, Compared, compared

_WANTED_RATIO = 2.0


def measure(options: Options) -> Sequence[str]:
    """Pages on a large study and on many studies, beside those on a small one and on few."""
    views = 2 if options.quick else 30  # p95 of fewer is the longest of all
    many_trials, many_studies = (1_000, 100) if options.quick else (10_000, 1_000)
    of_a_study = compared(options.scratch, [(1, 100), (1, many_trials)], OF_A_STUDY, views, OF_ALL_TRIALS)
    of_many = compared(options.scratch, [(10, 10), (many_studies, 10)], OF_MANY, views)
    return [
        "## Large studies, and many studies",
        f"p95 of {views} answers of the service over HTTP on SQLite, one at a time, without training; small and large "
        f"in turns. First: the server has just begun and knows nothing. Prepared: it has begun, and has looked at "
        f"lists and at what is large, as it does within seconds, so that this is the first view of a person. Changed: "
        f"another trial has ended since the last answer. Wanted: at most {_WANTED_RATIO:g} times as long. Behind each "
        f"ratio stands that of the medians of processor time, of server and client together, which other work on the "
        f"machine hardly changes. Importances of more than 1,000 completed trials are computed beside, and the first "
        f"answer says so.",
        f"One study of 100 and of {many_trials:,} trials. The last rows, without a change, list or draw all trials, "
        f"and so grow with them; they were asked for once:",
        _views(of_a_study),
        f"10 and {many_studies:,} studies of 10 trials each, half of them waiting in the queue. `/` shows 15 rows of "
        f"the few, and 50 of the many:",
        _views(of_many),
    ]


def _views(found: Sequence[Compared]) -> str:
    paths = list(dict.fromkeys(each.path for each in found))
    kinds = list(dict.fromkeys(each.kind for each in found))
    by = {(each.path, each.kind): each for each in found}
    header = [
        "asked for",
        *(word for kind in kinds for word in (f"{kind}: small, ms", "large, ms", "ratio, processor")),
    ]
    rows = []
    for path in paths:
        cells: list[object] = [f"`{path}`"]
        for kind in kinds:
            each = by.get((path, kind))
            if each is None:
                cells += ["", "", ""]
                continue
            ratio = f"**{digits(each.large / each.small)}**, {digits(each.processor)}"
            cells += [digits(1000 * each.small), digits(1000 * each.large), ratio]
        rows.append(cells)
    return table(header, rows)


if __name__ == "__main__":
    run({"views": measure})
