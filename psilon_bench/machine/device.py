"""The device on which a run computes, and the types of its numbers."""

from dataclasses import dataclass

import torch

from psilon_bench.config.sections import HardwareSection
from psilon_bench.errors import UsageError

# hardware.precision -> type of the parameters, type of autocast or None
PRECISIONS = {
    "float32": (torch.float32, None),
    "tf32": (torch.float32, None),
    "float64": (torch.float64, None),
    "bfloat16": (torch.float32, torch.bfloat16),
    "auto": (torch.float32, None),  # until a trial has shown what is faster: precision.autocast_of
}


@dataclass(frozen=True)
class DeviceSettings:
    """The device, the type of the parameters, and the type of autocast or None."""

    device: torch.device
    dtype: torch.dtype
    autocast: torch.dtype | None


def device_settings(hardware: HardwareSection) -> DeviceSettings:
    """Return device and types of a hardware section; UsageError where the device is absent or lacks the precision."""
    dtype, autocast = PRECISIONS[hardware.precision]
    device = find_device(hardware.device)
    if hardware.precision == "tf32" and device.type != "cuda":
        raise UsageError(
            f"hardware.precision=tf32 is a GPU's, and this runs on {device}. Set hardware.precision=float32."
        )
    return DeviceSettings(device, dtype, autocast)


def find_device(name: str) -> torch.device:
    """Return the device of this name; `auto` is a GPU where there is one. UsageError where the device is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[device.type]
    if (device.index or 0) >= there:
        raise UsageError(
            f"hardware.device={name} is not there ({there} {device.type} devices). Set hardware.device=cpu or auto."
        )
    return device
