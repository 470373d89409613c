"""Found by Python at start-up because this folder stands first on PYTHONPATH: brings the agent into the script.

It runs before the first line of the script, so it does as little as it can: it takes stepdbg's traces out of the
environment and of `sys.path`, lets the next `sitecustomize` (the one that would have run) run, and leaves the rest to
`stepdbg.agent.bootstrap`. Only the process that was handed the socket is debugged; every other one gets nothing.
"""


def _take_over() -> None:
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  (pathlib is slow to import)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    fd = os.environ.pop("STEPDBG_FD", None)
    settings = os.environ.pop("STEPDBG_SETTINGS", None)
    before = os.environ.pop("STEPDBG_PYTHONPATH", None)
    if before is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = before

    # The name must be free for the next sitecustomize.
    sys.modules.pop("sitecustomize", None)
    try:
        # Where there is none, this raises what `site` silently takes for just that, and the name is taken out of
        # `sys.modules` again: as in a bare run.
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    finally:
        if fd is not None and settings is not None:
            _load_agent(here, int(fd), settings)


def _load_agent(here: str, fd: int, settings: str) -> None:
    """Import `stepdbg.agent` from beside this folder, whether or not stepdbg is installed in this environment."""
    # Not importlib.util: it loads half the standard library, and the script's folder may hold modules of those names.
    import _frozen_importlib
    import _frozen_importlib_external
    import os
    import sys

    package = os.path.dirname(os.path.dirname(here))  # noqa: PTH120
    if "stepdbg" not in sys.modules:
        spec = _frozen_importlib_external.spec_from_file_location(
            "stepdbg",
            os.path.join(package, "__init__.py"),  # noqa: PTH118
            submodule_search_locations=[package],
        )
        if spec is None or spec.loader is None:
            return
        module = _frozen_importlib.module_from_spec(spec)
        sys.modules["stepdbg"] = module
        spec.loader.exec_module(module)
    from stepdbg.agent import bootstrap

    bootstrap.arm(fd, settings)


_take_over()
