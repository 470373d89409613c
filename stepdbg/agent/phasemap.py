"""The phase map: functions of other libraries (or of the user's own) that are phases, named as "pkg.mod:Class.method".

Built in are the optimizers that are not `torch.optim.Optimizer`. Functions are instrumented when the script imports
their module, which is never imported by us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

from stepdbg.agent.importhook import PostImportHook
from stepdbg.agent.instrument import Instruments
from stepdbg.protocol.records import Phase

BUILT_IN: dict[str, tuple[str, ...]] = {
    "step": (
        "fastai.optimizer:Optimizer.step",
        "keras.src.optimizers.base_optimizer:BaseOptimizer.apply",
    ),
    "zero_grad": ("fastai.optimizer:Optimizer.zero_grad",),
}
"""Phase value → functions. One that a version of the library does not have is passed over."""


def await_phases(
    instruments: Instruments,
    imports: PostImportHook,
    wanted: Mapping[str, tuple[str, ...]],
    warn: Callable[[str], None],
) -> None:
    """Instrument the built-in functions and the `wanted` ones, now or when their modules are imported.

    A wanted function that does not exist is told of through `warn`.
    """
    functions: dict[str, list[tuple[str, str, bool]]] = {}
    for mapping, required in ((BUILT_IN, False), (wanted, True)):
        for phase, paths in mapping.items():
            for path in paths:
                module, _, function = path.partition(":")
                functions.setdefault(module, []).append((phase, function, required))

    def found(module: ModuleType) -> None:
        for phase, function, required in functions[module.__name__]:
            try:
                instruments.name_phase(Phase(phase), function, module)
            except LookupError as error:
                if required:
                    warn(f"phase {phase}: {error}")

    for module in functions:
        imports.when_imported(module, found)
