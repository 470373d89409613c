"""The command line: what to run and how, checked before any screen is drawn.

All of stepdbg's options come before the script; everything after it is the script's, whatever it looks like.
So the options are read here by hand: argparse would take `--help` behind the script for its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stepdbg._version import __version__
from stepdbg.errors import UsageError

if TYPE_CHECKING:
    from stepdbg.config import Config
    from stepdbg.launch.process import Launch

USAGE = """\
Step a PyTorch training script through the phases of its loop.

  stepdbg [OPTIONS] SCRIPT [ARGUMENTS…]       as `python SCRIPT ARGUMENTS…`
  stepdbg [OPTIONS] -m MODULE [ARGUMENTS…]    as `python -m MODULE ARGUMENTS…`
  stepdbg [OPTIONS] demo [NAME]               a demo; without a name, the list of them

Options come before the script; everything after it is the script's own.
  --stop-at WHERE     first stop: first (default), never, or a phase: data, zero_grad,
                      forward, loss, backward, unscale, clip, step, scheduler, custom
  --phase PHASE=FUNC  show a function as a phase: --phase step=mylib.optim:Optimizer.step
                      (may be given several times)
  --python PATH       the Python that runs the script; default: the `python` of your
                      shell if it has torch, else stepdbg's own
  --on-detach WHAT    what becomes of the script if this screen dies: end (default), or
                      continue, its output then going to stepdbg-SCRIPT-PID.log
  --previous-values MB
                      memory for what parameters were before a step, in MiB (default
                      256; 0: none, then only what a step leaves is told)
  --output FILE       also write everything the script prints to FILE
  --no-eval           never evaluate expressions in the script
  --no-history        neither bring back lines of the prompt from earlier sessions nor keep any
  --batch             without a terminal: run commands at the stops, then let the script
                      run to its end; exit code: the script's, or 3 if a command failed
  -c COMMAND          with --batch: a command, as at the prompt (may be given several times)
  -x FILE             with --batch: a file of commands, one a line (several times, too)
  --json              with --batch: one JSON record a line in place of text (docs/batch.md)
  --answers FILE      with --batch: write to FILE, not between what the script prints
  --config FILE       configuration to use in place of the user's own
  -h, --help          show this and exit
  -V, --version       show the version and exit
