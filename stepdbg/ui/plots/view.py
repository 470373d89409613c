"""One plot: legend, curves with their axes, and the numbers under the cursor."""

from __future__ import annotations

import math
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from stepdbg.client.series import Curve, Plots, Point, Run
from stepdbg.ui import format as fmt
from stepdbg.ui.plots import canvas
from stepdbg.ui.plots.look import Look, at_cursor, cursor_iteration, window

TITLES = {
    "loss": "loss",
    "grad": "gradient norm before each step",
    "lr": "learning rate",
    "ratio": "update ratio |Δw|/|w| of each step",
}

NOTHING = {
    "loss": "no loss yet: it is read at each stop, and now and then while the script runs free",
    "grad": "no gradient norm yet: it is measured at each optimizer step that is stepped through (n, i)",
    "lr": "no learning rate: no optimizer is known yet",
    "ratio": "no update ratio yet: it is measured at each optimizer step that is stepped through (n, i)",
}

MARKERS = "●▲■◆○△□◇"
COLOURS = 5
LABEL = 9
"""Columns for the numbers at the left."""

Named = tuple[Run, str, Curve]


class PlotView(Widget, can_focus=False):
    """Draws what it is given; the screen around it has the keys."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "plot--axis",
        "plot--cursor",
        "plot--muted",
        "plot--bad",
        *(f"plot--line-{n}" for n in range(COLOURS)),
    }
    DEFAULT_CSS = """
    PlotView {
        width: 1fr; height: 1fr;
        border: round $border-blurred; border-title-color: $foreground 80%; border-subtitle-color: $foreground 75%;
        & > .plot--axis { color: $text-muted; }
        & > .plot--muted { color: $text-muted; }
        & > .plot--cursor { color: $text-disabled; }
        & > .plot--bad { color: $text-error; text-style: bold; }
        & > .plot--line-0 { color: $accent; }
        & > .plot--line-1 { color: $text-warning; }
        & > .plot--line-2 { color: $text-success; }
        & > .plot--line-3 { color: $text-primary; }
        & > .plot--line-4 { color: $text-secondary; }
    }
    PlotView.-current { border: round $border; border-title-color: $foreground; border-title-style: bold; }
    """

    def __init__(self, metric: str) -> None:
        super().__init__(id=f"plot-{metric}")
        self.metric = metric
        self._plots, self._look = Plots(), Look()
        self._lines: list[Strip] | None = None
        self.border_title = TITLES[metric]

    def show(self, plots: Plots, look: Look) -> None:
        """Draw these curves, as far as the user looks at them."""
        self._plots, self._look = plots, look
        self._lines = None
        self.set_class(look.metric == self.metric, "-current")
        log = " · logarithmic" if look.log else ""
        self.border_title = Content(f"{TITLES[self.metric]}{log}").markup
        self.border_subtitle = Content(self._remark()).markup
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines = None

    def on_resize(self) -> None:
        """Another size: everything stands elsewhere."""
        self._lines = None

    def render_line(self, y: int) -> Strip:
        if self._lines is None:
            self._lines = self._draw(self.size.width, self.size.height)
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    # ── lines ───────────────────────────────────────────────────────────────────────────────────────────────

    def _draw(self, width: int, height: int) -> list[Strip]:
        curves = list(self._plots.curves(self.metric))
        rows, columns = height - 3, width - LABEL - 1
        if rows < 2 or columns < 8:
            return []
        if not curves:
            return self._sentence(self._why_nothing(), width, height)
        first, last = window(self._look, self._plots)
        points = [curve.points for _, _, curve in curves]
        frame = canvas.frame_of(points, first, last, log=self._look.log)
        legend = self._line(self._legend(curves), width)
        readout = self._line(self._readout(curves), width)
        if frame is None:
            what = "nothing recorded in these iterations" if not self._look.log else "no value above zero here"
            return [legend, *self._sentence(what, width, height - 2), readout]
        markers = [MARKERS[n % len(MARKERS)] for n in range(len(curves))]
        grid = canvas.draw(points, markers, frame, columns, rows)
        labels = _y_labels(frame, rows)
        at = self._cursor_column(frame, columns)
        lines = [self._row(grid[y], labels.get(y), at, curves) for y in range(rows)]
        return [legend, *lines, self._line(_x_axis(frame, columns), width), readout]

    def _row(self, cells: list[canvas.Cell], label: str | None, cursor: int | None, curves: list[Named]) -> Strip:
        spans = [(f"{label or '':>{LABEL}}", "axis"), ("┤" if label else "│", "axis")]
        for column, cell in enumerate(cells):
            if cell.line == canvas.NOWHERE:
                spans.append(("┊" if column == cursor else " ", "cursor"))
            elif cell.text == canvas.NOT_FINITE:
                spans.append((cell.text, "bad"))
            else:
                spans.append((cell.text, self._role(cell.line, curves)))
        return self._line(spans, len(cells) + LABEL + 1)

    def _line(self, spans: list[tuple[str, str]], width: int) -> Strip:
        segments: list[Segment] = []
        for text, role in _runs(spans):
            segments.append(Segment(text, self._style(role)))
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _style(self, role: str) -> Style:
        style = self.rich_style
        if role:
            own = self.get_component_rich_style(f"plot--{role}")
            style += Style(color=own.color, bold=own.bold)
        return style

    def _sentence(self, text: str, width: int, height: int) -> list[Strip]:
        blank = Strip.blank(width, self.rich_style)
        words, lines = text.split(), [""]
        for word in words:
            if fmt.columns(lines[-1]) + fmt.columns(word) + 1 > width - 4:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        above = max((height - len(lines)) // 2, 0)
        drawn = [self._line([(f"{line:^{width}}", "muted")], width) for line in lines]
        return [*[blank] * above, *drawn, *[blank] * (height - above - len(drawn))][:height]

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────

    def _role(self, number: int, curves: list[Named]) -> str:
        """By run, the present one first; by name where there is one run only."""
        runs = list(dict.fromkeys(run.number for run, _, _ in curves))
        if len(runs) == 1:
            return f"line-{number % COLOURS}"
        return f"line-{(len(runs) - 1 - runs.index(curves[number][0].number)) % COLOURS}"

    def _legend(self, curves: list[Named]) -> list[tuple[str, str]]:
        spans: list[tuple[str, str]] = []
        for number in range(len(curves) - 1, -1, -1):
            run, name, curve = curves[number]
            what = f"run {run.number}{' (now)' if run is self._plots.now else ''} {name}".rstrip()
            spans += [(f" {MARKERS[number % len(MARKERS)]} ", self._role(number, curves)), (what, "")]
            if any(point.coarse for point in curve.points):
                spans.append((" · dots: read while running free", "muted"))
            spans.append(("  ", ""))
        return spans

    def _readout(self, curves: list[Named]) -> list[tuple[str, str]]:
        iteration = cursor_iteration(self._look, self._plots)
        if iteration is None:
            return []
        spans: list[tuple[str, str]] = [(f" iteration {iteration:,} ", "")]
        for number in range(len(curves) - 1, -1, -1):
            run, name, curve = curves[number]
            spans.append((f" {MARKERS[number % len(MARKERS)]} ", self._role(number, curves)))
            who = name or ("" if len({r.number for r, _, _ in curves}) == 1 else f"run {run.number}")
            what = self.metric if not name else ""
            point = at_cursor(curve.points, iteration)
            words = told(point, curve.points) if point is not None else "not recorded"
            spans.append((" ".join(part for part in (who, what, words) if part), "" if point else "muted"))
        return spans

    def _why_nothing(self) -> str:
        run = self._plots.now
        return run.notes.get(self.metric) or NOTHING[self.metric]

    def _remark(self) -> str:
        if self.metric not in {"grad", "ratio"}:
            return ""
        run = self._plots.now
        if self.metric == "ratio" and run.notes.get("ratio"):
            return run.notes["ratio"]
        return f"recorded since iteration {run.since:,}, when you opened this" if run.since else ""

    def _cursor_column(self, frame: canvas.Frame, columns: int) -> int | None:
        iteration = cursor_iteration(self._look, self._plots)
        if iteration is None or not frame.first <= iteration <= frame.last:
            return None
        return int(frame.x(iteration, 2 * columns - 1)) // 2


def told(point: Point, points: tuple[Point, ...]) -> str:
    """The exact numbers of a point: "0.6712", "0.61 … 0.67 in iterations 12–15 (4 values)"."""
    note = f" ({point.note})" if point.note else ""
    if point.count > 1:
        ends = f"{exact(point.low)} … {exact(point.high)}" if point.low is not None else "not finite"
        where = f"iterations {point.first:,}–{point.last:,}" if point.last > point.first else "this iteration"
        return f"{ends} in {where} ({point.count:,} values){note}"
    others = sum(1 for other in points if other.first == other.last == point.last and other.count == 1)
    of = f" (last of {others} in this iteration)" if others > 1 else ""
    return f"{exact(point.value)}{of}{note}{' (read while running free)' if point.coarse else ''}"


def exact(value: float | None) -> str:
    """A number to six significant digits."""
    return "–" if value is None else f"{value:.6g}".replace("-", fmt.MINUS)


def _runs(spans: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of the same role as one."""
    result: list[tuple[str, str]] = []
    for text, role in spans:
        if result and result[-1][1] == role:
            result[-1] = (result[-1][0] + text, role)
        else:
            result.append((text, role))
    return result


