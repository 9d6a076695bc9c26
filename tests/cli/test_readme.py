"""The README is short; links of all pages lead somewhere; the pictures are there, and small."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def headings(page: Path) -> set[str]:
    """Of a page, as GitHub names them in links."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        there = page if not file else page.parent / file
        assert there.exists(), target
        assert not heading or heading in headings(there), target


def test_links_lead_to_the_files_that_they_name() -> None:
    links = [
        link for page in PAGES for link in re.findall(r"\[(\S+\.md)\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    ]
    assert ("docs/data.md", "docs/data.md") in links
    assert [(named, target) for named, target in links if Path(named).name != Path(target).name] == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    for page in (ROOT / "docs").glob("*.md"):
        is_for_users = page.name not in (
            "index.md",
            "CODE_OF_CONDUCT.md",
            "SECURITY.md",
            "deep-nets.md",
            "performance.md",
        )
        assert f"](docs/{page.name})" in text or not is_for_users, page.name


def test_the_site_has_every_page() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r"'([^']+\.md)'", str(site["nav"]))
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))


def test_pages_link_to_pages_alone() -> None:
    """The site has no other files of the repository."""
    for page in PAGES[1:]:
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).resolve().is_relative_to(ROOT / "docs"), (
                page.name,
                target,
            )


def test_pictures_are_small() -> None:
    assert "](docs/pictures/report.png)" in PAGES[0].read_text(encoding="utf-8")
    sizes = {file.name: file.stat().st_size for file in (ROOT / "docs" / "pictures").iterdir()}
    assert set(sizes) == {"report.png", "terminal.png"}
    assert max(sizes.values()) < 150_000