"""


@dataclass
class Arguments:
    """The command line, split up; nothing is checked against files yet."""

    action: str = "run"
    """"run", "help", "version"."""
    python: str | None = None
    stop_at: str | None = None
    on_detach: str | None = None
    previous_values: int | None = None
    output: Path | None = None
    history: bool = True
    config: Path | None = None
    phases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    module: bool = False
    demo: bool = False
    evaluation: bool = True
    batch: bool = False
    json: bool = False
    commands: list[tuple[str, str]] = field(default_factory=list)
    """("-c", a command) or ("-x", a file), in order."""
    answers: Path | None = None
    target: str | None = None
    """The script or module, or the demo's name (None: list them)."""
    rest: tuple[str, ...] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Run stepdbg; returns the exit status.

    The script's own if it ended by itself, 0 if the user quit before, 2 for bad input (one line on stderr),
    128 + n for signal n.
    """
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        if arguments.action == "help":
            print(USAGE, end="")
            return 0
        if arguments.action == "version":
            print(f"stepdbg {__version__}")
            return 0
        if arguments.demo and arguments.target is None:
            from stepdbg.launch.demos import listing

            print(listing(), end="")
            return 0
        return _run(arguments)
    except UsageError as error:
        print(f"stepdbg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parse(argv: Sequence[str]) -> Arguments:
    """Split the command line. Raises UsageError naming the mistake and the right form."""
    result = Arguments()
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "-m":
            if not words:
                raise UsageError("-m needs a module: stepdbg -m package.train")
            result.module, result.target = True, words.pop(0)
            break
        if word == "--" and words:
            result.target = words.pop(0)
            break
        if not word.startswith("-") or word == "-":
            result.target = word
            break
        if _option(result, word, words):
            return result
    if result.target is None:
        raise UsageError("no script given; write stepdbg SCRIPT, stepdbg -m MODULE or stepdbg demo (--help tells more)")
    if result.target == "demo" and not result.module:
        result.demo, result.target = True, words.pop(0) if words else None
    result.rest = tuple(words)
    _check_batch(result)
    return result


def _option(result: Arguments, word: str, words: list[str]) -> bool:
    """Take one option, with its value from `words`. True: nothing after it matters."""
    name, equals, value = word.partition("=")
    if name in _FLAGS or name in _SWITCHES:
        if equals:
            raise UsageError(f"{name} takes no value")
        if name in _SWITCHES:
            _SWITCHES[name](result)
            return False
        result.action = _FLAGS[name]
        return True
    if name not in _OPTIONS:
        raise UsageError(_unknown(name))
    form, apply = _OPTIONS[name]
    if not equals:
        if not words:
            raise UsageError(f"{name} needs a value: {name} {form}")
        value = words.pop(0)
    if not value.strip():
        raise UsageError(f"{name} needs a value: {name} {form}")
    apply(result, value)
    return False


def _check_batch(result: Arguments) -> None:
    if result.batch:
        return
    used = [option for option, _ in result.commands]
    used += ["--json"] * result.json + ["--answers"] * (result.answers is not None)
    if used:
        raise UsageError(f"{used[0]} is for --batch: stepdbg --batch {used[0]} … SCRIPT")


def _stop_at(arguments: Arguments, value: str) -> None:
    from stepdbg.config import check_stop

    arguments.stop_at = _checked("--stop-at", check_stop, value)


def _on_detach(arguments: Arguments, value: str) -> None:
    from stepdbg.config import check_on_detach

    arguments.on_detach = _checked("--on-detach", check_on_detach, value)


def _phase(arguments: Arguments, value: str) -> None:
    from stepdbg.config import check_function, check_phase

    name, equals, function = value.partition("=")
    if not equals:
        raise UsageError(f"--phase {value}: write PHASE=package.module:Class.method")
    _checked("--phase", check_phase, name)
    _checked("--phase", check_function, function)
    arguments.phases[name] = (*arguments.phases.get(name, ()), function)


def _checked(option: str, check: Callable[[str], str], value: str) -> str:
    try:
        return check(value)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None


def _previous_values(arguments: Arguments, value: str) -> None:
    from stepdbg.config import check_previous

    try:
        arguments.previous_values = check_previous(value)
    except UsageError as error:
        raise UsageError(f"--previous-values: {error}") from None


def _python(arguments: Arguments, value: str) -> None:
    arguments.python = value


def _output(arguments: Arguments, value: str) -> None:
    arguments.output = Path(value)


def _command(arguments: Arguments, value: str) -> None:
    arguments.commands.append(("-c", value))


def _file(arguments: Arguments, value: str) -> None:
    arguments.commands.append(("-x", value))


def _answers(arguments: Arguments, value: str) -> None:
    arguments.answers = Path(value)


def _config(arguments: Arguments, value: str) -> None:
    arguments.config = Path(value)


_FLAGS = {"-h": "help", "--help": "help", "-V": "version", "--version": "version"}

_SWITCHES: dict[str, Callable[[Arguments], None]] = {
    "--batch": lambda arguments: setattr(arguments, "batch", True),
    "--json": lambda arguments: setattr(arguments, "json", True),
    "--no-history": lambda arguments: setattr(arguments, "history", False),
    "--no-eval": lambda arguments: setattr(arguments, "evaluation", False),
}

_OPTIONS: dict[str, tuple[str, Callable[[Arguments, str], None]]] = {
    "--python": ("PATH", _python),
    "--stop-at": ("first|never|PHASE", _stop_at),
    "--phase": ("PHASE=package.module:Class.method", _phase),
    "--on-detach": ("end|continue", _on_detach),
    "--previous-values": ("MB", _previous_values),
    "--output": ("FILE", _output),
    "--config": ("FILE", _config),
    "-c": ("COMMAND", _command),
    "-x": ("FILE", _file),
    "--answers": ("FILE", _answers),
}


def _unknown(name: str) -> str:
    from stepdbg.config import nearest

    hint = nearest(name, [*_OPTIONS, *_FLAGS, *_SWITCHES])
    return f"unknown option {name}{hint or '; --help lists them'} (the script's come after it)"


def _run(arguments: Arguments) -> int:
    """Everything that can be wrong is looked for here, the cheapest first; then the screen."""
    from stepdbg.config import load

    config = load(arguments.config)
    if arguments.demo:
        from stepdbg.launch.demos import find

        assert arguments.target is not None
        arguments = replace(arguments, target=str(find(arguments.target)))
    assert arguments.target is not None
    if not arguments.module:
        _check_script(arguments.target)
    if arguments.batch:
        return _batch(arguments, config)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("stepdbg needs a terminal; run it without a pipe or redirection, or with --batch")
    launch = _launch(arguments, config)
    try:
        from textual.theme import BUILTIN_THEMES

        from stepdbg.launch.screen import run_screen
        from stepdbg.ui.theme import DARK, LIGHT
    except ImportError as error:
        raise UsageError(
            f"the screen cannot be loaded ({error}); install stepdbg again: pip install stepdbg"
        ) from error
    config.check_theme((DARK.name, LIGHT.name, *BUILTIN_THEMES))
    return run_screen(
        launch, theme=config.theme, keymap=config.keys, history=arguments.history and config.history is not False
    )


def _batch(arguments: Arguments, config: Config) -> int:
    """Without a screen. Commands that cannot be read end it before the script is started."""
    from stepdbg.batch.driver import FAILED, check_file, run_batch
    from stepdbg.batch.output import Json, Text
    from stepdbg.commands import parse as parse_command

    lines: list[str] = []
    for option, text in arguments.commands:
        try:
            if option == "-x":
                lines += [line for _, line in check_file(text)]
            else:
                parse_command(text)
                lines.append(text)
        except UsageError as error:
            print(f"stepdbg: {error}", file=sys.stderr)
            return FAILED
    launch = _launch(arguments, config)
    if arguments.output is not None:
        raise UsageError("--output: in a batch the script's output is stepdbg's own; redirect that, or use --answers")
    place: int | Path = 1
    if arguments.answers is not None and str(arguments.answers) != "-":
        _check_output(arguments.answers, "--answers")
        place = arguments.answers
    capture = arguments.json and place == 1
    try:
        stream = open(  # noqa: SIM115  (a descriptor, or a file that is written to the end)
            place, "w", encoding="utf-8", errors="backslashreplace", closefd=place != 1
        )
    except OSError as error:
        raise UsageError(f"--answers {place}: {error.strerror}") from None
    with stream:
        return run_batch(launch, lines, Json(stream) if arguments.json else Text(stream), capture=capture)


def _launch(arguments: Arguments, config: Config) -> Launch:
    """What to run, from the command line first, then the configuration."""
    from stepdbg.client.saved import SavedBreakpoints
    from stepdbg.launch import spawn
    from stepdbg.launch.interpreter import choose
    from stepdbg.launch.process import Launch
    from stepdbg.protocol.messages import Settings

    assert arguments.target is not None
    phases = dict(config.phases)
    for name, functions in arguments.phases.items():
        phases[name] = (*phases.get(name, ()), *functions)
    previous = config.previous_values if arguments.previous_values is None else arguments.previous_values
    settings = Settings(
        stop_at=arguments.stop_at or config.stop_at or "first",
        on_detach=arguments.on_detach or config.on_detach or "end",
        phases=phases,
        evaluation=arguments.evaluation,
        previous_bytes=Settings.previous_bytes if previous is None else previous << 20,
        full_names=config.names == "full",
        breakpoints=() if arguments.batch else SavedBreakpoints(arguments.target, module=arguments.module).load(),
    )
    if arguments.output is not None:
        _check_output(arguments.output)
    return Launch(
        interpreter=choose(arguments.python or config.python, arguments.target if arguments.module else None),
        target=arguments.target,
        arguments=arguments.rest,
        module=arguments.module,
        settings=settings,
        output=arguments.output,
        attributes=spawn.user_attributes(),
    )


def _check_script(target: str) -> None:
    """Raise UsageError when `target` cannot be a script."""
    from stepdbg.config import nearest

    path = Path(target)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # the likely file is looked for below
    except OSError as error:
        raise UsageError(f"{_short(target)}: {(error.strerror or str(error)).lower()}") from None
    if path.is_dir() and not (path / "__main__.py").exists():
        module = path.name if path.is_absolute() or ".." in path.parts else ".".join(path.parts)
        raise UsageError(f"{target}: a directory, not a script; for a package write -m {module}")
    if not path.exists():
        near = ""
        if path.parent.is_dir():
            hint = nearest(path.name, [p.name for p in path.parent.iterdir() if p.suffix == ".py"])
            near = hint.replace("you mean ", f"you mean {path.parent}{os.sep}") if path.parent != Path() else hint
        raise UsageError(f"{target}: no such file{near}")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{target}: not readable")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _check_output(path: Path, option: str = "--output") -> None:
    if path.is_dir():
        raise UsageError(f"{option} {path}: a directory; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: no such directory: {path.parent}")
