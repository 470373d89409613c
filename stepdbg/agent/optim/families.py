"""Which optimizers have a formula here: by their exact class, since a subclass may compute anything."""

from __future__ import annotations

from typing import Any

import torch

from stepdbg.agent.optim.adadelta import ADADELTA
from stepdbg.agent.optim.adagrad import ADAGRAD
from stepdbg.agent.optim.adam import ADAM
from stepdbg.agent.optim.adamax import ADAMAX
from stepdbg.agent.optim.rmsprop import RMSPROP
from stepdbg.agent.optim.sgd import SGD
from stepdbg.agent.optim.sheet import Family

FAMILIES: dict[type[Any], Family] = {
    torch.optim.SGD: SGD,
    torch.optim.Adam: ADAM,
    torch.optim.AdamW: ADAM,
    torch.optim.RMSprop: RMSPROP,
    torch.optim.Adagrad: ADAGRAD,
    torch.optim.Adamax: ADAMAX,
    torch.optim.Adadelta: ADADELTA,
}


def family_of(optimizer: Any) -> Family | None:
    """The formula of this optimizer; None where only before and after can be told."""
    return FAMILIES.get(type(optimizer))


def completed(optimizer: Any, hyper: dict[str, Any]) -> dict[str, Any]:
    """Hyper-parameters with what older versions of torch leave out."""
    if family_of(optimizer) is not ADAM:
        return hyper
    return {"decoupled_weight_decay": type(optimizer) is torch.optim.AdamW, **hyper}