def _y_labels(frame: canvas.Frame, rows: int) -> dict[int, str]:
    """Row → the number that stands there, right-aligned."""
    labels: dict[int, str] = {}
    whole = frame.log and frame.high - frame.low >= 2
    for tick in canvas.ticks(frame.low, frame.high, max(rows // 3, 2), whole=whole):
        up = (tick - frame.low) / (frame.high - frame.low) if frame.high > frame.low else 0.5
        row = round((1 - up) * (4 * rows - 1)) // 4
        value = 10.0**tick if frame.log and abs(tick) < 300 else tick
        labels.setdefault(row, _short(value))
    return labels


def _short(value: float) -> str:
    text = f"{value:.6g}"
    if len(text) > LABEL - 1:
        text = f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", fmt.MINUS) + " "


def _x_axis(frame: canvas.Frame, columns: int) -> list[tuple[str, str]]:
    line = [" "] * (LABEL + 1 + columns)
    free = 0
    for tick in canvas.ticks(frame.first, frame.last, max(columns // 14, 2), whole=True):
        text = f"{round(tick):,}"
        at = LABEL + 1 + int(frame.x(tick, 2 * columns - 1)) // 2
        start = min(max(at - len(text) // 2, free), len(line) - len(text))
        if start < free or not math.isfinite(tick):
            continue
        line[start : start + len(text)] = text
        free = start + len(text) + 2
    return [("".join(line), "axis")]
