import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepdbg.ui import format as f


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (148, "148 B"), (1023, "1023 B"), (1946, "1.9 KiB"), (400 << 20, "400 MiB"),
     (1024 * 1023 + 1023, "1.0 MiB"), (3 << 40, "3.0 TiB")],
)  # fmt: skip
def test_bytes(count, text):
    assert f.byte_count(count) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [(None, ""), (0.0004, "0.4 ms"), (0.000012, "12 µs"), (0.412, "412 ms"), (1.234, "1.23 s"),
     (125, "2 min 05 s"), (59.999, "1 min 00 s"), (3725, "1 h 02 min"), (math.inf, "")],
)  # fmt: skip
def test_seconds(duration, text):
    assert f.seconds(duration) == text


@pytest.mark.parametrize(("n", "text"), [(0, "0"), (9999, "9,999"), (12_345, "12.3k"), (124_439_808, "124.4M")])
def test_counts(n, text):
    assert f.count(n) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (1.412, "1.412"), (-0.0121, "−0.0121"), (0.00123, "0.00123"), (12345.6, "12346"),
     (1e-9, "1.00e−9"), (-1e300, "−1.00e300"), (math.nan, "nan"), (math.inf, "inf"), (-math.inf, "−inf")],
)  # fmt: skip
def test_numbers(value, text):
    assert f.number(value) == text


@given(st.floats(-1e300, 1e300))
def test_numbers_keep_three_digits_and_their_width(value):
    text = f.number(value, 10)
    assert len(text) == 10
    assert math.isclose(float(text.replace(f.MINUS, "-")), value, rel_tol=0.0051, abs_tol=1e-320)


def test_unknown_number_is_blank():
    assert f.number(None, 6) == " " * 6


@pytest.mark.parametrize(("dimensions", "text"), [((6, 4), "6×4"), ((), "scalar"), (None, "?"), ((3,), "3")])
def test_shapes(dimensions, text):
    assert f.shape(dimensions) == text


@given(st.text(), st.integers(0, 20))
def test_cut_text_fits_and_keeps_its_end_or_start(text, width):
    left, right = f.tail(text, width), f.head(text, width)
    assert f.columns(left) <= width
    assert f.columns(right) <= width
    if f.columns(text) > width > 1:
        assert text.endswith(left[1:])
        assert text.startswith(right[:-1].rstrip())


def test_wide_characters_take_two_columns():
    assert f.columns("网络.weight") == 11
    assert f.tail("网络.weight", 8) == "….weight"
    assert f.head("网络.weight", 4) == "网…"
    assert f.pad("网络", 6) == "网络  "
    assert f.pad("网络", 6, right=True) == "  网络"


def test_tail_keeps_what_tells():
    assert f.tail("transformer.h.11.attn.weight", 12) == "…attn.weight"


def test_sparklines():
    assert f.sparkline([0, 1, 2, 7], 8) == "▁▂▃█"
    assert f.sparkline([5, 5, 5], 8) == "▁▁▁"
    assert f.sparkline([], 8) == ""
    assert f.sparkline([1, None, 2], 8) == "▁ █"
    assert f.sparkline(range(100), 4) == "▁▃▆█"


@given(st.lists(st.none() | st.floats()), st.integers(-1, 30))
def test_sparklines_of_anything(values, width):
    assert len(f.sparkline(values, width)) == min(max(width, 0), len(values))


def test_histogram_rows():
    assert f.histogram([0, 1, 8], 1) == [" ▁█"]
    assert f.histogram([0, 8, 16], 2) == ["  █", " ██"]
    assert f.histogram([1, 1_000_000], 1) == ["▁█"]
    assert f.histogram([0, 0], 1) == ["  "]


@given(st.lists(st.integers(0, 10**9)), st.integers(1, 30))
def test_rebinning_keeps_the_sum(counts, width):
    bins = f.rebin(counts, width)
    assert sum(bins) == sum(counts)
    assert len(bins) <= width


def test_plural():
    assert f.plural(1, "stop") == "1 stop"
    assert f.plural(1200, "stop") == "1,200 stops"
    assert f.plural(2, "pass", "passes") == "2 passes"
