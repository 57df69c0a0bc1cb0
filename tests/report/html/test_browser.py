"""The page in a real browser: `apt-get install chromium`, then pytest tests/report/html/test_browser.py."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite.report.html.page import page
from tests.chromium import Browser, find, running
from tests.reported import make_run

PROGRAM = find()
PHONE, DESKTOP = 390, 1280
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    run = make_run(("eager", "jit", "jit-cuda-graph"), (10, 100, 400), samples=320, notes=("a note",))
    path.write_text(page(run), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running(str(PROGRAM)) as found:
        yield found


def size_of(png: Path) -> tuple[int, int]:
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return width, height


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_fits_its_width_and_can_be_photographed(
    browser: Browser, report: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    browser.show(report, width=width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") == width
    browser.screenshot(tmp_path / "page.png", whole=True)
    assert size_of(tmp_path / "page.png")[0] == width


def test_the_page_asks_for_nothing_but_itself_and_has_nothing_to_complain_of(browser: Browser, report: Path) -> None:
    browser.show(report, width=DESKTOP)
    assert browser.requests == [report.as_uri()]
    assert [event for event in browser.events if event.get("method") == "Log.entryAdded"] == []


def test_texts_of_plots_are_legible_on_a_phone(browser: Browser, report: Path) -> None:
    browser.show(report, width=PHONE)
    heights = browser.value(
        "[...document.querySelectorAll('section[id=lengths] svg text')].map(t => t.getBoundingClientRect().height)"
    )
    assert len(heights) > 10
    assert min(heights) >= 10


CONTRAST = """
(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor
    if (c !== 'rgba(0, 0, 0, 0)') return c } return 'rgb(255, 255, 255)' }
  const shown = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  return shown.map(e => { const s = getComputedStyle(e)
    const [a, b] = [light(e instanceof SVGElement ? s.fill : s.color), light(ground(e))]
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName, e.textContent.slice(0, 30)] })
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(browser: Browser, report: Path, dark: bool) -> None:
    """WCAG 2.2 asks for a contrast of 4.5."""
    browser.show(report, width=DESKTOP, dark=dark)
    found = browser.value(CONTRAST)
    assert len(found) > 100
    assert [each for each in found if each[0] < 4.5] == []


def test_dark_mode_is_dark(browser: Browser, report: Path) -> None:
    browser.show(report, width=DESKTOP, dark=True)
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"


def test_the_keyboard_reaches_the_verdicts_and_opens_what_is_folded(browser: Browser, report: Path) -> None:
    browser.show(report, width=DESKTOP)
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.textContent") == "Skip to the verdicts"
    assert browser.value("document.activeElement.getBoundingClientRect().left") >= 0
    browser.value("document.querySelector('.cell:not([open]) > summary').focus()")
    before = browser.value("document.querySelectorAll('.cell[open]').length")
    browser.press("Enter", 13, "\r")
    assert browser.value("document.querySelectorAll('.cell[open]').length") == before + 1


def test_what_can_be_focused_shows_it(browser: Browser, report: Path) -> None:
    browser.show(report, width=DESKTOP)
    browser.press("Tab", 9)
    browser.press("Tab", 9)
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_link_to_a_cell_unfolds_it(browser: Browser, report: Path) -> None:
    browser.show(report, width=DESKTOP)
    browser.value("document.querySelectorAll('.cell[open]').forEach(e => e.open = false)")
    href = browser.value("document.querySelector('.card a').getAttribute('href')")
    browser.value("document.querySelector('.card a').click()")
    browser.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert browser.value(f"document.querySelector('{href}').closest('details').open") is True


def test_strategies_differ_in_more_than_colour(browser: Browser, report: Path) -> None:
    browser.show(report, width=DESKTOP)
    curves = "[...document.querySelector('#lengths svg').querySelectorAll('.curve')]"
    dashes = browser.value(f"{curves}.map(curve => curve.getAttribute('stroke-dasharray'))")
    assert len(dashes) == len(set(dashes)) == 3
