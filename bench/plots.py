"""Bars as SVG: a bar for each median, a thin line for its range."""

from collections.abc import Mapping
from html import escape

from bench.spread import Spread

WIDTH, LABELS, BARS, ROW, TOP = 720, 230, 400, 30, 44


def bars(title: str, spreads: Mapping[str, Spread], marked: str) -> str:
    """Return the plot of ``spreads``, the highest first; the bar of ``marked`` stands out."""
    ordered = sorted(spreads.items(), key=lambda item: -item[1].median)
    longest = max(spread.highest for _, spread in ordered)
    height = TOP + ROW * len(ordered) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13" role="img">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (name, spread) in enumerate(ordered):
        color = "#1f6feb" if name == marked else "#9aa4af"
        lines += _bar(name, spread, TOP + ROW * row, BARS / longest, color)
    return "\n".join([*lines, "</svg>", ""])


def _bar(name: str, spread: Spread, y: int, scale: float, color: str) -> list[str]:
    middle, end = y + ROW // 2, LABELS + spread.highest * scale + 8
    low, high = LABELS + spread.lowest * scale, LABELS + spread.highest * scale
    return [
        f'<text x="{LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LABELS}" y="{y + 5}" width="{spread.median * scale:.1f}" '
        f'height="{ROW - 10}" fill="{color}"/>',
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="#24292f"/>',
        f'<text x="{end:.1f}" y="{middle + 4}">{spread.median:,.0f}</text>',
    ]
