"""Pictures of names in any script: with a font that has it, or escaped; never boxes, never a warning."""

import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from cifar_tune.plotting import characters, style

CAT, DOG = "猫", "犬"


@pytest.fixture(autouse=True)
def no_other_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The fonts that come with matplotlib, on every machine."""
    own = Path(font_manager.findfont(characters.FONT)).resolve().parent
    entries = [entry for entry in font_manager.fontManager.ttflist if Path(entry.fname).resolve().parent == own]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    characters._characters.cache_clear()
    yield
    characters._characters.cache_clear()


@pytest.fixture(autouse=True)
def nothing_is_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert [each.message for each in caplog.get_records("call") if each.levelno >= logging.WARNING] == []


def install(path: Path, family: str, text: str) -> None:
    """A font that has the characters of this text, each as a black square, and no bold face."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(character):04X}" for character in text)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): f"uni{ord(character):04X}" for character in text})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    font_manager.fontManager.addfont(path)


def drawn(name: str) -> Figure:
    """A picture with the name wherever there can be text."""
    figure = style.new_figure(5, 4)
    axes = figure.subplots()
    axes.barh([0, 1], [1, 2], label=name)
    axes.set_yticks([0, 1], [name, "dog"])
    axes.set_xlabel(name)
    axes.set_title(name)
    axes.text(0, 0, f"two\n{name}")
    axes.legend()
    style.title(figure, name, f"a remark on {name}")
    return figure


def texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", ["dog", "Größe → 3", "كلب", "щенок"])
def test_what_the_usual_font_has_stays_as_it_is(name: str) -> None:
    with style.applied():
        figure = drawn(name)
        before = [text.get_fontfamily() for text in figure.findobj(Text)]
        assert characters.make_readable(figure) == ""
        assert [text.get_fontfamily() for text in figure.findobj(Text)] == before


def test_characters_that_no_font_has_are_escaped_with_a_sentence(tmp_path: Path) -> None:
    with style.applied():
        figure = drawn(f"{CAT}1")
        (tmp_path / "picture.png").write_bytes(style.png(figure))
        seen = texts(figure)
    assert not any(CAT in text for text in seen)
    assert seen.count(r"\u732b1") >= 5  # tick, label, title, legend and heading
    assert "two\n\\u732b1" in seen
    remark = figure.get_supxlabel().replace("\n", " ")
    assert remark.startswith(r"a remark on \u732b1 no font of this system has some characters of the names; ")
    assert remark.endswith(r"such as \u732b")


def test_a_character_that_cannot_be_seen_is_escaped_too() -> None:
    with style.applied():
        figure = drawn("a\tb\x07")
        style.drawn_png(figure)
        assert r"a\tb\x07" in texts(figure)


def test_a_font_of_the_system_that_has_them_is_taken(tmp_path: Path) -> None:
    install(tmp_path / "a.ttf", "Squares A", DOG)
    install(tmp_path / "b.ttf", "Squares B", CAT)
    assert characters.has_font(f"{CAT}{DOG} 1")
    assert not characters.has_font("鳥")
    with style.applied():
        figure = drawn(f"{CAT}1")
        before = texts(style.new_figure(1, 1))
        (tmp_path / "picture.png").write_bytes(style.png(figure))
        seen = texts(figure)
    assert before == []
    assert seen.count(f"{CAT}1") >= 5
    assert figure.get_supxlabel() == f"a remark on {CAT}1"
    [axes] = figure.axes
    assert axes.get_yticklabels()[0].get_fontfamily() == [characters.FONT, "Squares B"]


def test_labels_that_are_made_only_while_drawing_have_the_font_too(tmp_path: Path) -> None:
    install(tmp_path / "font.ttf", "Squares E", CAT)
    with style.applied():
        figure = style.new_figure(5, 4)
        axes = figure.subplots()
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}{CAT}"))
        assert style.png(figure)
        families = {tuple(label.get_fontfamily()) for label in axes.get_xticklabels()}
    assert families == {(characters.FONT, "Squares E")}
    assert len(axes.get_xticklabels()) > 3


def test_the_squares_are_really_drawn(tmp_path: Path) -> None:
    install(tmp_path / "font.ttf", "Squares C", CAT)

    def ink(text: str) -> int:
        with style.applied():
            figure = style.sentence(text)
            (tmp_path / "picture.png").write_bytes(style.png(figure))
        from PIL import Image

        return sum(Image.open(tmp_path / "picture.png").convert("L").histogram()[:160])

    assert ink(CAT * 20) > 5 * ink("." * 20)


def test_a_font_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    install(tmp_path / "font.ttf", "Squares D", CAT)
    (tmp_path / "font.ttf").write_bytes(b"garbage")
    assert not characters.has_font(CAT)
    (tmp_path / "font.ttf").unlink()
    characters._characters.cache_clear()
    assert not characters.has_font(CAT)


def test_a_font_of_placeholders_is_not_taken(tmp_path: Path) -> None:
    install(tmp_path / "font.ttf", "Adobe Blank 2", CAT)
    assert not characters.has_font(CAT)


def test_what_other_threads_log_about_fonts_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    other = threading.Thread(target=logger.warning, args=("of another thread",))
    with characters.quiet_fonts():
        logger.warning("of ours")
        logger.error("an error")
        other.start()
        other.join()
    logger.warning("later")
    said = list(caplog.messages)
    caplog.clear()  # else the fixture takes it for a fault
    assert said == ["an error", "of another thread", "later"]
    assert (logger.level, logger.filters) == (level, [])
