"""Which side imports what, proved in fresh interpreters through `sys.modules`."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "stepdbg"
SCREEN_ONLY = {"textual", "rich", "psutil", "pyte", "platformdirs", "wcwidth"}


def modules_of(*folders: str) -> list[str]:
    """Every module in these folders (or files) of the package, by its dotted name."""
    files = [
        f for name in folders for f in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
    ]
    names = [".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for f in files]
    return [name for name in names if "sitecustomize" not in name and not name.endswith("__main__")]


def loaded_by(*names: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has after importing `names`."""
    code = f"import json, sys\nfor n in {list(names)!r}: __import__(n)\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(json.loads(done.stdout.splitlines()[-1]))


def outside(loaded: set[str]) -> set[str]:
    """Those that are neither ours nor the standard library's."""
    tops = {name.partition(".")[0] for name in loaded}
    # Editable installs and coverage leave finders of their own in every interpreter.
    known = {*sys.stdlib_module_names, "stepdbg", "sitecustomize", "usercustomize", "__main__"}
    return {name for name in tops - known if not name.startswith(("_", "__editable__", "distutils"))}


def test_the_protocol_needs_the_standard_library_only() -> None:
    assert outside(loaded_by(*modules_of("protocol", "errors.py", "custom_phase.py", "__init__.py"))) == set()


def test_the_agents_start_imports_no_torch_and_little_else() -> None:
    assert outside(loaded_by("stepdbg.agent.bootstrap")) == set()


def test_the_agent_needs_torch_and_nothing_of_the_screens() -> None:
    loaded = loaded_by(*modules_of("agent"))
    assert "torch" in loaded
    assert not SCREEN_ONLY & {name.partition(".")[0] for name in loaded - loaded_by("torch")}
    assert outside(loaded) <= outside(loaded_by("torch"))


@pytest.mark.parametrize(
    "folder", ["batch", "client", "commands", "export", "launch", "plain", "ui", "cli.py", "config.py"]
)
def test_the_screens_side_imports_no_torch_and_no_agent(folder: str) -> None:
    loaded = loaded_by(*modules_of(folder))
    assert "torch" not in loaded
    assert not [name for name in loaded if name.startswith(("stepdbg.agent", "stepdbg.inprocess"))]


def test_export_needs_the_standard_library_only() -> None:
    assert outside(loaded_by(*modules_of("export"))) == set()


def test_a_batch_needs_no_screen() -> None:
    loaded = loaded_by(*modules_of("batch"), "stepdbg.cli")
    assert not {"textual", "rich", "torch"} & {name.partition(".")[0] for name in loaded}


def test_plain_text_needs_the_standard_library_only() -> None:
    assert outside(loaded_by(*modules_of("plain"))) == set()


def test_the_command_line_starts_without_the_screen() -> None:
    assert not {"textual", "rich"} & loaded_by("stepdbg.cli")


@pytest.mark.parametrize("path", [PACKAGE / "__init__.py", *sorted((PACKAGE / "agent").rglob("*.py"))], ids=str)
def test_what_runs_in_the_script_is_python_3_10(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))
