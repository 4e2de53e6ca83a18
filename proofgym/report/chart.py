"""Line charts as SVG, without a library: axes, lines, points that say their value on hover."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Final

POINTS: Final = 120
"""Longer lines are drawn as means over equal stretches of steps, at most so many."""

LEFT, RIGHT, TOP, BOTTOM = 46, 14, 34, 30

PALETTE: Final = """
:root{--fg:#1b2430;--dim:#66717f;--line:#dfe4ea;--card:#ffffff;
--s0:#2563c9;--s1:#d9622b;--s2:#1d8a5f;--s3:#8a4fc0;--s4:#66717f}
@media (prefers-color-scheme:dark){:root{--fg:#e4e8ee;--dim:#97a2b1;--line:#333c49;--card:#181d25;
--s0:#74a9ff;--s1:#ff9a62;--s2:#58cf9f;--s3:#c59bf2;--s4:#97a2b1}}
"""
CHART_STYLE: Final = """
.chart{font:11px system-ui,-apple-system,"Segoe UI",sans-serif}
.chart text{fill:var(--dim)}.chart .title{fill:var(--fg);font-size:13px;font-weight:600}
.chart .grid{stroke:var(--line);stroke-width:1}.chart .path{fill:none;stroke-width:1.8}
.chart .band{stroke:none;opacity:.13}.chart .dot{opacity:0}.chart .dot:hover{opacity:1}
.chart .mark{stroke:var(--card);stroke-width:1.5}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series.

    Args:
        name: for the legend.
        points: (x, y), by growing x.
        colour: index into the palette, 0 to 4.
        dashed: drawn broken, for what is only there for comparison.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A measured point with its interval.

    Args:
        x, y, low, high: where.
        colour: index into the palette.
        name: what hovering says.
    """

    x: float
    y: float
    low: float
    high: float
    colour: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One figure.

    Args:
        title: what is drawn.
        lines: the series.
        marks: single points.
        unit_range: whether y is a rate, so that the axis is [0, 1] or within it.
        log_x: whether equal steps along x are doublings.
        width, height: in px of its own coordinates; it scales.
        x_label: what x counts.
    """

    title: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = field(default=())
    unit_range: bool = False
    log_x: bool = False
    width: int = 380
    height: int = 220
    x_label: str = "step"

    def svg(self) -> str:
        """Draw it for a page that has the styles."""
        return f'<svg class="chart" {self._frame()}>{self._inside()}</svg>'

    def standalone(self) -> str:
        """Draw it as a file of its own, for light and dark pages."""
        style = f"<style>{PALETTE}{CHART_STYLE}</style>"
        back = f'<rect width="{self.width}" height="{self.height}" rx="8" fill="var(--card)"/>'
        name = 'xmlns="http://www.w3.org/2000/svg" class="chart"'
        return f"<svg {name} {self._frame()}>{style}{back}{self._inside()}</svg>\n"

    def _frame(self) -> str:
        label = escape(self.title, quote=True)
        return f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}"'

    def _inside(self) -> str:
        lines = [replace(one, points=thinned(one.points)) for one in self.lines]
        xs = [x for one in lines for x, _ in one.points] + [mark.x for mark in self.marks]
        ys = [y for one in lines for _, y in one.points]
        ys += [value for mark in self.marks for value in (mark.low, mark.high)]
        title = f'<text class="title" x="{LEFT - 34}" y="18">{escape(self.title)}</text>'
        if not xs or not ys:
            return f'{title}<text x="{LEFT}" y="{self.height / 2:.0f}">nothing yet</text>'
        scale = _Scale.of(self, xs, ys)
        parts = [title, self._legend(lines), *scale.axes(self.x_label)]
        parts += [_path(one, scale) for one in lines]
        parts += [_mark(one, scale) for one in self.marks]
        parts += [_dots(one, scale) for one in lines]
        return "".join(parts)

    def _legend(self, lines: Sequence[Line]) -> str:
        """Draw the names at the right of the title, the last one outermost."""
        if len(lines) < 2:
            return ""
        parts: list[str] = []
        x = float(self.width - RIGHT)
        for line in reversed(lines):
            width = 5.7 * len(line.name)
            x -= width
            dash = ' stroke-dasharray="4 3"' if line.dashed else ""
            parts.append(
                f'<line x1="{x - 20:.1f}" x2="{x - 5:.1f}" y1="14" y2="14" stroke-width="2.5" '
                f'stroke="var(--s{line.colour})"{dash}/>'
                f'<text x="{x:.1f}" y="18">{escape(line.name)}</text>'
            )
            x -= 34
        return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From values to px."""

    x_low: float
    x_high: float
    y_ticks: Sequence[float]
    width: int
    height: int
    log_x: bool

    @classmethod
    def of(cls, chart: Chart, xs: Sequence[float], ys: Sequence[float]) -> "_Scale":
        low, high = min(ys), max(ys)
        if chart.unit_range:
            low, high = 0.0, 1.0
        return cls(
            x_low=min(xs),
            x_high=max(xs) if max(xs) > min(xs) else min(xs) + 1,
            y_ticks=ticks(low, high, 4),
            width=chart.width,
            height=chart.height,
            log_x=chart.log_x,
        )

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        if self.log_x:
            share = math.log(value / self.x_low) / math.log(self.x_high / self.x_low)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)

    def axes(self, x_label: str) -> list[str]:
        right, base = self.width - RIGHT, self.height - BOTTOM
        parts: list[str] = []
        for tick in self.y_ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>'
            )
        for tick in self._x_ticks():
            if self.x_low <= tick <= self.x_high:
                x = self.x(tick)
                parts.append(
                    f'<text x="{x:.1f}" y="{base + 15}" text-anchor="middle">{number(tick)}</text>'
                )
        middle = (LEFT + right) / 2
        parts.append(
            f'<text x="{middle:.0f}" y="{base + 27}" text-anchor="middle">{escape(x_label)}</text>'
        )
        return parts

    def _x_ticks(self) -> list[float]:
        if not self.log_x:
            return ticks(self.x_low, self.x_high, 5)
        first, last = (round(math.log2(end)) for end in (self.x_low, self.x_high))
        return [2.0**power for power in range(first, last + 1)]


def ticks(low: float, high: float, count: int) -> list[float]:
    """Choose about ``count`` round steps that cover [low, high]."""
    span = high - low
    if span / count < sys.float_info.min:  # none, or too small to be parted
        span = max(abs(high), sys.float_info.epsilon)
        low, high = low - span / 2, high + span / 2
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """Write a tick's number shortly."""
    if abs(value) < 1e-12:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.10g}" if value == round(value) else f"{value:.3g}"
    return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Draw a long line as means over equal stretches; its ends stay where they are."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if len(finite) <= POINTS:
        return finite
    out: list[tuple[float, float]] = []
    for index in range(POINTS):
        chunk = finite[index * len(finite) // POINTS : (index + 1) * len(finite) // POINTS]
        out.append((chunk[-1][0], sum(y for _, y in chunk) / len(chunk)))
    return [(finite[0][0], out[0][1]), *out[1:]]


def _path(line: Line, scale: _Scale) -> str:
    if not line.points:
        return ""
    course = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in line.points)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    return f'<polyline class="path" stroke="var(--s{line.colour})"{dash} points="{course}"/>'


def _dots(line: Line, scale: _Scale) -> str:
    return "".join(
        f'<circle class="dot" cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="4" '
        f'fill="var(--s{line.colour})"><title>{escape(line.name)}, {number(x)}: {y:.4g}</title>'
        "</circle>"
        for x, y in line.points
    )


def _mark(mark: Mark, scale: _Scale) -> str:
    x, colour = f"{scale.x(mark.x):.1f}", f"var(--s{mark.colour})"
    said = f"{mark.name}: {mark.y:.3f} [{mark.low:.3f}, {mark.high:.3f}]"
    return (
        f'<g><title>{escape(said)}</title><line x1="{x}" x2="{x}" y1="{scale.y(mark.low):.1f}" '
        f'y2="{scale.y(mark.high):.1f}" stroke="{colour}" stroke-width="2"/>'
        f'<circle class="mark" cx="{x}" cy="{scale.y(mark.y):.1f}" r="5" fill="{colour}"/></g>'
    )
