"""EBM, the additive model of interpret, among the peers that networks are compared with."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveInt
from typing_extensions import override

from psilon_bench.models.baselines import Positive, Trees
from psilon_bench.models.peers import Peer, PeerRows


class EBM(Peer):
    """An explainable boosting machine (Lou et al. 2013): a sum of one function of each input, and of pairs of inputs.

    It is a mean over `outer_bags` fits, which stop by 15 % of the training rows each, and are made on one thread.
    """

    packages: ClassVar = {"interpret-core": "interpret"}
    estimators = (
        "interpret.glassbox:ExplainableBoostingRegressor",
        "interpret.glassbox:ExplainableBoostingClassifier",
    )
    tuned: ClassVar = {"learning_rate": "rate", "interactions": "pairs"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        learning_rate: Positive | None,
        max_rounds: Trees,
        outer_bags: PositiveInt,
        interactions: Annotated[int, Field(ge=0)],
    ) -> None:
        """The arguments have interpret's names and meanings; without a `learning_rate` it has the library's."""
        super().__init__(num_features, num_outputs)
        rate = {} if learning_rate is None else {"learning_rate": learning_rate}
        self.arguments = rate | {"max_rounds": max_rounds, "outer_bags": outer_bags, "interactions": interactions}

    @override
    def settings(self, seed: int) -> dict[str, Any]:
        return self.arguments | {"random_state": seed, "n_jobs": 1}

    @property
    @override
    def holds_out(self) -> bool:
        return False

    @override
    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        self.estimator.fit(fitted.x, fitted.y, sample_weight=fitted.weights)
