"""The commands that change the held script: `:set`, and the list of what was set. Reading a line is pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stepdbg.client.store import View
from stepdbg.commands.available import needs_live
from stepdbg.commands.command import Argument, Command
from stepdbg.commands.suggesting import parameter_names, parameter_rows
from stepdbg.errors import UsageError
from stepdbg.protocol.edits import Amount, How, Pick, SetRequiresGrad, SetValue
from stepdbg.protocol.records import StopReason

FORM = "set lr 0.01, set net[0].bias 0, set net.0.weight[0, 1] 2.5, set requires_grad net.2.* false"

_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|nan|inf|infinity)"
_SCALE = re.compile(rf"([*/])=?\s*({_NUMBER})", re.IGNORECASE)
_SEVERAL = re.compile(rf"{_NUMBER}(?:\s*,\s*{_NUMBER})*\s*,?", re.IGNORECASE)
_NAME = re.compile(r"[^\s\[\]=]+|\[[^\[\]]*\]")
_PICK = re.compile(r"\s*([+-]?\d+)\s*|\s*([+-]?\d+)?\s*:\s*([+-]?\d+)?\s*(?::\s*([+-]?\d+)?\s*)?")


def read_set(text: str) -> SetValue | SetRequiresGrad:
    """What `set TEXT` asks for. Raises UsageError with one line that says what is wrong."""
    target, rest = _split(text)
    if target == "requires_grad":
        return _requires_grad(rest)
    if not rest:
        raise UsageError(f"set {target}: to what? As in: {FORM}")
    flag = _FLAGS.get(rest.lower())
    if target.endswith(".requires_grad"):
        return _requires_grad(f"{target.removesuffix('.requires_grad')} {rest}")
    name, picks = _picked(target)
    amount = Amount(How.FLAG, flag=flag) if flag is not None else _amount(rest)
    return SetValue(0, name, amount, picks)


def _split(text: str) -> tuple[str, str]:
    """The target, up to the first blank or `=` outside brackets, and what follows."""
    text = text.strip()
    end, found = 0, _NAME.match(text)
    while found is not None:
        end = found.end()
        found = _NAME.match(text, end)
    target, rest = text[:end], text[end:].lstrip()
    if rest[:1] in ("[", "]"):
        raise UsageError(f"set: a bracket is open or empty in {text!r}; as in: set net.0.weight[0, 1] 2.5")
    rest = rest.removeprefix("=").strip()
    if not target:
        raise UsageError(f"set needs a name and a value, as in: {FORM}")
    return target, rest


def _requires_grad(rest: str) -> SetRequiresGrad:
    words = rest.replace("=", " ").split()
    if len(words) != 2:
        raise UsageError(
            "set requires_grad takes a name (or a glob) and true or false: set requires_grad net.2.* false"
        )
    target, word = words
    if _FLAGS.get(word.lower()) is None and _FLAGS.get(target.lower()) is not None:
        target, word = word, target
    flag = _FLAGS.get(word.lower())
    if flag is None:
        raise UsageError(f"set requires_grad takes true or false, not {word!r}")
    return SetRequiresGrad(0, target, flag)


def _amount(text: str) -> Amount:
    scale = _SCALE.fullmatch(text)
    if scale is not None:
        sign, number = scale.groups()
        factor = _float(number)
        if sign == "/" and not factor:
            raise UsageError("set: nothing can be divided by 0")
        return Amount(How.SCALE, (1 / factor if sign == "/" else factor,), _integer(number) if sign == "*" else None)
    bare = text[1:-1].strip() if text[:1] in ("(", "[") and text[-1:] in (")", "]") else text
    if not _SEVERAL.fullmatch(bare):
        hint = "true or false, a number, nan, inf, *0.5 or /10, or several numbers: 0.9, 0.99"
        raise UsageError(f"set: {text!r} is no value; it can be {hint}")
    numbers = [part.strip() for part in bare.split(",") if part.strip()]
    return Amount(How.SET, tuple(map(_float, numbers)), _integer(numbers[0]) if len(numbers) == 1 else None)


def _float(text: str) -> float:
    try:
        return float(text)
    except (ValueError, OverflowError):
        raise UsageError(f"set: {text!r} is no number") from None


def _integer(text: str) -> int | None:
    """The integer that `text` is, if it is one that a tensor can hold."""
    if not re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII):
        return None
    return int(text)


def _picked(target: str) -> tuple[str, tuple[Pick, ...]]:
    """The name, and what stands in brackets at its end."""
    found = re.fullmatch(r"(.+?)\[([^\[\]]*)\](\.grad)?", target)
    if found is None or (found[2].strip()[:1] in ("'", '"')):
        return target, ()
    if found[3]:
        # A bracket before `.grad` is a part of the name, `net[0].grad`, or chooses: `net.0.weight[0, 1].grad`.
        if "," not in found[2] and ":" not in found[2]:
            return target, ()
        return f"{found[1]}.grad", _picks(found[2])
    return found[1], _picks(found[2])


def _picks(text: str) -> tuple[Pick, ...]:
    if not text.strip():
        raise UsageError("set: there is nothing in the brackets; as in: net.0.weight[0, 1] or net.0.weight[:, 3]")
    return tuple(_pick(part) for part in text.split(","))


def _pick(text: str) -> Pick:
    found = _PICK.fullmatch(text)
    if found is None:
        raise UsageError(f"set: {text.strip()!r} is no index: integers and slices can be in brackets, as in [0, 2:5]")
    at, *ends = (_index(part) for part in found.groups())
    if ends[2] is not None and ends[2] <= 0:
        raise UsageError("set: the step of a slice must be positive")
    return Pick(at, *ends)


def _index(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19:
        raise UsageError(f"set: {text} is too large for an index")
    return int(text)


def needs_more_to_come(view: View) -> str | None:
    """The stop on screen is the present one, and the script goes on after it."""
    reason = needs_live(view)
    if reason is not None:
        return reason
    why = view.history[-1].stop.reason
    if why in (StopReason.EXCEPTION, StopReason.FINISHED):
        return "nothing of the script runs after this stop, so there is nothing to change anything for"
    return None


def suggest(text: str, view: View) -> Iterable[str]:
    """Names that are on screen and begin so, and how values are written."""
    target, blank, _ = text.partition(" ")
    if target == "requires_grad" and blank:
        begun = text.removeprefix("requires_grad").lstrip()
        return [f"requires_grad {name}" for name in parameter_names(view) if name.startswith(begun)]
    if blank:
        return []
    return [name for name in ("requires_grad", *_settings(view), *parameter_names(view)) if name.startswith(target)]


def _settings(view: View) -> list[str]:
    owners = dict.fromkeys(row.owner for row in parameter_rows(view) if row.owner)
    return ["lr", "weight_decay", "momentum", "betas", *(f"{owner}.lr" for owner in owners)]


EDIT = (
    Command(
        "set",
        "Edit",
        "Change a setting, a parameter, its .grad or requires_grad: set lr 0.01, set net[0].bias 0.",
        lambda host, argument: host.edits.set(read_set(argument)),
        argument=Argument("name value", f"as in {FORM}", check=read_set, suggest_in=suggest),
        available=needs_more_to_come,
    ),
    Command(
        "edits",
        "Edit",
        "List everything that was set by hand in this run.",
        lambda host, _argument: host.edits.show(),
    ),
)
