"""The screen. Importing this package imports no Textual: the app comes when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepdbg.ui.options import UiConfig

if TYPE_CHECKING:
    from stepdbg.ui.app import StepdbgApp

__all__ = ["StepdbgApp", "UiConfig"]


def __getattr__(name: str) -> Any:
    if name == "StepdbgApp":
        from stepdbg.ui.app import StepdbgApp

        return StepdbgApp
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
