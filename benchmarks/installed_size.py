"""What an installation without extras takes on the disk, package by package: `python -m benchmarks.installed_size`.

It looks at the packages of the environment that it runs in, and counts the blocks of their files. MB are 10^6 bytes.
"""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
FIXED = ("torch", "torchvision", "optuna", "optuna-dashboard", "matplotlib", "pyyaml")
"""What the package is made for: these stand where others could not."""

_SHOWN = 1.0
"""Packages below this many MB are summed up."""

_BLOCK = 512


def main() -> None:
    """Print how much PyTorch takes, what the other fixed packages add, and what ours add to these."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = closure(["torch"])
    fixed = closure(FIXED)
    ours = closure(project["dependencies"])
    print(f"torch alone: {total(torch):,.0f} MB, {len(torch)} packages")
    print(f"{', '.join(FIXED[1:])} add {total(fixed) - total(torch):,.0f} MB:")
    print_added(fixed, torch)
    print(f"our other dependencies add {total(ours) - total(fixed):,.0f} MB:")
    print_added(ours, fixed)
    print(f"all: {total(ours):,.0f} MB, which is torch + {total(ours) - total(torch):,.0f} MB")


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that these need, with all that they need in turn, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(each) for each in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = name, frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            package = found[name] = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed here: run this where cifar-tune is installed") from None
        extras = {*requirement.extras, ""}
        for text in package.requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def size(package: Distribution) -> float:
    """MB that the files of a package take."""
    paths = [Path(str(file.locate())) for file in package.files or ()]
    return sum(path.stat().st_blocks * _BLOCK for path in paths if path.is_file()) / 1e6


def total(packages: Mapping[str, Distribution]) -> float:
    """MB of all together."""
    return sum(map(size, packages.values()))


def print_added(packages: Mapping[str, Distribution], known: Mapping[str, Distribution]) -> None:
    """Print the size of those that are not known yet, the largest first."""
    sizes = {name: size(package) for name, package in packages.items() if name not in known}
    for name, megabytes in sorted(sizes.items(), key=lambda item: -item[1]):
        if megabytes >= _SHOWN:
            print(f"    {name:20} {megabytes:6.1f}")
    small = [megabytes for megabytes in sizes.values() if megabytes < _SHOWN]
    if small:
        print(f"    {len(small)} smaller ones {sum(small):10.1f}")


if __name__ == "__main__":
    main()
