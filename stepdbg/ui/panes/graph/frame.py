"""What stands in the border of the graph pane, and the sentences in place of a tree. Pure."""

from __future__ import annotations

from stepdbg.client.store import GraphTree
from stepdbg.protocol.graph import GraphPage, Lens, Watching
from stepdbg.protocol.messages import Working
from stepdbg.ui import format as fmt

OFF = "off"
"""How `GraphPage.flows` begins where gradients are not watched."""
CANCELLED = "cancelled"
"""How the reason begins why there is no answer, where it was not wanted any more."""
BAR = 12
"""Columns of the bar."""
SEPARATOR = " · "
COUNTED = ("unreached", "unowned", "unused", "shared", "frozen")
"""Marks that are counted in the border, what matters most first."""


def title(tree: GraphTree, width: int) -> str:
    """Who is reached: "loss reaches net 4/4 · net2 0/4"; without the root where that is more than `width` columns."""
    page = tree.page
    reach = SEPARATOR.join(f"{r.name} {r.reached}/{r.total}" for r in page.reach if r.what == "module")
    whole = f"{page.root} reaches {reach}" if page.root and reach else page.root
    pattern = f"filter: {tree.lens.pattern}" if tree.lens.pattern else ""
    fits = fmt.columns(_join(whole, pattern)) <= width
    return _join(whole if fits or not reach else reach, pattern)


def _join(*parts: str) -> str:
    return SEPARATOR.join(part for part in parts if part)


def counts(page: GraphPage, watching: Watching | None, width: int) -> str:
    """Counts and state of the graph in at most `width` columns, as far as words can be spared."""
    if page.recorded_at is None:
        return ""
    marked = dict(page.marks)
    parts = {"nodes": fmt.plural(page.nodes, "node"), "edges": fmt.plural(page.edges, "edge")}
    parts |= {mark: f"{marked[mark]:,} {mark}" for mark in COUNTED if marked.get(mark)}
    if page.freed:
        parts["freed"] = "freed by backward"
    if page.recorded_at != page.stop:
        parts["stop"] = f"recorded at stop {page.recorded_at}"
    if page.flows:
        parts["flows"] = flows(page, watching)[0]
    shorter = (
        ("stop", f"stop {page.recorded_at}"),
        ("freed", "freed"),
        ("flows", flows(page, watching)[1]),
        ("edges", f"{fmt.count(page.edges)} edges"),
        ("nodes", f"{fmt.count(page.nodes)} nodes"),
        ("edges", ""),
        ("stop", ""),
        ("freed", ""),
    )
    for part, text in shorter:
        if len(_join(*parts.values())) <= width:
            break
        if parts.get(part):
            parts[part] = text
    return _join(*parts.values())


def is_watching(page: GraphPage | None, watching: Watching | None) -> bool:
    """Whether gradients are watched: as last told, or else as the page says."""
    if watching is not None:
        return watching.gradients
    return page is not None and page.recorded_at is not None and not page.flows.startswith(OFF)


def flows(page: GraphPage, watching: Watching | None) -> tuple[str, str]:
    """Why no gradient is shown, in long and in short: not watched, no backward since, or what else there is."""
    if not is_watching(page, watching):
        return "gradients off (a)", "∂ off (a)"
    if page.flows.startswith(OFF):  # the page came before the key
        return "gradients: from the next backward on", "∂ from next backward"
    return f"∂: {page.flows}", "no ∂"


def progress(working: Working) -> str:
    """How far the walk is, with a bar where its end is known."""
    if not working.total:
        return f"Walking the graph… {working.done:,} {working.what} · escape stops it"
    filled = min(working.done * BAR // working.total, BAR)
    bar = "━" * filled + "─" * (BAR - filled)
    return f"Walking the graph… {bar} {working.done:,} of {working.total:,} {working.what} · escape stops it"


def cancelled(failure: str, *, measuring: bool = False) -> str:
    """What to do after a walk was cancelled: "Cancelled after 34,000 nodes: enter walks it again."."""
    return f"{failure[0].upper()}{failure[1:]}: enter {'measures' if measuring else 'walks'} it again."


def lacks_bytes(tree: GraphTree, lens: Lens) -> bool:
    """Whether it is the tree wanted, as far as it goes: only the bytes are not there."""
    return tree.lens == lens and tree.page.unmeasured


def cut_off(failure: str, tree: GraphTree, lens: Lens) -> str:
    """Why the tree on screen is not the one wanted, or lacks its bytes, after that failure; empty: it is, and has."""
    if failure.startswith(CANCELLED) and (tree.lens != lens or tree.page.unmeasured):
        return cancelled(failure, measuring=tree.lens == lens)
    return f"Could not be read: {failure}" if failure and tree.lens != lens else ""


def note(page: GraphPage) -> str:
    """What is to be said above the tree, as a sentence; mostly nothing."""
    text = page.note.rstrip(".")
    return f"{text[0].upper()}{text[1:]}." if text else ""


def why_no_rows(tree: GraphTree) -> str:
    """One sentence that says why a tree that has been received is empty."""
    if tree.page.recorded_at is None:
        note = tree.page.note.rstrip(".")
        if note.startswith("no graph"):
            return f"{note[0].upper()}{note[1:]}."
        return f"No graph: {note}." if note else "No graph: the script has not reached a forward yet."
    return f"Nothing in the graph matches “{tree.lens.pattern}”."
