"""An explanation of a step as lines of styled text. Pure: from the record and a width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from textual.content import Content

from stepdbg.protocol.step import DID, WILL, Explanation, Given, StepLine
from stepdbg.ui import format as fmt

Line = list[tuple[str, str]]
"""Text and its style."""

NAME, MUTED, RULE, STRONG = "$text-primary", "$text-muted", "bold $accent", "bold"
GOOD, BAD = "$text-success", "bold $text-error"

WIDE = 96
"""Columns from which a formula, its numbers and its result stand in one line."""
GAP = 3
INDENT = 2


def place(name: str, index: Sequence[int]) -> str:
    """An element as it is written: "net.0.weight[0, 0]"."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def title(explanation: Explanation) -> str:
    """What the screen is about."""
    where = place(explanation.title, explanation.index)
    step = f"{explanation.optimizer}.step()"
    if explanation.tells == DID:
        return f"what {step} did to {where}"
    if explanation.tells == WILL:
        return f"what {step} will do to {where}"
    return f"no step to explain for {where}"


def body(explanation: Explanation, width: int) -> list[Line]:
    """What goes into the step and how it computes, in lines of at most `width` columns."""
    result = _head(explanation, width)
    if explanation.rule:
        result += [[], *_rule(explanation.rule, width)]
    if explanation.hyper:
        result += [[], *_flow([_hyper(given) for given in explanation.hyper], width)]
    if explanation.given:
        result += [[], *_given(explanation.given, _results(explanation), width)]
    if explanation.lines:
        result += [[], *_computed(explanation.lines, _results(explanation), width)]
    return result


def content(lines: Sequence[Line]) -> Content:
    """Lines for a widget."""
    return Content("\n").join(Content.assemble(*line) for line in lines)


def plain(explanation: Explanation, width: int = 76) -> str:
    """All of it for the clipboard: signs are ASCII there, so that numbers can be used."""
    lines: list[Line] = [*body(explanation, width), [], *outcome(explanation, width)]
    text = "\n".join("".join(part for part, _ in line).rstrip() for line in lines)
    return f"{title(explanation)}\n\n{text}\n".replace(fmt.MINUS, "-")


def verdict(explanation: Explanation) -> tuple[str, str]:
    """How the formula's result compares with the real value, and its style."""
    if explanation.predicted is None:
        return "", ""
    if explanation.tells == WILL:
        return "a prediction: the step has not run yet (n runs it)", MUTED
    if explanation.exact:
        return "✓ equals the real new value, bit for bit", GOOD
    if explanation.within is None:
        return "", ""
    apart = "" if explanation.ulps is None else f" by {explanation.ulps:.3g} ulp"
    sign, style = ("✓", GOOD) if explanation.within else ("✗", BAD)
    claimed = explanation.tolerance.replace("bit for bit", "0 ulp")
    return f"{sign} differs from the real new value{apart} (tolerance {claimed})", style


def outcome(explanation: Explanation, width: int) -> list[Line]:
    """What came of it, how that compares with the formula, and what limits the answer."""
    result: list[Line] = []
    cells: list[Line] = []
    for label, text in (("before", explanation.before), ("after", explanation.after), ("change", explanation.change)):
        if text is not None and (label != "before" or explanation.after is not None or not explanation.lines):
            cells.append([(f"{label} ", MUTED), (_signs(text), STRONG if label == "after" else "")])
    if explanation.after is None and explanation.predicted is not None:
        cells.insert(0, [("it becomes ", MUTED), (_signs(explanation.predicted), STRONG)])
    if cells:
        result += _flow(cells, width)
    said, style = verdict(explanation)
    if said:
        result += _wrapped(said, width, style)
    if explanation.note:
        said = explanation.note
        named = said.partition(" ")[0] in (explanation.optimizer, explanation.name)  # names stay as they are written
        sentence = said if named else _sentence(said)
        result += [*_wrapped(sentence, width, BAD if explanation.within is False else "")]
    return result


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _head(explanation: Explanation, width: int) -> list[Line]:
    facts = f"{fmt.shape(explanation.shape)} {explanation.dtype}"
    if not explanation.optimizer:
        return [[(facts, MUTED)]]
    left: Line = [(explanation.kind, STRONG)]
    if explanation.iteration is not None:
        left.append((f" · iteration {explanation.iteration:,}", ""))
    elif explanation.tells == WILL:
        left.append((" · the step that is next", ""))
    used = sum(fmt.columns(text) for text, _ in left)
    result: list[Line] = [[*left, (" " * max(width - used - fmt.columns(facts), GAP), ""), (facts, MUTED)]]
    return [*result, *_wrapped(_sentence(explanation.owned_by), width, MUTED)]


