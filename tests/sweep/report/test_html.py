"""The page: one file, nothing loaded, names harmless, readable without colour, sorted and themed in a
browser."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from results_frame import Table
from study_table import HOSTILE

from ssl_sweep.sweep.report import style
from ssl_sweep.sweep.report.report import ReportFiles, write_report

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


class Parsed(HTMLParser):
    """Every tag with its attributes, the headings' depths, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def text(report: ReportFiles) -> str:
    return report.page.read_text()


@pytest.fixture(scope="module")
def page(text: str) -> Parsed:
    return Parsed(text)


def test_nothing_is_loaded_and_only_our_script_may_run(text: str, page: Parsed) -> None:
    addresses = [
        v
        for _, attrs in page.tags
        for k, v in attrs.items()
        if k in ("src", "href", "srcset", "data", "action")
    ]
    assert addresses and all(address and address.startswith("#") for address in addresses)
    assert not page.of("link") and "@import" not in text and not re.search(r"url\((?!#)", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_names_are_text_wherever_they_stand(text: str, page: Parsed, report: ReportFiles) -> None:
    assert len(page.of("script")) == 1
    assert HOSTILE not in text and text.count("&lt;script&gt;document.title") > 20
    for path in report.figures:
        if path.suffix == ".svg":
            assert "<script" not in path.read_text()


def test_pictures_follow_the_theme_and_are_named(text: str, page: Parsed) -> None:
    figures, pictures = page.of("figure"), page.of("svg")
    assert len(pictures) == 2 * len(figures) > 30
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert f"var({style.variable(style.INK)})" in drawn
    assert not re.search(r"(fill|stroke): #(?!fff)", drawn), "a colour that does not follow the theme"
    assert "<text" in drawn, "text stays text"
    ids = Counter(attributes["id"] for _, attributes in page.tags if attributes.get("id"))
    assert max(ids.values()) == 1
    for target in set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text)):
        assert target in ids


def test_every_colour_can_be_read_in_both_themes() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        light, dark = sorted((luminance(a), luminance(b)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for colour in (
        style.INK,
        style.MUTED,
        *style.HUES,
        *style.BLUES[3:],
    ):  # these are also the colour of text
        assert contrast(colour, style.PAPER) >= 4.5, colour
        assert contrast(style.DARK[colour], style.DARK[style.PAPER]) >= 4.5, colour


def test_verdicts_do_not_hang_on_colour_and_headings_do_not_skip(text: str, page: Parsed) -> None:
    badges = re.findall(r'<span class="badge [^"]*"><span aria-hidden="true">(.)</span> ([^<]+)</span>', text)
    assert badges and set(badges) <= {("✓", "holds"), ("✗", "does not hold"), ("?", "not enough evidence")}
    depths = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert depths[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(depths))


def test_tables_are_sorted_by_buttons(page: Parsed) -> None:
    heads = [i for i, (tag, _) in enumerate(page.tags) if tag == "th"]
    assert len(heads) > 50 and all(page.tags[i + 1][0] == "button" for i in heads)


@pytest.fixture(scope="module")
def browser() -> str:
    found = os.environ.get("SSL_SWEEP_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("no browser: set SSL_SWEEP_CHROMIUM, or put chromium on the path")
    return found


def start(browser: str, page: Path, *options: str) -> str:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [browser, *flags, *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.stdout


def test_a_browser_runs_our_script_and_no_other(browser: str, report: ReportFiles, tmp_path: Path) -> None:
    driven = tmp_path / "driven.html"
    click = (
        "document.querySelectorAll('thead button').forEach(b =>"
        " { if (b.textContent === 'mean') b.click(); });"
    )
    digest = base64.b64encode(hashlib.sha256(click.encode()).digest()).decode()
    text = report.page.read_text().replace("script-src '", f"script-src 'sha256-{digest}' '")
    driven.write_text(text.replace("</body>", f"<script>{click}</script></body>"))
    shown = start(browser, driven, "--dump-dom")
    assert re.search(r'<button class="theme" type="button">(Dark|Light) theme</button>', shown)
    assert "<title>study &lt;script&gt;" in shown, "the name of a dataset ran as a script"
    table = shown[shown.index('aria-sort="ascending"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    column = [re.findall(r"<td[^>]*>[^<]*</td>", row) for row in body.split("</tr>")[:-1]]
    names = re.findall(r"<button[^>]*>([^<]*)", table_head(shown))
    place = names.index("mean")
    values = [
        float(found.group(1))
        for cells in column
        if (found := re.search(r'data-value="([^"]+)"', cells[place]))
    ]
    assert len(values) > 5 and values == sorted(values)


def table_head(shown: str) -> str:
    end = shown.index("</thead>", shown.index('aria-sort="ascending"'))
    return shown[shown.rindex("<thead>", 0, end) : end]


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_a_browser_shows_the_figures(
    browser: str, report: ReportFiles, tmp_path: Path, width: int, dark: bool
) -> None:
    shot = tmp_path / "shot.png"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    page = tmp_path / "figures.html"  # a picture begins at the top, where the findings are
    hidden = '<style>header.top, [aria-labelledby="findings"] { display: none }</style></head>'
    page.write_text(report.page.read_text().replace("</head>", hidden, 1))
    start(browser, page, scheme, f"--window-size={width},1500", f"--screenshot={shot}")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours = {tuple(int(c) for c in colour) for colour in np.unique(pixels, axis=0)}

    def value(colour: str) -> tuple[int, ...]:
        shown = style.DARK[colour] if dark else colour
        return tuple(int(shown[i : i + 2], 16) for i in (1, 3, 5))

    assert value(style.PAPER) == tuple(int(c) for c in np.median(pixels, axis=0))
    assert value(style.BLUES[-1]) in colours and value(style.INK) in colours, "no figure to be seen"


def test_a_long_name_makes_no_phone_scroll_sideways(browser: str, tmp_path: Path) -> None:
    table, name = Table(n_test=50), "w" * 120
    for source in (name, "land"):
        table.add(0.5, eval_domain=name, pretrain_domain=source)
    page = write_report(table.arrow(), tmp_path / "out", title=name).page
    measure = "document.title = `${document.documentElement.scrollWidth} of ${innerWidth}`"
    digest = base64.b64encode(hashlib.sha256(measure.encode()).digest()).decode()
    text = page.read_text().replace("script-src '", f"script-src 'sha256-{digest}' '")
    page.write_text(text.replace("</body>", f"<script>{measure}</script></body>"))
    shown = start(browser, page, "--window-size=390,900", "--dump-dom")
    wide, room = map(int, re.findall(r"<title>(\d+) of (\d+)</title>", shown)[0])
    assert wide <= room


def test_a_page_that_was_switched_to_dark_prints_light() -> None:
    from ssl_sweep.sweep.report.html import _css

    css = re.sub(r"@media screen[^{]*\{ :root[^{]*\{[^}]*\} \}", "", _css())
    assert f"--paper: {style.PAPER}" in css
    assert "color-scheme: dark" not in css and style.DARK[style.INK] not in css
