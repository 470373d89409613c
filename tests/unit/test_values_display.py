"""Numbers, heatmaps, histograms and summaries as text: what they say is what the tensor has."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color, ColorType

from stepdbg.protocol.records import TensorStats, TensorView
from stepdbg.protocol.slices import against, read_slice
from stepdbg.ui.panes.values import heatmap, numbers
from stepdbg.ui.panes.values.histogram import histogram
from stepdbg.ui.panes.values.look import CHOICES, Look, Origin, stacked
from stepdbg.ui.panes.values.summary import summary
from stepdbg.ui.widgets.tensor_view import Lines, beside, crop, facts_line

START = Origin()


def view(cells: list[list[str]], **changes: object) -> TensorView:
    rows, columns = len(cells), len(cells[0]) if cells else 0
    made = TensorView(
        (rows, columns), "float32", "cpu", 4 * rows * columns, None, rows, columns, 0, 0, tuple(map(tuple, cells))
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def stats(**changes: object) -> TensorStats:
    made = TensorStats(100, -2.0, 4.0, 0.5, 1.5, 10.0, 25, 1, 2, 3, (1, 0, 10, 83), -2.0, 4.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def text(lines: Lines) -> list[str]:
    return ["".join(part for part, _ in line).rstrip() for line in lines]


# ── numbers ─────────────────────────────────────────────────────────────────────────────────────────────────


def back(shown: str) -> float:
    return float(shown.strip().replace("−", "-"))


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(1, 17))
def test_rounded_numbers_are_near_and_their_points_in_line(values, precision) -> None:
    cells = tuple(tuple(map(repr, line)) for line in values)
    shown = numbers.aligned(cells, precision)
    assert len({len(cell) for line in shown for cell in line}) == 1
    points = {cell.index(".") for line in shown for cell in line if "." in cell}
    assert len(points) <= 1
    for line, exact in zip(shown, values, strict=True):
        for cell, value in zip(line, exact, strict=True):
            if math.isfinite(value):
                assert back(cell) == float(f"{value:.{precision}g}")
            else:
                assert cell.strip() == str(value).replace("-", "−")


@given(st.lists(st.complex_numbers(max_magnitude=1e6), min_size=1, max_size=5))
def test_complex_numbers_read_back(values) -> None:
    (line,) = numbers.aligned((tuple(repr(v).strip("()") for v in values),), 17)
    assert len(set(map(len, line))) == 1
    for cell, value in zip(line, values, strict=True):
        assert complex(cell.replace(" ", "").replace("−", "-")) == value


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ((("1", "-20"), ("300", "4")), (("  1", "−20"), ("300", "  4"))),
        ((("True", "False"),), ((" True", "False"),)),
        ((("0.5", "-12.25"), ("nan", "-inf")), (("  0.5 ", "−12.25"), (" nan   ", "−inf   "))),
        ((("1e-05", "123456.0"),), (("1e−5", "1.235e5"),)),
        (((),), ((),)),
        ((), ()),
    ],
)
def test_aligned(cells, shown) -> None:
    made = numbers.aligned(cells, 4)
    assert [[c.strip() for c in line] for line in made] == [[c.strip() for c in line] for line in shown]
    for line in made:
        for cell in line:
            assert len(cell) == len(made[0][0])


def test_the_grid_has_indices_of_the_whole_tensor_and_one_cursor() -> None:
    axes = against(read_slice("1:, 2, 1:3"), (3, 4, 5))
    lines = numbers.grid(view([["1.5", "2.0"], ["-3.25", "0.0"]]), axes, START, Origin(1, 0), 2, 5, 4)
    assert text(lines) == ["       1      2", "1   1.5    2", "2  −3.25   0"]
    marked = [part for line in lines for part, role in line if role == numbers.CURSOR]
    assert [part.strip() for part in marked] == ["−3.25"]


def test_what_has_not_come_is_dots() -> None:
    tensor = view([["1.0"]], rows=9, columns=9, row=4, column=4)
    axes = against(read_slice(""), (9, 9))
    lines = text(numbers.grid(tensor, axes, Origin(3, 4), Origin(4, 4), 2, 3, 4))
    assert lines[0].split() == ["4", "5"]
    assert lines[1].split() == ["3", "…", "…", "…"]
    assert lines[2].split() == ["4", "1", "…", "…"]
    assert numbers.exact(tensor, Origin(4, 4)) == "1.0"
    assert numbers.exact(tensor, Origin(0, 0)) == ""


# ── heatmap ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.floats(1e-30, 1e30), st.floats(-1, 1))
def test_the_scale_is_symmetric(limit, share) -> None:
    scale = heatmap.Scale(limit)
    value = limit * share
    level = scale.level(value)
    assert scale.level(-value) == -level
    assert (level == 0) == (value == 0)
    assert abs(level) == (math.ceil(min(abs(value) / limit * heatmap.LEVELS, heatmap.LEVELS)) if value else 0)
    assert scale.level(limit) == heatmap.LEVELS


def test_every_colour_is_one_of_the_256() -> None:
    for name in (heatmap.ZERO, heatmap.NOT_FINITE, *heatmap.NEGATIVE, *heatmap.POSITIVE):
        colour = Color.parse(name)
        number = colour.downgrade(2).number  # type: ignore[arg-type]
        assert number is not None
        assert number >= 16
        assert Color(name, ColorType.EIGHT_BIT, number).get_truecolor() == colour.get_truecolor()


def luminance(name: str) -> float:
    parts = [c / 255 for c in Color.parse(name).get_truecolor()]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_signs_on_the_colours_can_be_read() -> None:
    for level in range(-heatmap.LEVELS, heatmap.LEVELS + 1):
        front, _, back_ = heatmap.Scale(1.0).role(level).partition(" on ")
        one, other = sorted((luminance(front), luminance(back_)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, level


def test_the_further_from_zero_the_brighter() -> None:
    for colours in (heatmap.POSITIVE, heatmap.NEGATIVE):
        found = [luminance(colour) for colour in (heatmap.ZERO, *colours)]
        assert found == sorted(found)


def test_a_heatmap_without_colours_still_reads() -> None:
    tensor = view([["-1.0", "-0.25", "0.0", "0.25", "1.0"], ["nan", "inf", "-inf", "0.5", "-0.75"]])
    axes = against(read_slice(""), (2, 5))
    scale = heatmap.Scale(1.0, colour=False)
    lines = text(heatmap.grid(tensor, axes, START, Origin(1, 3), 5, 5, scale))
    assert lines == ["  0", "0 −█−░  +░+█", "1  ✕ ∞−∞+◆−▓"]
    assert text(heatmap.legend(scale, 80)) == [
        "−1 −█−▓−▒−░  +░+▒+▓+█ 1  middle: 0  ✕ nan/inf".replace("−1 ", "−1.000 ").replace(" 1 ", " 1.000 ")
    ]


def test_where_nothing_has_a_colour_the_legend_says_so() -> None:
    tensor = view([["nan", "inf"]])
    assert text(heatmap.legend(heatmap.scale_of(tensor, colour=True), 40)) == ["no finite element but 0"]


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (32, "−1.000 − − − −            1.000"),
        (25, "−1.000 −−−−      1.000"),
        (17, "±1.000 −−−−"),
        (9, "±1.000 −−−−"),
    ],
)
def test_the_ends_of_the_scale_stand_there_in_any_width(width: int, wanted: str) -> None:
    (line,) = heatmap.legend(heatmap.Scale(1.0), width)
    assert "".join(part for part, _ in line).rstrip() == wanted
    assert sum(" on " in role for _, role in line) == 2 * heatmap.LEVELS + 1
    assert text(heatmap.legend(heatmap.Scale(1.0, colour=False), 25)) == ["−1.000 █▓▒░ ░▒▓█ 1.000"]


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (40, "difference  2×3 float32 · 24 B · cuda:0"),
        (38, "difference  2×3 float32 · 24 B"),
        (29, "difference  2×3 float32"),
        (22, "difference  2×3"),
        (13, "difference…"),
    ],
)
def test_what_a_tensor_is_leaves_whole_words_out(width: int, wanted: str) -> None:
    tensor = view([["1.0"] * 3] * 2, device="cuda:0")
    assert text([facts_line("difference", tensor, width)]) == [wanted]


def test_a_heatmap_in_colours_marks_the_sign_too() -> None:
    tensor = view([["-1.0", "0.0", "1.0"]])
    axes = against(read_slice(""), (1, 3))
    lines = heatmap.grid(tensor, axes, START, Origin(5, 5), 3, 5, heatmap.Scale(1.0))
    assert lines[1][1:] == [
        ("− ", f"#000000 on {heatmap.NEGATIVE[-1]}"),
        ("  ", f"#ffffff on {heatmap.ZERO}"),
        ("  ", f"#000000 on {heatmap.POSITIVE[-1]}"),
    ]


def test_the_limit_is_that_of_the_whole_tensor() -> None:
    assert heatmap.scale_of(view([["0.5"]], stats=stats()), colour=True).limit == 4.0
    assert heatmap.scale_of(view([["0.5", "-3.0", "nan"]]), colour=True).limit == 3.0
    assert heatmap.scale_of(view([["3+4j"]]), colour=True).limit == 5.0
    assert heatmap.scale_of(view([["True", "False"]]), colour=True).limit == 1.0
    assert heatmap.scale_of(view([["nan"]]), colour=True).level(0.0) == 0


def test_columns_are_numbered_every_five() -> None:
    tensor = view([["0.0"] * 14])
    axes = against(read_slice("0:1, 3:"), (1, 17))
    line = text(heatmap.grid(tensor, axes, START, START, 14, 5, heatmap.Scale(1.0)))[0]
    assert line == "      5         10        15"


# ── histogram, summary ──────────────────────────────────────────────────────────────────────────────────────


def test_a_histogram_in_linear_and_logarithmic_counts() -> None:
    tensor = view([["0.0"]], stats=stats())
    linear = text(histogram("value", tensor, 40, 11, log=False))
    log = text(histogram("value", tensor, 40, 11, log=True))
    assert linear[1].startswith("83 ")
    assert len(linear) == 11
    heights = [
        [sum(line[3 + 9 * bar : 4 + 9 * bar] not in ("", " ") for line in lines[1:9]) for bar in range(4)]
        for lines in (linear, log)
    ]
    assert heights[0] == [1, 0, 1, 8]
    # 1 + log10: 1, –, 2, 2.92 of eight rows.
    assert heights[1] == [3, 0, 6, 8]
    assert linear[-1] == "linear counts · all 94 finite"
    assert "logarithmic counts" in log[-1]
    sampled = text(histogram("value", view([["0.0"]], stats=stats(sampled=50)), 60, 12, log=False))
    assert "sampled 50 of 94 finite" in sampled[-1]
    none = text(histogram("value", view([["nan"]], stats=stats(histogram=())), 40, 12, log=False))
    assert none[1] == "no finite element"


def test_a_summary_has_every_statistic() -> None:
    lines = text(summary("value", view([["0.0"]], stats=stats()), 30, 20))
    found = {line.split()[0]: [word.replace("−", "-") for word in line.split()[1:]] for line in lines[1:12]}
    assert found.pop("zeros") == ["25", "25.0%"]
    expected = {"numel": 100, "min": -2, "max": 4, "mean": 0.5, "std": 1.5, "norm": 10, "rms": 10 / math.sqrt(94)}
    expected |= {"nan": 1, "+inf": 2, "−inf": 3}
    assert {name: float(words[0]) for name, words in found.items()} == pytest.approx(expected, rel=1e-3)
    whole = text(summary("value", view([["0"]], stats=stats(whole_min=-(2**53) - 1, whole_max=2**63 - 1)), 40, 20))
    found = {line.split()[0]: line.split()[1] for line in whole[1:12]}
    assert (found["min"], found["max"]) == ("-9,007,199,254,740,993", "9,223,372,036,854,775,807")
    low = text(summary("value", view([["0.0"]], stats=stats()), 60, 6))
    assert len(low) <= 6
    assert all(word in " ".join(low) for word in ("numel", "zeros", "−inf"))


# ── sides ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("choice", "width", "sides"),
    [
        (0, 20, ("value", "grad")),
        (1, 72, ("value", "previous", "difference")),
        (1, 71, ("value", "difference")),
        (2, 97, ("value", "grad", "previous", "difference")),
        (2, 96, ("value", "grad", "difference")),
        (2, 60, ("value", "difference")),
    ],
)
def test_as_many_sides_as_fit(choice, width, sides) -> None:
    assert Look(choice=choice).sides(width) == sides
    assert set(sides) <= set(CHOICES[choice])


def test_two_sides_are_stacked_where_it_is_narrow() -> None:
    assert stacked(2, 59)
    assert not stacked(2, 60)
    assert not stacked(3, 59)
    assert text(beside([[[("ab", "")]], [[("c", "")], [("d", "")]]], [4, 4])) == ["ab   │ c", "     │ d"]
    assert text([crop([("abc", ""), ("   ", "")], 4)]) == ["abc"]
    assert text([crop([("abc", ""), ("def", "")], 4)]) == ["abc…"]
