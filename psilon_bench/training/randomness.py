"""What networks draw while they train, dropout say: from torch's global generators, seeded by the run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from psilon_bench.training.batches import generator


class Randomness:
    """Keeps the global generators of the CPU and of a GPU as one run has them, aside while the run is not at work.

    The process's own random numbers stay as they were. On Apple's GPUs the generator is neither seeded nor kept.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        """seeds: of all members; a stack of several draws nothing, for vmap refuses to."""
        self.devices = [device] if device.type == "cuda" else []
        places = [torch.device("cpu"), *self.devices]
        self.states = [generator(*seeds, 3, device=place).get_state() for place in places]
        self.at_work = False

    @contextmanager
    def own(self) -> Iterator[None]:
        """Make the global generators the run's, within."""
        if self.at_work:
            yield
            return
        with torch.random.fork_rng(self.devices):
            self.at_work = True
            self.load_state(self.states)
            try:
                yield
            finally:
                self.states, self.at_work = self.state(), False

    def state(self) -> list[Tensor]:
        """Return the state of each generator as it is now."""
        if not self.at_work:
            return self.states
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self.devices)]

    def load_state(self, states: Sequence[Tensor]) -> None:
        """Go on from what `state` returned."""
        self.states = list(states)
        if self.at_work:
            torch.set_rng_state(self.states[0])
            for device, state in zip(self.devices, self.states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
