"""The demos that come with stepdbg: where they are and what each shows."""

from __future__ import annotations

import ast
from pathlib import Path

from stepdbg.config import nearest
from stepdbg.errors import UsageError

_PACKAGE = Path(__file__).parent.parent


def folder() -> Path:
    """`_demo_models` in an installed package, `demo_models` beside a checkout's. Raises UsageError."""
    for path in (_PACKAGE / "_demo_models", _PACKAGE.parent / "demo_models"):
        if path.is_dir():
            return path
    raise UsageError("the demos are not installed; they are in demo_models/ of stepdbg's source")


def names() -> list[str]:
    """The demos' names, sorted."""
    return sorted(path.stem for path in folder().glob("*.py") if not path.stem.startswith("_"))


def find(name: str) -> Path:
    """The file of one demo, with or without `.py`. Raises UsageError with the nearest name."""
    stem = name.removesuffix(".py")
    if stem not in names():
        raise UsageError(f"no demo {name!r}{nearest(stem, names())} (demos: {', '.join(names())})")
    return folder() / f"{stem}.py"


def listing() -> str:
    """One line for each demo: its name and the first line of its docstring."""
    width = max((len(name) for name in names()), default=0)
    lines = [f"  {name:<{width}}  {_summary(folder() / f'{name}.py')}" for name in names()]
    return "\n".join(["stepdbg demo NAME opens one of these:", *lines, ""])


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
