"""Networks for tables that pytabkit trains, among the peers that networks of this package are compared with."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor
from typing_extensions import override

from psilon_bench.data.task import Kind
from psilon_bench.models.baselines import Positive
from psilon_bench.models.peers import NotNegative, Peer, PeerRows

DropoutRate = Annotated[float, Field(ge=0, lt=1)]
OUTDATED = (  # what pytabkit 1.8 and lightning 2.6 do that torch 2.13 and pandas 3 warn of
    r"`torch\.jit\.script` is deprecated",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "The given NumPy array is not writable",
)


@contextmanager
def without_outdated() -> Iterator[None]:
    """Leave out the warnings of OUTDATED, which change no number and which nobody but the libraries can answer."""
    with warnings.catch_warnings():
        for message in OUTDATED:
            warnings.filterwarnings("ignore", message=message)
        yield


class TrainedByPytabkit(Peer):
    """A network with the weights of its best epoch by the loss on the held-out rows, in float32 on the CPU.

    The loss of classes is cross-entropy, by which runs are compared, where pytabkit would count errors. skops cannot
    write such a network: a record keeps its predictions and scores alone.
    """

    packages: ClassVar = {"pytabkit": "pytabkit"}
    precision = "float32"
    keeps_estimator = False

    def __init__(self, num_features: int, num_outputs: int, **arguments: Any) -> None:
        """`arguments` are those of pytabkit's estimator; it has a default for each that is None."""
        super().__init__(num_features, num_outputs)
        self.arguments = arguments

    @override
    def settings(self, seed: int) -> dict[str, Any]:
        return self.arguments | {"random_state": seed, "n_threads": torch.get_num_threads(), "device": "cpu"}

    @override
    def classifier(self, seed: int) -> Any:
        return super().classifier(seed).set_params(val_metric_name="cross_entropy")

    @override
    @without_outdated()
    def unfitted(self, kind: Kind, seed: int) -> Any:
        return super().unfitted(kind, seed)

    @override
    @without_outdated()
    def logits(self, kind: Kind, x: Float[Tensor, " batch *input"]) -> Float[Tensor, "batch output"]:
        return super().logits(kind, x)

    @override
    @without_outdated()
    def fit_rows(self, fitted: PeerRows, held: PeerRows | None) -> None:
        stops = {} if held is None else {"X_val": held.x, "y_val": held.y}
        self.estimator.fit(fitted.x, fitted.y, **stops)


class RealMLP(TrainedByPytabkit):
    """An MLP with the tuned defaults of Holzmüller, Grinsztajn & Steinwart 2024 (RealMLP-TD)."""

    estimators = ("pytabkit:RealMLP_TD_Regressor", "pytabkit:RealMLP_TD_Classifier")
    tuned: ClassVar = {"lr": "lr", "use_ls": "smoothing"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        n_epochs: PositiveInt,
        lr: Positive | None,
        batch_size: PositiveInt,
        p_drop: DropoutRate,
        use_ls: bool,
    ) -> None:
        """The arguments have pytabkit's names and meanings; `use_ls` smooths the labels of classes by 0.1."""
        super().__init__(num_features, num_outputs, n_epochs=n_epochs, lr=lr, batch_size=batch_size, p_drop=p_drop)
        self.smooths = use_ls

    @override
    def classifier(self, seed: int) -> Any:
        return super().classifier(seed).set_params(use_ls=self.smooths)


class TabM(TrainedByPytabkit):
    """An MLP with k heads that share most of their weights (Gorishniy, Kotelnikov & Babenko 2025), pytabkit's TabM-D.

    Its outputs are means over the heads: of the predictions, or of the probabilities.
    """

    estimators = ("pytabkit:TabM_D_Regressor", "pytabkit:TabM_D_Classifier")
    tuned: ClassVar = {"lr": "lr", "tabm_k": "k"}

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        tabm_k: PositiveInt,
        n_blocks: PositiveInt,
        d_block: PositiveInt,
        dropout: DropoutRate,
        lr: Positive,
        weight_decay: NotNegative,
        batch_size: PositiveInt,
        n_epochs: PositiveInt,
        patience: PositiveInt,
    ) -> None:
        """The arguments have pytabkit's names; `patience` counts epochs without a lower loss on the held-out rows."""
        super().__init__(
            num_features,
            num_outputs,
            tabm_k=tabm_k,
            n_blocks=n_blocks,
            d_block=d_block,
            dropout=dropout,
            lr=lr,
            weight_decay=weight_decay,
            batch_size=batch_size,
            n_epochs=n_epochs,
            patience=patience,
        )
