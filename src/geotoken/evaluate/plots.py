"""Line plots as SVG that takes its colours from the page it stands in.

Owns axes, lines and legends; must not know what is plotted.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 460
"""Width of a plot in its own units."""
HEIGHT: Final = 300
"""Height of a plot in its own units."""
NUM_COLORS: Final = 6
"""Classes s0 to s5 that the page colours; further lines begin anew."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
_LEGEND_STEP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a plot."""

    label: str
    """What it shows."""
    low: float
    """Least value."""
    high: float
    """Greatest value."""
    ticks: Sequence[tuple[float, str]]
    """Values that are marked, with their texts."""
    log: bool = False
    """Whether equal steps are equal ratios; `low` is then more than 0."""

    def place(self, value: float) -> float:
        """Where a value is.

        Args:
            value: Any; one outside of the axis is put at its end.

        Returns:
            0 at the low end to 1 at the high end.
        """
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a plot."""

    name: str
    """What the legend says."""
    points: Sequence[tuple[float, float]]
    """Its corners, from left to right."""
    dots: bool = False
    """Whether the corners are marked."""


PERCENT: Final = tuple((float(p), f"{p}") for p in range(0, 101, 20))
"""Ticks of a percentage."""


def plot(title: str, x: Axis, y: Axis, lines: Sequence[Line], *, diagonal: bool = False) -> str:
    """Draw lines.

    Args:
        title: What the plot is about, also for those who cannot see it.
        x: The horizontal axis.
        y: The vertical axis.
        lines: The lines; at most `NUM_COLORS` are told apart.
        diagonal: Whether a thin line from corner to corner shows where both axes are equal.

    Returns:
        A `figure` element; texts are escaped.
    """
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def at(px: float, py: float) -> tuple[float, float]:
        return _LEFT + x.place(px) * (right - _LEFT), bottom - y.place(py) * (bottom - _TOP)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}"/>',
    ]
    for value, text in x.ticks:
        px = at(value, y.low)[0]
        parts.append(f'<path class="grid" d="M{px:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{px:.1f}" y="{bottom + 15}">{html.escape(text)}</text>')
    for value, text in y.ticks:
        py = at(x.low, value)[1]
        parts.append(f'<path class="grid" d="M{_LEFT} {py:.1f}H{right}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{py + 4:.1f}">{html.escape(text)}</text>')
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(f'<text class="mid" x="{middle_x}" y="{HEIGHT - 6}">{html.escape(x.label)}</text>')
    parts.append(
        f'<text class="mid" x="12" y="{middle_y}" transform="rotate(-90 12 {middle_y})">'
        f"{html.escape(y.label)}</text>"
    )
    if diagonal:
        (x0, y0), (x1, y1) = at(x.low, y.low), at(x.high, y.high)
        parts.append(f'<path class="even" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>')
    for number, line in enumerate(lines):
        corners = [at(*point) for point in line.points]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in corners)
        color = f"s{number % NUM_COLORS}"
        parts.append(f'<path class="line {color}" d="M{path}"/>')
        if line.dots:
            parts += [f'<circle class="{color}" cx="{px:.1f}" cy="{py:.1f}" r="2.6"/>' for px, py in corners]
    parts += _legend(lines, right, bottom)
    return f"<figure>{''.join(parts)}</svg><figcaption>{html.escape(title)}</figcaption></figure>"


def _legend(lines: Sequence[Line], right: float, bottom: float) -> list[str]:
    """Names at the lower right, where none of our lines are; nothing for a line alone."""
    if len(lines) < 2:
        return []
    parts, top = [], bottom - 10 - _LEGEND_STEP * (len(lines) - 1)
    for number, line in enumerate(lines):
        py = top + _LEGEND_STEP * number
        parts.append(f'<path class="line s{number % NUM_COLORS}" d="M{right - 24} {py - 4}H{right - 6}"/>')
        parts.append(f'<text class="tick end halo" x="{right - 30}" y="{py}">{html.escape(line.name)}</text>')
    return parts
