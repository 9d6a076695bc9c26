"""What it costs that many people look at the service."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.measuring import digits, spread, table
from benchmarks.question import Options, run
from benchmarks.service_load import EXECUTORS, PAGES, Phase, Server, alone, asked, asked_elsewhere, clients_of, serving
from benchmarks.service_views import p95

_POLLERS, _LISTENERS, _PERIOD = 200, 50, 5.0
_WANTED_SLOWER, _WANTED_LATER = 5.0, 100.0
_PROBES = 8
_CONNECTING = 3.0
"""Seconds at the beginning of a round in which the clients connect."""


def measure(options: Options) -> Sequence[str]:
    """Training beside people who look, and memory over many requests."""
    seconds, rounds = (6.0, 1) if options.quick else (15.0, 4)
    requests = 500 if options.quick else 10_000
    with serving(options.scratch, max(_POLLERS, _LISTENERS)) as server:
        looked_at = _looked_at(server, seconds, rounds)
        memory = _memory(server, requests)
    return [
        "## A service that many people look at",
        *looked_at,
        *memory,
    ]


def _looked_at(server: Server, seconds: float, rounds: int) -> list[str]:
    """The study trains: nobody looks, clients ask a stand-in, and clients ask the server, in turns."""
    server.begin()
    job = clients_of(server, _POLLERS, _LISTENERS, _PERIOD)
    first = asked(server, seconds / 2, job)  # and everything is warm
    phases: dict[str, list[Phase]] = {"nobody": [], "stand-in": [], "server": []}
    for number in range(rounds):
        kinds = list(phases)
        for kind in kinds[number % 3 :] + kinds[: number % 3]:
            if kind == "nobody":
                phases[kind].append(alone(server, seconds))
            elif kind == "stand-in":
                phases[kind].append(asked_elsewhere(server, seconds, job, first.told))
            else:
                phases[kind].append(asked(server, seconds, job))
    server.wait_for_trials()  # those of the last phase have ended
    engine = server.storage.engine
    rates = {kind: [each.trials_per_second(engine) for each in found] for kind, found in phases.items()}
    server.pause()
    idle = asked(server, 2 * _PROBES, clients_of(server, _PROBES, 0, 1.0))
    rows = [
        [
            {"nobody": "nobody", "stand-in": "a stand-in for the server", "server": "the server"}[kind],
            str(spread(rates[kind])),
            digits(median(each.server / each.seconds for each in found)),
            digits(median(each.clients / each.seconds for each in found)),
        ]
        for kind, found in phases.items()
    ]
    told = [each.told for each in phases["server"]]
    errors = sum(sum(each["errors"].values()) for each in told)
    answers = sum(len(latencies) for each in told for latencies in each["latencies"].values())
    events = sum(each["events"] for each in told)
    slower = [100 * (1 - 1 / each) for each in _ratios(rates["server"], rates["stand-in"])]
    in_all = [100 * (1 - 1 / each) for each in _ratios(rates["server"], rates["nobody"])]
    return [
        f"{EXECUTORS} executors train a study on the digits, on all cores. {_POLLERS} clients ask every {_PERIOD:g} s "
        f"on connections that stay open, a quarter of them each for `/`, the page of the study, `/v1/queue` and "
        f"`/v1/studies/NAME`; {_LISTENERS} listen to the streams of the study and of events, each with a token of its "
        f"own. In each of {rounds} rounds nobody asks, the clients ask the server, and the same clients ask a stand-in "
        f"that sends as many bytes and does nothing else, {seconds:g} s each. The clients run on the same cores, which "
        f"the clients of a lab do not; so the stand-in says what they cost themselves. Wanted: slower by less than "
        f"{_WANTED_SLOWER:g} %, and no error.",
        table(("who is asked", "trials per second", "CPU s per s, server", "CPU s per s, clients"), rows),
        f"**The server slows training by {spread(slower)} %** (server beside stand-in); with the clients on the same "
        f"cores it is {spread(in_all)} %. The server had {answers:,} requests and sent {events:,} events, with "
        f"{errors} errors{_named(told)}.",
        f"At the beginning of each round all {_LISTENERS} streams are opened at the same moment, after a while in "
        f"which nobody has asked. The last two columns leave out the first {_CONNECTING:g} s.",
        table(
            (
                "page",
                "p95 alone, ms",
                "p95 with all clients and training, ms",
                "later by",
                "p95 once all are connected, ms",
                f"later by (wanted: < {_WANTED_LATER:g})",
            ),
            [_late(path, idle, phases["server"]) for path in PAGES],
        ),
    ]


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [their / our for our, their in zip(ours, theirs, strict=True)]


def _named(told: Sequence[Any]) -> str:
    names = sorted({name for each in told for name in each["errors"]})
    return f" ({'; '.join(names[:3])})" if names else ""


def _late(path: str, idle: Phase, busy: Sequence[Phase]) -> Sequence[object]:
    alone = _p95_ms([idle], path)
    found: list[object] = [f"`{path}`", digits(alone)]
    for since in (0.0, _CONNECTING):
        late = _p95_ms(busy, path, since)
        found += [digits(late), f"**{digits(late - alone)}**"]
    return found


def _p95_ms(phases: Sequence[Phase], path: str, since: float = 0.0) -> float:
    """Of the answers to what was asked so many seconds or more after the beginning of each phase."""
    asked_for = [each for phase in phases for each in phase.told["latencies"].get(path, [])]
    return 1000 * p95([took for when, took in asked_for if when >= since] or [math.nan])


def _memory(server: Server, requests: int) -> list[str]:
    """The memory of the server while clients ask as fast as they can."""
    hour = _POLLERS * 3600 / _PERIOD
    job = clients_of(server, 20, _LISTENERS, 0.0)
    sizes, asked_for = [], 0
    while asked_for < requests:
        found = asked(server, 6.0, job)
        asked_for += sum(map(len, found.told["latencies"].values()))
        sizes.append(server.megabytes)
    parts = ", ".join(digits(each) for each in _sixths(sizes))
    return [
        "### Memory",
        f"The server's memory while 20 clients ask without a pause and {_LISTENERS} streams are opened anew every 6 s: "
        f"{asked_for:,} requests, which {_POLLERS} clients that ask every {_PERIOD:g} s make in "
        f"{60 * asked_for / hour:.0f} minutes. MB in the course of them: {parts}.",
    ]


def _sixths(sizes: Sequence[float]) -> list[float]:
    return [sizes[max(0, len(sizes) * part // 6 - 1)] for part in range(1, 7)] if len(sizes) >= 6 else list(sizes)


if __name__ == "__main__":
    run({"service": measure})
