"""A plot as SVG, readable in light and dark."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from newsletter.ranking.quality import Figure

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 720, 34, 190, 90, 46
_STYLE = (
    "text{font:14px sans-serif;fill:#222}.group{font-weight:bold}"
    ".bar{fill:#2b6cb0}.whisker{stroke:#222;stroke-width:2}.grid{stroke:#ccc}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.bar{fill:#63b3ed}.whisker{stroke:#eee}.grid{stroke:#555}}"
)


def bars(title: str, groups: "Mapping[str, Mapping[str, Figure]]") -> str:
    """Return one bar for each figure from 0 to 1, with its interval as a whisker, group by group."""
    rows = sum(len(each) + 1 for each in groups.values())
    height, span = _TOP + _ROW * rows + 30, _WIDTH - _LEFT - _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"',
        f'aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text x="10" y="24">{escape(title)}</text>',
    ]
    for tick in range(6):
        x = _LEFT + span * tick / 5
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{height - 26}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{tick / 5:.1f}</text>')
    y = _TOP
    for group, figures in groups.items():
        parts.append(f'<text class="group" x="10" y="{y + 18}">By {escape(group)}</text>')
        for name, each in figures.items():
            y += _ROW
            parts += _bar(name, each, y, span)
        y += _ROW
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(name: str, figure: "Figure", y: int, span: int) -> list[str]:
    low, high = _LEFT + span * figure.low, _LEFT + span * figure.high
    return [
        f'<text x="{_LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="bar" x="{_LEFT}" y="{y}" width="{span * figure.value:.1f}" height="20"/>',
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 10}" y2="{y + 10}"/>',
        f'<text x="{_WIDTH - _RIGHT + 14}" y="{y + 15}">{figure.value:.3f}</text>',
    ]
