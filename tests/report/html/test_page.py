"""The page as text; test_browser.py looks at it in a browser."""

import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from perfsuite.core.options import Options
from perfsuite.core.sampling_check import Passage, SamplingCheck
from perfsuite.core.workload import ModelSpec
from perfsuite.report.html.page import page
from perfsuite.report.run import Run
from tests.builders import make_baseline, make_cell, make_environment, make_recording
from tests.reported import make_run

VOID = {"meta"}
LARGEST_PAGE = 10_000_000


class Checker(HTMLParser):
    """Every element that is opened is closed in its turn; ids are there once; links lead somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


@cache
def whole() -> str:
    return page(make_run(("eager", "jit-cuda-graph"), (10, 100, 400), samples=320, notes=("a note",)))


def test_the_page_is_well_formed_and_its_links_lead_somewhere() -> None:
    found = checked(whole())
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)


def test_the_page_begins_with_a_list_of_its_parts_in_their_order() -> None:
    text = whole()
    listed = re.findall(r'<li><a href="#(\w+)">([^<]+)</a></li>', text[text.index("<nav") : text.index("</nav>")])
    sections = re.findall(r'<section id="(\w+)"><h2>([^<]+)</h2>', text)
    assert listed == sections
    assert [name for name, _ in listed] == [
        *("verdicts", "strategies", "lengths", "cells", "environment", "text", "tables"),
    ]
    assert text.index("<nav") < text.index("<main")


def test_the_page_needs_no_network_and_no_script() -> None:
    found = checked(whole())
    assert not {"script", "link", "img", "iframe"} & set(found.names)
    assert not re.findall(r"(?:https?:)?//|url\(|@import", whole())


def test_the_worst_stands_in_the_heading_and_its_card_comes_first() -> None:
    texts = "\n".join(checked(whole()).texts)
    assert re.search(r"<h1>\d+ of 24 gates regressed</h1>", whole())
    assert texts.index("▲ regressed") < texts.index("▼ improved")
    assert "+16." in texts


def test_every_part_is_there() -> None:
    sections = re.findall(r'<section id="([a-z]+)"', whole())
    assert sections == ["verdicts", "strategies", "lengths", "cells", "environment", "text", "tables"]


def test_the_floor_the_front_and_when_it_pays_are_drawn_and_told() -> None:
    texts = " ".join(checked(whole()).texts)
    assert whole().count('class="floor" d="M') == 2 + 2  # two plots and their legends
    assert "hardware floor" in texts
    assert "on the Pareto front" in texts
    assert re.search(r"after \d+ requests: 90\.00 s more to start", texts)


def test_warm_ups_outliers_and_samples_that_were_set_aside_are_told_apart_in_a_trace() -> None:
    texts = " ".join(checked(whole()).texts)
    assert "12 warm-up, in no number" in texts
    assert "1 set aside and taken anew" in texts
    assert "over 10 MAD off the median, kept" in texts


def test_what_differs_in_the_environment_comes_first() -> None:
    found = re.search(r'<section id="environment">.*?</section>', whole(), re.DOTALL)
    assert found is not None
    rows = re.findall(r"<tr>(.*?)</tr>", found[0])
    assert "≠" in rows[1]
    assert "node-0" in rows[1] + rows[2]
    assert "2 differences to the baseline" in found[0]


def test_only_the_worst_cells_are_unfolded() -> None:
    cells = re.findall(r'<details open="" class="cell"><summary>.*?</summary>', whole())
    assert len(cells) == 1
    assert "jit-cuda-graph/llama-2-7b/p100-o32" in cells[0]


def test_a_name_cannot_smuggle_anything_in() -> None:
    evil = "<script>alert(1)</script>"
    cell = replace(make_cell(), strategy=f"mod:{evil}", model=ModelSpec(name="tiny"))
    recording = replace(
        make_recording(cell, environment=make_environment(device=evil)),
        sampling=SamplingCheck(draws=1, passage=Passage(before=evil, text=evil)),
    )
    text = page(Run(options=Options(), recordings={cell: (recording,)}, notes=(evil,), command=evil))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    checked(text)


def test_a_run_without_verdicts_a_baseline_or_limits_is_shown() -> None:
    cell = make_cell()
    text = page(Run(options=Options(), recordings={cell: (make_recording(cell),)}))
    checked(text)
    assert "1 cell measured, nothing judged" in text
    assert "no baseline to compare with" in text
    assert "hardware floor" not in text


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_cell_with_hardly_a_sample_is_shown(n: int) -> None:
    cell = make_cell()
    run = Run(
        options=Options(),
        recordings={cell: (make_recording(cell, n=n, decode=n),)},
        baselines={cell: make_baseline(make_recording(cell, n=n, decode=n))},
    )
    checked(page(run))


def test_a_run_without_a_cell_is_shown() -> None:
    text = page(Run(options=Options(), recordings={}, unavailable={make_cell("vllm"): "vLLM is not installed"}))
    checked(text)
    assert "not measured: vLLM is not installed" in text


def test_500_cells_stay_far_below_the_largest_page() -> None:
    """The plots of a page share a number of points, so a small run of each part tells what 500 cells take."""
    few, some = (make_run(tuple("abcdef"[:count]), tuple(range(10, 110, 10)), samples=320) for count in (1, 3))
    pages = [len(page(_as_if_of(run, 500)).encode()) for run in (few, some)]
    a_cell = (pages[1] - pages[0]) / 20
    assert pages[0] + 490 * a_cell < LARGEST_PAGE


def _as_if_of(run: Run, cells: int) -> Run:
    """The run with as little detail as one of so many cells, by cells that were measured without a sample."""
    more = [make_cell("z", prompt=1000 + index) for index in range(cells - len(run.cells))]
    empty = {cell: (make_recording(cell, n=0, decode=0),) for cell in more}
    return replace(run, recordings={**run.recordings, **empty})
