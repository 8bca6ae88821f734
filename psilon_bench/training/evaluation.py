"""What is measured of the members of a stack on rows that they do not train on, and of the networks themselves."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from psilon_bench.data.task import Split
from psilon_bench.metrics import prediction
from psilon_bench.metrics.lipschitz import jacobians
from psilon_bench.metrics.units import weight_decay_objectives
from psilon_bench.models.units import pairs_of
from psilon_bench.training.batches import Rows, Shares
from psilon_bench.training.engine import Row
from psilon_bench.training.randomness import Randomness
from psilon_bench.training.recipe import Recipe
from psilon_bench.training.stack import Stack

ROWS_AT_ONCE = 8192  # of all members together, in one forward pass
OfNetwork = Callable[[nn.Module], dict[str, Tensor]]


def nothing(_model: nn.Module) -> dict[str, Tensor]:
    """Measure nothing of the network itself."""
    return {}


class Evaluation:
    """Scores and slopes of all members, in the precision of their parameters: none is under autocast."""

    def __init__(self, recipe: Recipe, train: Rows, randomness: Randomness) -> None:
        self.stack, self.kind, self.train, self.randomness = recipe.stack, recipe.kind, train, randomness
        self.functions = recipe.metrics.located

        def rows(splits: list[Split]) -> Rows:
            return Rows(splits, self.stack.device, self.stack.dtype)

        tasks = recipe.tasks
        self.val = rows([task.val for task in tasks]) if len(tasks[0].val) else None  # a refit has no such rows
        self.test = rows([task.test for task in tasks]) if len(tasks[0].test) else None  # an estimator's fit has none
        self.kept: dict[Rows, Tensor] | None = None  # logits of networks that do not change, see `of`
        names = tasks[0].extra_tests  # tasks of one shape have the same
        self.extra_tests = {name: rows([task.extra_tests[name] for task in tasks]) for name in names}

    def of(self, stack: Stack) -> "Evaluation":
        """Return the same evaluation of other networks, of the same members, which do not change any more.

        Their logits on validation and test rows are computed once.
        """
        evaluation = copy.copy(self)
        evaluation.stack, evaluation.kept = stack, {}
        return evaluation

    @torch.no_grad()
    def scores(self, rows: Rows, split: str, of_network: OfNetwork = nothing) -> list[Row]:
        """Return the scores on these rows, named `split/...`, and the network's measures; one dictionary a member."""

        def scored(_model: Any, logits: Tensor, y: Tensor, shares: Shares) -> dict[str, Tensor]:
            scores = prediction.scores(self.kind, logits, y, self.functions, **shares)
            return {f"{split}/{name}": value for name, value in scores.items()}

        return [row | own for row, own in zip(self.over(rows, scored), self.of_each(of_network), strict=True)]

    @torch.no_grad()
    def validation(self, split: str, of_network: OfNetwork = nothing) -> list[Row]:
        """Return the scores on the validation rows and the network's measures; without such rows the measures alone."""
        if self.val is not None:
            return self.scores(self.val, split, of_network)
        return self.of_each(of_network)

    @torch.no_grad()
    def of_each(self, of_network: OfNetwork) -> list[Row]:
        """Return measures of the networks themselves, without what fills them up: together where shapes are equal."""
        rows: list[Row] = [{} for _ in range(self.stack.size)]
        if of_network is nothing:
            return rows
        with self.randomness.own():
            for members, part in self.stack.parts():
                for name, values in part.map(of_network).items():
                    for member, value in zip(members, values.tolist(), strict=True):
                        rows[member][name] = value
        return rows

    @torch.no_grad()
    def decay_objectives(self, weight_decay: Tensor) -> list[Row]:
        """Return the objectives of weight decay (members,) over all training rows, without augmentation.

        Networks without units have none: their dictionaries are empty.
        """
        if not pairs_of(self.stack.model):
            return [{} for _ in range(self.stack.size)]

        def objectives(model: nn.Module, logits: Tensor, y: Tensor, shares: Shares, lam: Tensor) -> dict[str, Tensor]:
            return weight_decay_objectives(model, prediction.loss(self.kind, logits, y, **shares), lam)

        return self.over(self.train, objectives, weight_decay)

    def over(self, rows: Rows, function: Callable[..., dict[str, Tensor]], *values: Tensor) -> list[Row]:
        """Return function(network, its logits on all of these rows, their y and shares, *its values) of each member."""
        in_dims = (0, rows.in_dim, rows.in_dim, *[0] * len(values))
        logits = self.logits(rows)
        with self.randomness.own():
            return self.by_member(self.stack.map(function, logits, rows.y, rows.shares, *values, in_dims=in_dims))

    @torch.no_grad()
    def logits(self, rows: Rows) -> Tensor:
        """Return the logits (members, rows, outputs) on all of these rows."""
        if self.kept is not None and rows in self.kept:
            return self.kept[rows]
        chunks = rows.chunks(max(64, ROWS_AT_ONCE // self.stack.size))
        with self.randomness.own():
            logits = torch.cat([self.stack.map(forward, x, in_dims=(rows.in_dim,)) for x in chunks], dim=1)
        if self.kept is not None and rows in (self.val, self.test):
            self.kept[rows] = logits
        return logits

    def logits_by_split(self) -> dict[str, Tensor]:
        """Return the logits (members, rows, outputs) on the validation rows, where there are any, and the test rows."""
        splits = {"val": self.val, "test": self.test}
        return {name: self.logits(rows) for name, rows in splits.items() if rows is not None}

    def by_member(self, measured: dict[str, Tensor]) -> list[Row]:
        """Return one dictionary of numbers a member, of values (members,) by name."""
        columns = {name: value.tolist() for name, value in measured.items()}
        return [{name: column[index] for name, column in columns.items()} for index in range(self.stack.size)]

    def jacobians(self, points: int) -> list[Tensor]:
        """Return d logits / d input of every member at its first test rows, (points, outputs, inputs), on the CPU."""
        assert self.test is not None, "slopes are taken at test rows"
        x = next(self.test.chunks(points))
        by_member = x.expand(self.stack.size, *x.shape) if self.test.in_dim is None else x
        with self.randomness.own():
            return list(jacobians(lambda x: self.stack.map(forward, x, in_dims=(0,)), by_member).cpu())


def forward(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits in the precision of the parameters, as the saved network gives them."""
    return model(x)
