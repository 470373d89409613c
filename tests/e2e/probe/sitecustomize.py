"""Writes the state digest of a script at its end, in the bare run and under stepdbg alike.

Stands on PYTHONPATH in both runs; under stepdbg its own `sitecustomize` has to find its way here. The digest
is written to $STEPDBG_TEST_DIGEST as JSON, by the script's main process only: the variable is taken out of
the environment, so its children know nothing of it.
"""

import os
import sys


def _wanted():
    # The screen and the look for torch in an interpreter are started with -c; they inherit the variable.
    words = sys.orig_argv[1:3]
    return bool(words) and words[0] != "-c"


def _sha(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _tensor_sha(tensor):
    import torch

    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    flat = tensor.cpu().contiguous().reshape(-1)
    return _sha(head + flat.view(torch.uint8).numpy().tobytes())


def _tensors_in(value):
    import torch

    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def _torch_state(kept):
    import gc

    import torch

    gc.collect()
    # By class, not isinstance: that asks the object, which may be a proxy that warns, or a tensor without numbers.
    alive = [(type(o).__mro__, o) for o in gc.get_objects()]
    found = [o for mro, o in alive if torch.optim.Optimizer in mro]
    optimizers = {id(o): o for o in [*kept, *found]}
    parameters = {id(p): p for mro, p in alive if torch.nn.Parameter in mro}
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            parameters.update((id(p), p) for p in group["params"])
    lazy = torch.nn.parameter.UninitializedTensorMixin
    modules = [o for mro, o in alive if torch.nn.Module in mro]
    buffers = _tensors_in([list(getattr(module, "_buffers", {}).values()) for module in modules])
    states = _tensors_in([list(o.state.values()) for o in optimizers.values()])
    known = [p for p in parameters.values() if not isinstance(p, lazy)]
    return {
        "rng": _sha(torch.random.get_rng_state().numpy().tobytes()),
        "parameters": sorted(_tensor_sha(p) for p in known),
        "gradients": sorted(_tensor_sha(p.grad) for p in known if p.grad is not None),
        "buffers": sorted(_tensor_sha(b) for b in buffers if not isinstance(b, lazy)),
        "optimizer": sorted(_tensor_sha(t) for t in states),
    }


def _digest(kept):
    import random

    result = {"random": _sha(repr(random.getstate()).encode())}
    if "numpy.random" in sys.modules:
        state = sys.modules["numpy.random"].get_state()
        result["numpy"] = _sha(repr([list(part) if hasattr(part, "tolist") else part for part in state]).encode())
    if "torch" in sys.modules and hasattr(sys.modules["torch"], "nn"):
        result["torch"] = _torch_state(kept)
    return result


def _after_import(actions):
    """Call `actions[name](module)` once the module of that name has been imported."""
    import importlib.abc
    import importlib.machinery

    class Loader(importlib.abc.Loader):
        def __init__(self, inner):
            self.inner = inner

        def create_module(self, spec):
            return self.inner.create_module(spec)

        def exec_module(self, module):
            self.inner.exec_module(module)
            actions[module.__name__](module)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name not in actions:
                return None
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = Loader(spec.loader)
            return spec

    sys.meta_path.insert(0, Finder())


def _keep_optimizers(kept):
    """Keep what a function makes: its optimizers, and so their parameters, would be gone at the script's end."""

    def act(module):
        original = module.Optimizer.__init__

        def __init__(self, *args, **kwargs):
            original(self, *args, **kwargs)
            kept.append(self)

        module.Optimizer.__init__ = __init__

    return act


def _install():
    if not _wanted():
        return
    target = os.environ.pop("STEPDBG_TEST_DIGEST", None)
    if target is None:
        return
    import atexit
    import json
    import random

    kept = []
    pid = os.getpid()
    # These two begin with what the system calls random: a script that does not seed them could not be compared.
    random.seed(0)
    _after_import({"numpy.random": lambda m: m.seed(0), "torch.optim.optimizer": _keep_optimizers(kept)})

    def write():
        if os.getpid() == pid:
            text = json.dumps(_digest(kept), indent=1)
            with open(target, "w", encoding="utf-8") as file:  # noqa: PTH123  (the script imports pathlib, or not)
                file.write(text)

    atexit.register(write)


_install()
