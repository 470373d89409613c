"""What is typed behind / in the parameter pane: read, applied, and refused in one line."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepdbg.errors import UsageError
from stepdbg.protocol import quantities
from stepdbg.protocol.predicates import Filter, Predicate, parse
from stepdbg.protocol.quantities import FLAG, NUMBER, QUANTITIES, TEXT, find, read_sort

WORDS = st.sampled_from(
    [q.name for q in QUANTITIES]
    + ["|w|", "Δw", "is:", "is:frozen", "and", "or", ",", "none", "yes", "1e3", "nan", "*", "["]
)
OPERATORS = st.sampled_from(["=", "==", "!=", "<", "<=", ">", ">=", "≤", "≥", "≠", "!", "<>", "=<"])


@given(st.text(max_size=60))
@example("\x00 = \x00")
@example("[ = [")
@example("numel > " + "9" * 5000)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    read_or_refused(text)


@given(st.lists(st.one_of(WORDS, OPERATORS, st.text(max_size=4)), max_size=12), st.sampled_from(["", " "]))
def test_any_words_are_read_or_refused_in_one_line(words: list[str], between: str) -> None:
    read_or_refused(between.join(words))


def read_or_refused(text: str) -> None:
    found, refused = None, ""
    try:
        found = parse(text)
    except UsageError as error:
        refused = str(error)
    if found is None:
        assert len(refused.splitlines()) == 1
        assert 0 < len(refused) < 400
        return
    # Written plainly it means the same, and can be sent.
    again = parse(found.text)
    assert (again.globs, again.marks, again.text) == (found.globs, found.marks, found.text)
    assert [p.text for p in again.predicates] == [p.text for p in found.predicates]
    for predicate in found.predicates:
        for value in (None, 0, 1.5, "", "float32", (), ("a", "b"), True):
            assert predicate.holds(value) in (True, False)
    assert found.named(["net.0.weight", ""]) in (True, False)


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("g.norm > 10", 10.5, True),
        ("g.norm > 10", 10, False),
        ("g.norm>=10", 10, True),
        ("g.norm ≤ 1e-3", 0.001, True),
        ("nan > 0", 0, False),
        ("nan > 0", 3, True),
        ("numel >= 1e6", 1_000_000, True),
        ("numel = 1_000", 1000, True),
        ("zeros > 50%", 50.1, True),
        ("mean < −1", -2.0, True),
        ("mean != 0", 0.0, False),
        ("mean != 0", None, False),
        ("mean = none", None, True),
        ("mean = none", 0.0, False),
        ("mean != none", 0.0, True),
        ("owner = none", None, True),
        ("owner = none", ("opt[0]", "Adam"), False),
        ("owner = adam", ("opt[0]", "Adam"), True),
        ("owner = OPT[0]", ("opt[0]", "Adam"), True),
        ("owner != sgd*", ("opt[0]", "SGD"), False),
        ("dtype = float16", "float16", True),
        ("dtype = float*", "float16", True),
        ("dtype != float16", "bfloat16", True),
        ("dtype = float", "float16", False),
        ("shape = 6×4", "6x4", True),
        ("trainable = no", False, True),
        ("trainable = yes", False, False),
        ("trainable != no", True, True),
        ("moved = yes", None, False),
        ("lr > nan_", None, None),
    ],
)  # fmt: skip
def test_a_comparison_holds_or_does_not(text: str, value: object, wanted: bool | None) -> None:
    if wanted is None:
        with pytest.raises(UsageError):
            parse(text)
        return
    (predicate,) = parse(text).predicates
    assert predicate.holds(value) is wanted  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False))
def test_numbers_are_compared_as_python_compares_them(wanted: float, actual: float) -> None:
    for sign, holds in (
        ("<", actual < wanted),
        ("<=", actual <= wanted),
        (">", actual > wanted),
        (">=", actual >= wanted),
        ("=", actual == wanted),
        ("!=", actual != wanted),
    ):
        (predicate,) = parse(f"std {sign} {wanted!r}").predicates
        assert predicate.holds(actual) is holds
        assert predicate.holds(math.nan) is (sign == "!=")


@pytest.mark.parametrize(
    ("text", "globs", "marks", "predicates", "plain"),
    [
        ("", (), (), [], ""),
        ("  bias ", ("bias",), (), [], "bias"),
        ("Encoder.*", ("encoder.*",), (), [], "Encoder.*"),
        ("bias and g.norm > 10", ("bias",), (), ["g.norm > 10"], "bias and g.norm > 10"),
        ("|g|>10,owner=none", (), (), ["owner = none", "g.norm > 10"], "g.norm > 10 and owner = none"),
        ("IS:fro AND numel==3", (), ("frozen",), ["numel = 3"], "is:frozen and numel = 3"),
        ("weight and", ("weight",), (), [], "weight"),
        (", ,", (), (), [], ""),
        ("brand.android", ("brand.android",), (), [], "brand.android"),
        ("mean > 0 and numel > 1 and dw > 0", (), (), ["numel > 1", "delta > 0", "mean > 0"],
         "mean > 0 and numel > 1 and delta > 0"),
    ],
)  # fmt: skip
def test_terms_are_told_apart_and_the_cheapest_comes_first(
    text: str, globs: tuple[str, ...], marks: tuple[str, ...], predicates: list[str], plain: str
) -> None:
    found = parse(text)
    assert (found.globs, found.marks, [p.text for p in found.predicates], found.text) == (
        globs,
        marks,
        predicates,
        plain,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g.nrom > 10", "nothing is called “g.nrom”: did you mean g.norm?"),
        ("colour > 10", "nothing is called “colour”: for example numel, dtype"),
        ("g.norm >", "g.norm > what? For example: g.norm > 10"),
        ("> 10", "what is to be > 10? For example: g.norm > 10"),
        ("mean > much", "“much” is no number to compare with: mean > 10"),
        ("mean = nan", "nan > 0 finds NaN"),
        ("mean < inf", "inf > 0 finds Inf"),
        ("dtype > 3", "dtype is no number, so it is not > anything: dtype = TEXT"),
        ("trainable = perhaps", "trainable is yes or no, not “perhaps”: trainable = yes"),
        ("mean > none", "nothing is > none: mean = none, or mean > 10"),
        ("bias or weight", "terms are joined by and, or by a comma"),
        ("not bias", "terms are joined by and"),
        ("is:lost", "No mark “lost”: is:reached, is:unreached, is:unowned, is:unused, is:shared or is:frozen."),
        ("bias, is:un", "is:unreached, is:unowned or is:unused?"),
    ],
)
def test_a_mistake_is_named_with_the_right_form(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("globs", "texts", "wanted"),
    [
        (("bias",), ["net.0.bias"], True),
        (("bias", "net.0*"), ["net.0.bias"], True),
        (("bias", "net.1*"), ["net.0.bias"], False),
        (("net.?.bias",), ["net.10.bias"], False),
        (("opt[0].params[3]",), ["opt[0].params[3]"], True),
        (("layers.[01].*",), ["layers.1.weight"], True),
        (("adam",), ["w", "AdamW"], True),
        ((), [], True),
    ],
)
def test_names_match_as_a_whole_where_there_is_a_wildcard(
    globs: tuple[str, ...], texts: list[str], wanted: bool
) -> None:
    assert Filter(globs).named(texts) is wanted


def test_what_must_be_read_is_told() -> None:
    assert parse("bias and owner = none and numel > 3").needs == frozenset()
    assert parse("g.norm > 1 and dw > 0").needs == {quantities.GRAD_NORM, quantities.DELTA}


# ── quantities ──────────────────────────────────────────────────────────────────────────────────────────────


def test_names_and_aliases_are_each_used_once() -> None:
    words = [word.lower() for q in QUANTITIES for word in (q.name, *q.aliases)]
    assert len(words) == len(set(words))
    assert {q.kind for q in QUANTITIES} == {NUMBER, TEXT, FLAG}
    assert {q.needs for q in QUANTITIES} == set(quantities.COSTS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("|g|", ("g.norm", False)),
        ("-g.norm", ("g.norm", True)),
        ("−|Δw|", ("delta", True)),
        ("+ name", ("name", False)),
        ("", ("", False)),
        ("- MEAN", ("mean", True)),
    ],
)
def test_a_sort_is_a_quantity_with_a_sign(text: str, found: tuple[str, bool]) -> None:
    assert read_sort(text) == found


@given(st.text(max_size=20))
def test_any_sort_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        name, _falling = read_sort(text)
        assert not name or find(name).name == name


def test_none_is_a_value_like_no_other() -> None:
    assert Predicate(find("mean"), "=", None, "none").holds(None)
    assert not Predicate(find("mean"), "!=", None, "none").holds(None)
