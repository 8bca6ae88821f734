"""p-norm decay and soft-thresholding in the training loop: AdamW, and the members of a stack."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from psilon_bench.regularizers.lasso_prox import LassoProx
from psilon_bench.regularizers.p_norm_decay import PNormDecay
from psilon_bench.regularizers.shrunk import Group

ALL: list[Group] = ["biases", "gains", "norms"]


@pytest.mark.parametrize("seed", [0, 1])
def test_p_2_is_adamw(train: Any, network: Any, task: Any, seed: Any) -> None:
    """p = 2 is AdamW with weight_decay 2 lam at lr / (1 + 2 lr lam), which spares the biases of either."""
    lam, rates, data = 0.7, [0.05, 0.01, 0.02, 0.05, 0.03, 0.001], task("regression", seed)
    model = network("plain", 5, 1)
    slow = copy.deepcopy(model)
    adam = partial(torch.optim.Adam, lr=1.0)
    own = train(
        [model], [data], PNormDecay(2.0, None, "linear", ALL), [lam], adam, rates.__getitem__, num_batches=1
    ).fit.stack.state(0)
    weights, biases = ([p for n, p in slow.named_parameters() if n.endswith(kind)] for kind in ("weight", "bias"))
    adamw = torch.optim.AdamW([{"params": weights, "weight_decay": 2 * lam}, {"params": biases, "weight_decay": 0.0}])
    for rate in rates:
        adamw.param_groups[0]["lr"], adamw.param_groups[1]["lr"] = rate / (1 + 2 * rate * lam), rate
        adamw.zero_grad()
        nn.functional.mse_loss(slow(data.train.x.double()), data.train.y.double()).backward()
        adamw.step()
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(own[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["decay", "prox"])
def test_members_of_a_stack_have_their_own(train: Any, network: Any, task: Any, kind: Any) -> None:
    """p, its end and lam of each member, as alone, with Adam and a rate that changes."""
    ps, ends, lams = [0.5, 1.3, 2.0], [1.5, None, 0.7], [0.3, 0.0, 0.05]
    models, factors = [network("plain", 5, 3) for _ in range(3)], [1.0, 0.5, 0.3, 2.0, 1.0, 0.1]
    tasks = [task("multiclass", seed=i) for i in range(3)]
    decays = [PNormDecay(p, end, "cosine", ALL) for p, end in zip(ps, ends, strict=True)]
    regs = decays if kind == "decay" else [LassoProx(ALL)] * 3
    run = partial(train, factor=factors.__getitem__, num_batches=1)
    together = run(copy.deepcopy(models), tasks, regs, lams).fit.stack
    left = []
    for i in range(3):
        alone = run([copy.deepcopy(models[i])], [tasks[i]], regs[i : i + 1], lams[i : i + 1]).fit.stack.state(0)
        for name, value in alone.items():
            torch.testing.assert_close(together.state(i)[name], value, rtol=1e-10, atol=1e-12)
        left.append(alone["layers.0.weight"])
    assert not torch.equal(left[0].sign(), models[0].layers[0].weight.sign())
