"""Run something right after a module has been imported, without importing it ourselves.

torch must be imported by the script and not by us: scripts set OMP_NUM_THREADS, CUDA_VISIBLE_DEVICES and the like
first. The finder stands on `sys.meta_path` only until everything it waits for has come. Imports nothing that the
interpreter has not: see `bootstrap`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Callback = Callable[[ModuleType], None]


class PostImportHook:
    """Calls back once for each awaited module, when its import has succeeded."""

    def __init__(self) -> None:
        self._waiting: dict[str, Callback] = {}
        self._finding: set[str] = set()

    def when_imported(self, name: str, callback: Callback) -> None:
        """Call `callback(module)` after `name` is imported; at once if it already is."""
        module = sys.modules.get(name)
        if module is not None and not _still_loading(module):
            callback(module)
            return
        if not self._waiting:
            sys.meta_path.insert(0, self)
        self._waiting[name] = callback

    def close(self) -> None:
        """Wait for nothing any more."""
        self._waiting.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that calls back; None for all other modules."""
        if fullname not in self._waiting or fullname in self._finding:
            return None
        self._finding.add(fullname)
        try:
            for finder in sys.meta_path:
                if finder is self:
                    continue
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    break
            else:
                return None
        finally:
            self._finding.discard(fullname)
        if spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec

    def imported(self, module: ModuleType) -> None:
        """The loader's report that `module` is complete."""
        callback = self._waiting.pop(module.__name__, None)
        if not self._waiting:
            self.close()
        if callback is not None:
            callback(module)


class _Loader:
    """Stands in for the real loader during the import and puts it back afterwards."""

    def __init__(self, real: Any, hook: PostImportHook) -> None:
        self._real = real
        self._hook = hook

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._real.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        module.__loader__ = self._real
        try:
            self._real.exec_module(module)
        except BaseException as error:
            # Without our entry the interpreter takes those of the import machinery out, as it does in a bare run.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise
        self._hook.imported(module)


def _still_loading(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
