"""How figures look: a palette with light and dark values, and SVG that follows the reader's theme.

Figures are drawn with the light values. In the SVG every colour of the palette then becomes a CSS variable,
so that one picture serves both themes. Text stays text, in the reader's own font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Set
from html import escape
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ssl_sweep.ssl_core.config.registry import METHODS, trained_methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK, MUTED, GRID, PAPER = "#1d232b", "#5c6773", "#e4e8ec", "#fefefe"
BLUES = ("#9cc3e4", "#6ba6d6", "#3f87c4", "#1f6cb4", "#12529c", "#0a3a80")
"""From small to large; dark themes run from dim to bright. All are too blue to be mistaken for ink."""
HUES = ("#0072b3", "#c25000", "#00805c", "#a64d8d", "#946200", "#4f6d7a")
"""Blue, vermilion, green, mauve, ochre, slate: distinct for the colour-blind, contrast 4.5:1 on white."""
HEAT, BAD = "#1c74bc", "#c0392b"

DARK = {
    INK: "#e8ecf1",
    MUTED: "#a3adb8",
    GRID: "#323a44",
    PAPER: "#161b22",
    **dict(zip(BLUES, ("#2f5f8a", "#3b7cb3", "#4792d2", "#5fade9", "#7fc3fa", "#a9d8ff"), strict=True)),
    **dict(zip(HUES, ("#4fb0ee", "#ff9152", "#3ccb9d", "#e095cb", "#e0b04a", "#a9c4d0"), strict=True)),
    HEAT: "#2f8ad6",
    BAD: "#ff8375",
}
MARKERS = ("o", "s", "D", "^", "v", "P")
DPI = 160
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_POINTER = re.compile(r"(?:^|url\()#([^)]+)")
"""A reference to an id."""
_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are data
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def variable(colour: str) -> str:
    """The name of a palette colour's CSS variable."""
    return f"--c{colour[1:]}"


def theme_css() -> tuple[str, str]:
    """The CSS declarations of all colours, for a light and for a dark page."""
    light = " ".join(f"{variable(colour)}:{colour};" for colour in DARK)
    return light, " ".join(f"{variable(colour)}:{dark};" for colour, dark in DARK.items())


def rc() -> dict[str, Any]:
    """Settings for ``matplotlib.rc_context``; figures are drawn and written under them."""
    return dict(_RC)


def sequence(n: int) -> list[str]:
    """``n`` colours for items in ascending order; the largest is the darkest."""
    if n == 1:
        return [BLUES[3]]
    first = max(0, len(BLUES) - max(n, 4))
    steps = [first + round(i * (len(BLUES) - 1 - first) / (n - 1)) for i in range(n)]
    return [BLUES[step] for step in steps]


def hue(position: int) -> str:
    """A colour for the item at a position without order; colours repeat after the sixth."""
    return HUES[position % len(HUES)]


def marker(position: int) -> str:
    """A marker for the item at a position; it differs if the colour repeats."""
    return MARKERS[(position + position // len(HUES)) % len(MARKERS)]


_METHODS = {name: METHODS[name].title for name in trained_methods()}


def short(name: object, most: int = 18) -> str:
    """A name shortened in its middle to ``most`` letters; tables and captions show it whole."""
    text = str(name)
    return text if len(text) <= most else f"{text[: (most + 1) // 2]}…{text[len(text) - most // 2 + 1 :]}"


def method_name(method: object) -> str:
    """A method of the results table as its authors write it."""
    return _METHODS.get(str(method), str(method))


def method_look(method: str) -> tuple[str, str]:
    """A method's colour and marker, the same in every figure."""
    position = list(_METHODS).index(method) if method in _METHODS else len(_METHODS)
    return hue(position), marker(position)


def method_order(method: str) -> tuple[int, str]:
    """Sorts methods as figures list them."""
    return (list(_METHODS).index(method) if method in _METHODS else len(_METHODS), method)


def count(n: float) -> str:
    """A number of images as on an axis: 500, 1.5k, 50k, 1M."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if n >= size:
            return f"{n / size:.3g}{unit}"
    return f"{n:g}"


def rounded(n: float) -> str:
    """``count`` of two significant digits, for numbers that are estimates."""
    return count(float(f"{n:.2g}"))


def log_counts(axis: Axes, values: list[float], label: str) -> None:
    """Make the x axis logarithmic with a tick at each value, except where ticks would touch."""
    from math import log10

    axis.set_xscale("log")
    low, high = min(values), max(values)
    span = max(log10(high / low), 0.3)
    axis.set_xlim(10 ** (log10(low) - 0.06 * span), 10 ** (log10(high) + 0.06 * span))
    width = axis.get_window_extent().width / axis.get_figure().dpi * 2.4  # type: ignore[union-attr]
    ticks: list[float] = []
    for value in sorted(set(values)):
        if not ticks or log10(value / ticks[-1]) / (1.12 * span) > 1 / max(width, 2):
            ticks.append(value)
    axis.set_xticks(ticks, [count(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel(label)


def svg(canvas: Canvas, name: str, label: str) -> str:
    """The figure as SVG for inlining, with its colours as CSS variables of the page; this fixes its layout.

    Args:
        name: makes its ids unique in a page.
        label: what a screen reader says.
    """
    import matplotlib

    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({**_RC, "svg.hashsalt": name}):
        canvas.savefig(stream, format="svg", metadata=nothing)
    canvas.set_layout_engine("none")  # the PNG gets the same layout, without working it out again
    root = ElementTree.fromstring(stream.getvalue())
    for parent in list(root.iter()):
        for child in [one for one in parent if one.tag in (f"{_SVG}metadata", f"{_SVG}style")]:
            parent.remove(child)
    used = {
        found for one in root.iter() for value in one.attrib.values() for found in _POINTER.findall(value)
    }
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        attributes = dict(_rewritten(element.attrib, name, used))
        element.attrib.clear()
        element.attrib.update(attributes)
    pixels = {
        side: f"{float(root.attrib[side].removesuffix('pt')) * 4 / 3:.0f}" for side in ("width", "height")
    }
    head = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label, **pixels}
    root.attrib.clear()
    root.attrib.update(head)
    return ElementTree.tostring(root, encoding="unicode")


def alone(inline: str, caption: str) -> str:
    """The same for a file of its own, with both themes inside."""
    light, dark = theme_css()
    inside = (
        f"<desc>{escape(caption)}</desc><style>svg{{{light}--font:{_FAMILY};stroke-linejoin:round}}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark}background:{DARK[PAPER]}}}}}</style>"
    )
    head, _, rest = inline.partition(">")
    return head.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + ">" + inside + rest


def png(canvas: Canvas) -> bytes:
    """The figure on the light theme's paper."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context(_RC):
        canvas.savefig(stream, format="png", dpi=DPI, facecolor=PAPER, metadata={"Software": None})
    return stream.getvalue()


def _rewritten(attributes: Mapping[str, str], name: str, used: Set[str]) -> Iterator[tuple[str, str]]:
    """The attributes with palette colours as CSS variables; ids that are ``used`` get the figure's name."""
    for key, value in attributes.items():
        if key == "id":
            if value in used:
                yield key, f"{name}-{value}"
        elif key == _LINK:
            yield "href", f"#{name}-{value[1:]}"
        else:
            value = value.replace("url(#", f"url(#{name}-").replace("'DejaVu Sans'", "var(--font)")
            for colour in DARK:
                value = value.replace(colour, f"var({variable(colour)})")
            yield key, value
