"""The two themes, and what their colours mean.

`$accent` is "now": what runs next, what has the focus. `$warning` is "changed since the last stop". `$error`
is for failures only. Everything else is foreground, more or less dimmed. Text colours have a contrast of at
least 4.5 : 1 on their background (WCAG 2 level AA), and a glyph or word always says the same as the colour.
"""

from __future__ import annotations

import difflib
from typing import Any

from textual.app import App
from textual.theme import Theme

DARK = Theme(
    name="stepdbg-dark",
    primary="#7aa2c8",
    secondary="#8fb3a5",
    accent="#6cc4d9",
    warning="#e3b567",
    error="#f07f7f",
    success="#8fc28f",
    foreground="#d3d9e0",
    background="#14181d",
    surface="#1a1f26",
    panel="#222932",
    boost="#2a323d",
    dark=True,
    variables={
        "text-muted": "#a6b0bb",
        "text-disabled": "#919ba6",
        "border": "#6cc4d9",
        "border-blurred": "#3a4552",
        "footer-key-foreground": "#6cc4d9",
        "footer-background": "#1a1f26",
        "footer-description-foreground": "#aab4c0",
        "block-cursor-foreground": "#10141a",
        "block-cursor-background": "#6cc4d9",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-foreground": "#d3d9e0",
        "block-cursor-blurred-background": "#2a323d",
        "input-selection-background": "#6cc4d9 30%",
    },
)

LIGHT = Theme(
    name="stepdbg-light",
    primary="#2f5f8a",
    secondary="#3a6b5a",
    accent="#00607a",
    warning="#8a5a00",
    error="#b3261e",
    success="#2e6b34",
    foreground="#22282f",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#eae7e0",
    boost="#e2ded5",
    dark=False,
    variables={
        "text-muted": "#4a5159",
        "text-disabled": "#5a6168",
        "border": "#00607a",
        "border-blurred": "#c3beb3",
        "footer-key-foreground": "#00607a",
        "footer-background": "#eae7e0",
        "footer-description-foreground": "#4a525b",
        "block-cursor-foreground": "#fbfaf7",
        "block-cursor-background": "#00607a",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-foreground": "#22282f",
        "block-cursor-blurred-background": "#ddd8cd",
        "input-selection-background": "#00607a 30%",
    },
)


def choose_theme(app: App[Any], name: str) -> None:
    """Use the theme of that name; empty: light after dark and the other way round. A wrong name is said in one line."""
    if not name:
        app.theme = LIGHT.name if app.current_theme.dark else DARK.name
    elif name in app.available_themes:
        app.theme = name
    else:
        near = difflib.get_close_matches(name, app.available_themes, n=1, cutoff=0.3)
        hint = f": did you mean {near[0]}?" if near else ""
        app.notify(f"no theme {name!r}{hint}", severity="warning", markup=False)
