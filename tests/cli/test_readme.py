"""The README's pictures and links are there, and small."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_links_to_files_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert "docs/pictures/report.png" in targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_links_lead_to_the_files_that_they_name() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [
        link for page in pages for link in re.findall(r"\[(\S+\.md)\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    ]
    assert ("docs/deep-nets.md", "docs/deep-nets.md") in links
    assert [(named, target) for named, target in links if Path(named).name != Path(target).name] == []


def test_pictures_are_small() -> None:
    sizes = {file.name: file.stat().st_size for file in (ROOT / "docs" / "pictures").iterdir()}
    assert set(sizes) == {"report.png", "terminal.png"}
    assert max(sizes.values()) < 150_000
