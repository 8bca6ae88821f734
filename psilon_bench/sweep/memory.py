"""How many networks, or processes, fit into the memory that is free."""

from collections.abc import Sequence

from torch import nn

from psilon_bench.config.schema import Config
from psilon_bench.machine.device import device_settings
from psilon_bench.machine.memory import CPU, free_bytes
from psilon_bench.metrics.network import num_parameters
from psilon_bench.training import footprint
from psilon_bench.training.member import Member
from psilon_bench.training.side_by_side import most_at_once

MEMORY_SHARE = 0.5  # of what is free
PROCESS_BYTES = 400_000_000  # of a process that has imported torch, beside its network and data


def most_networks(member: Member, splits: float) -> int:
    """Return how many networks fit into half of the free memory; `splits` is the number of data splits per network."""
    device = device_settings(member.config.hardware).device
    return max(1, int(MEMORY_SHARE * free_bytes(device) / (network_bytes(member) + splits * data_bytes(member))))


def most_processes(member: Member) -> int:
    """Return how many processes fit into half of the free memory; each holds its data twice, as read and as used."""
    network = network_bytes(member) if isinstance(member.model, nn.Module) else 0
    each = PROCESS_BYTES + network + 2 * data_bytes(member)
    return max(1, int(MEMORY_SHARE * free_bytes(CPU) / each))


def most_in_each(member: Member, splits: float, processes: int) -> int:
    """Return how many networks fit into each of so many processes, as `most_networks` and `most_processes` count."""
    each = network_bytes(member) + 2 * splits * data_bytes(member)
    return max(1, int((MEMORY_SHARE * free_bytes(CPU) / processes - PROCESS_BYTES) / each))


def race_bytes(heats: Sequence[tuple[Member, Sequence[Config]]]) -> int:
    """Return an estimate of the bytes that a race takes; its heats are given as one of their networks and their runs.

    All networks and all rows of all heats are there at once, activations those of the heats at work alone: of a lone
    network, or of as many stacks as train side by side.
    """
    kept, alone, stacked = 0, 0, []
    for member, configs in heats:
        parameters = footprint.bytes_of(member.config, member.task, num_parameters(member.model), 0)
        kept += len(configs) * parameters + num_splits(configs) * data_bytes(member)
        activations = len(configs) * (network_bytes(member) - parameters)
        alone = max(alone, activations)
        stacked += [activations] if len(configs) > 1 else []
    side_by_side = sum(sorted(stacked)[-most_at_once(heats[0][0].config.hardware) :])
    return kept + max(alone, side_by_side)


def num_splits(configs: Sequence[Config]) -> int:
    """Return how many splits of the data there are; networks on the same split share its rows."""
    return len({config.dataset.text() for config in configs})


def network_bytes(member: Member) -> int:
    """Return an estimate of the bytes that one network takes while it trains."""
    _, activations = footprint.one_row(member.model, member.task)
    return footprint.bytes_of(member.config, member.task, num_parameters(member.model), activations)


def data_bytes(member: Member) -> int:
    """Return the bytes of the rows of one split."""
    size = device_settings(member.config.hardware).dtype.itemsize
    return size * sum(split.x.numel() for split in (member.task.train, member.task.val, member.task.test))