def _rule(rule: str, width: int) -> list[Line]:
    parts = [part.strip() for part in rule.split(",   ")]
    whole = ",   ".join(parts)
    shown = [whole] if fmt.columns(whole) <= width - INDENT else parts
    return [[(" " * INDENT, ""), (_signs(part), RULE)] for part in shown]


def _hyper(given: Given) -> Line:
    symbol = [(f"{given.symbol} ", NAME)] if given.symbol else []
    return [*symbol, (f"{given.name} ", MUTED), (_signs(given.text), "")]


def _flow(cells: Sequence[Line], width: int) -> list[Line]:
    """Cells one after the other, as many to a line as there is room for."""
    result: list[Line] = []
    used = width
    for cell in cells:
        size = sum(fmt.columns(text) for text, _ in cell)
        if used + GAP + size > width:
            result.append([])
            used = -GAP
        result[-1] += [(" " * GAP, ""), *cell] if result[-1] else cell
        used += GAP + size
    return result


def _results(explanation: Explanation) -> int:
    """Columns of the widest result, its sign included."""
    texts = [given.text for given in explanation.given] + [line.result for line in explanation.lines]
    return max((len(_aligned(text)) for text in texts), default=0)


def _given(given: Sequence[Given], results: int, width: int) -> list[Line]:
    symbols = max(fmt.columns(g.symbol) for g in given)
    result = []
    for one in given:
        left: Line = [(fmt.pad(one.symbol, symbols), NAME), (f"  {one.name}", MUTED)]
        result.append(_with_result(left, one.text, results, width, "", ""))
    return result


def _computed(rows: Sequence[StepLine], results: int, width: int) -> list[Line]:
    rules = max(fmt.columns(row.rule) for row in rows)
    last = len(rows) - 1
    result: list[Line] = []
    for at, row in enumerate(rows):
        style = STRONG if at == last else ""
        rule, numbers = _signs(row.rule), _signs(row.numbers)
        remark = f"   {row.remark}" if row.remark else ""
        room = width - results - 2 - GAP
        if width >= WIDE and rules + GAP + fmt.columns(numbers + remark) <= room:
            left: Line = [(fmt.pad(rule, rules + GAP), NAME), (numbers, MUTED), (remark, f"italic {MUTED}")]
            result.append(_with_result(left, row.result, results, width, "= ", style))
            continue
        left = [(rule, NAME), (remark if fmt.columns(rule + remark) <= room else "", f"italic {MUTED}")]
        result.append(_with_result(left, row.result, results, width, "= ", style))
        result += _wrapped(numbers, width - INDENT * 2, MUTED, INDENT * 2)
    return result


def _with_result(left: Line, text: str, results: int, width: int, sign: str, style: str) -> Line:
    used = sum(fmt.columns(part) for part, _ in left)
    fill = max(width - results - 2 - used, 1)
    return [*left, (" " * fill, ""), (fmt.pad(sign, 2), MUTED), (_aligned(text), style)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}" if text else ""


def _wrapped(text: str, width: int, style: str, indent: int = 0) -> list[Line]:
    return [[(" " * indent, ""), (part, style)] for part in textwrap.wrap(text, max(width, 20))]


def _signs(text: str) -> str:
    return text.replace("-", fmt.MINUS)


def _aligned(text: str) -> str:
    """With room for a sign, so that the first digits stand under each other."""
    return _signs(text if text.startswith("-") else f" {text}")
