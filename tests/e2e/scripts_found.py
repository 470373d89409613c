"""The scripts of the gate and what their `# e2e:` comments say (see README.md)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SCRIPTS = HERE / "scripts"
DEMOS = ROOT / "demo_models"

HEADER_LINES = 40
_FLAGS = {"slow", "frameworks", "no-phases", "raises"}
_VALUES = {"args", "module", "exit", "stdin", "prompt", "keys", "output", "timeout", "skip"}


@dataclass(frozen=True)
class Script:
    """One script of the gate."""

    path: Path
    arguments: tuple[str, ...] = ()
    module: str | None = None
    status: int = 0
    stdin: str = ""
    prompt: str = ""
    keys: tuple[str, ...] = ("n", "n", "n", "i", "c")
    output: str = "exact"
    timeout: float = 60.0
    flags: frozenset[str] = frozenset()
    skip: str = ""

    @property
    def name(self) -> str:
        return self.module or self.path.stem

    @property
    def cwd(self) -> Path:
        return DEMOS if self.path.is_relative_to(DEMOS) else SCRIPTS

    @property
    def command(self) -> list[str]:
        """What comes after `python`, and after stepdbg's options alike."""
        target = ["-m", self.module] if self.module else [str(self.path.relative_to(self.cwd))]
        return [*target, *self.arguments]


def read(path: Path) -> Script | None:
    """The script in `path`; None for a file of a package that says nothing. An unknown word raises."""
    words: dict[str, str] = {}
    flags = set()
    lines = path.read_text(encoding="utf-8").splitlines()[:HEADER_LINES]
    for line in lines:
        if not line.startswith("# e2e:"):
            continue
        for word in shlex.split(line.removeprefix("# e2e:")):
            name, equals, value = word.partition("=")
            if name not in (_VALUES if equals else _FLAGS):
                raise ValueError(f"{path}: unknown e2e word {word!r}")
            if equals:
                words[name] = value
            else:
                flags.add(name)
    if path.parent not in (SCRIPTS, DEMOS) and "module" not in words:
        return None
    if bool(words.get("stdin")) != bool(words.get("prompt")):
        raise ValueError(f"{path}: stdin and prompt belong together")
    return Script(
        path=path,
        arguments=tuple(shlex.split(words.get("args", ""))),
        module=words.get("module"),
        status=int(words.get("exit", "0")),
        stdin=words.get("stdin", "").encode().decode("unicode_escape"),
        prompt=words.get("prompt", ""),
        keys=tuple(words["keys"].split()) if "keys" in words else Script.keys,
        output=words.get("output", "exact"),
        timeout=float(words.get("timeout", "60")),
        flags=frozenset(flags),
        skip=words.get("skip", ""),
    )


def all_scripts() -> list[Script]:
    files = [*sorted(DEMOS.glob("*.py")), *sorted(SCRIPTS.rglob("*.py"))]
    public = [f for f in files if not any(part.startswith("_") for part in f.relative_to(ROOT).parts)]
    # `__main__.py` and `__init__.py` may carry the header of their package.
    special = [f for f in files if f.name in ("__main__.py", "__init__.py")]
    return [script for f in [*public, *special] if (script := read(f)) is not None]
