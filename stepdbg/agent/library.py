"""The standard library under its own names while modules of ours are imported, whatever lies beside the script.

A file `random.py` in the script's folder is what `import random` means for the script, and so for everything that is
imported later. Our own modules get the library's, and the script's are back in place afterwards.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_HOME = os.path.dirname(os.path.abspath(os.__file__))  # noqa: PTH100, PTH120  (pathlib may be the script's)


class StandardLibrary:
    """A context: within it, the names of the standard library mean the standard library. Costs about 50 µs."""

    def __enter__(self) -> None:
        self._path = sys.path[:]
        self._shadows = {name: module for name, module in list(sys.modules.items()) if _shadows(name, module)}
        for name in self._shadows:
            del sys.modules[name]
        if self._path[:1] != [_HOME]:
            sys.path[:] = [_HOME, os.path.join(_HOME, "lib-dynload"), *self._path]  # noqa: PTH118

    def __exit__(self, *_error: object) -> None:
        sys.path[:] = self._path
        tops = {name.partition(".")[0] for name in self._shadows}
        for name in list(sys.modules):
            if name.partition(".")[0] in tops:
                del sys.modules[name]
        sys.modules.update(self._shadows)


def _shadows(name: str, module: ModuleType | None) -> bool:
    """Whether `module` has a name of the standard library and does not come from there."""
    if name.partition(".")[0] not in sys.stdlib_module_names or name == "__main__":
        return False
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or "distutils" in name:
        return False
    return not os.path.abspath(file).startswith(_HOME + os.sep) or f"{os.sep}site-packages{os.sep}" in file  # noqa: PTH100
