"""OpenVINO's devices: find them by name, and choose the precision to compute in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from datumaro_clip.errors import DeviceNotFoundError, OptionError

PRECISIONS = ("auto", "f32", "bf16", "f16", "int8")

# Our names for OpenVINO's names of the precisions that a device computes in natively.
_CAPABILITIES = {"FP32": "f32", "BF16": "bf16", "FP16": "f16", "INT8": "int8"}
# Devices made of other devices; only AUTO may stand without a list of them.
_COMPOSITES = ("AUTO", "MULTI", "HETERO")
_WITH_PRIORITY = re.compile(r"(?P<name>.+)\(\d+\)")


class Core(Protocol):
    """The part of ``openvino.Core`` that this module uses."""

    @property
    def available_devices(self) -> Sequence[str]: ...

    def get_property(self, device_name: str, property: str) -> Any: ...


@dataclass(frozen=True)
class Device:
    """A device that OpenVINO can use here.

    Attributes
    ----------
    name : str
        OpenVINO's name: ``CPU``, ``GPU.0``, ``NPU``.
    full_name : str
        The maker's name of the device.
    precisions : tuple of str
        Those of ``f32``, ``bf16``, ``f16`` and ``int8`` that it computes in natively.
    """

    name: str
    full_name: str
    precisions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.full_name})"


def list_devices(core: Core) -> list[Device]:
    """List the devices that OpenVINO can use here."""
    return [_describe(core, name) for name in core.available_devices]


def _describe(core: Core, name: str) -> Device:
    capabilities = core.get_property(name, "OPTIMIZATION_CAPABILITIES")
    precisions = tuple(ours for theirs, ours in _CAPABILITIES.items() if theirs in capabilities)
    return Device(name, str(core.get_property(name, "FULL_DEVICE_NAME")).strip(), precisions)


def check_device(core: Core, name: str) -> str:
    """Return OpenVINO's name for a device that a user names.

    Parameters
    ----------
    name : str
        ``CPU``, ``GPU``, ``GPU.1``, ``NPU``, ``AUTO``, ``AUTO:GPU,CPU``, ``MULTI:GPU,CPU``, ``HETERO:GPU,CPU``,
        in any case of letters.

    Returns
    -------
    str
        The name in OpenVINO's spelling. ``GPU`` stands for the first of several GPUs, and a list of one device for that
        device.

    Raises
    ------
    DeviceNotFoundError
        If one of the devices is not here; lists those that are.
    """
    kind, _, listed = name.strip().upper().partition(":")
    if kind not in _COMPOSITES:
        return _find(core, name.strip().upper())
    members = [member.strip() for member in listed.split(",") if member.strip()]
    # A minus in AUTO's list excludes a device, which need not be here.
    found = [member if member.startswith("-") else _find(core, member) for member in members]
    if kind != "AUTO" and not found:
        raise DeviceNotFoundError(f"{kind} needs the devices to use, as in {kind}:GPU,CPU; {_those_here(core)}")
    if len(found) == 1 and not found[0].startswith("-"):
        return found[0]
    return f"{kind}:{','.join(found)}" if found else kind


def is_composite(name: str) -> bool:
    """Return whether a device, named as :func:`check_device` returns it, is made of others."""
    return name.partition(":")[0] in _COMPOSITES


def _find(core: Core, name: str) -> str:
    """Return the device of that name, or the first of that kind; without MULTI's number of requests in brackets."""
    match = _WITH_PRIORITY.fullmatch(name)
    wanted = match["name"] if match else name
    found = [device for device in core.available_devices if wanted in (device, device.partition(".")[0])]
    if not found:
        raise DeviceNotFoundError(f"there is no device {wanted!r} here; {_those_here(core)}")
    return found[0]


def _those_here(core: Core) -> str:
    """List the devices for a message."""
    return "there are: " + (", ".join(map(str, list_devices(core))) or "none that OpenVINO knows")


def choose_precision(core: Core, device: str, weights: str, wanted: str) -> str:
    """Choose the precision to compute in.

    Parameters
    ----------
    device : str
        As :func:`check_device` returns it.
    weights : str
        Precision of the model's weights: ``f32``, ``f16``, ``bf16`` or ``int8``.
    wanted : str
        One of :data:`PRECISIONS`. ``auto`` is the fastest that is safe: int8 for int8 weights; else bf16 on a CPU
        that has it, f16 on another device that has it, otherwise f32.

    Raises
    ------
    OptionError
        If the precision is unknown, does not fit the weights, or the device lacks it; lists the possible ones.
    """
    if wanted not in PRECISIONS:
        raise OptionError(f"precision {wanted!r} is not one of {', '.join(PRECISIONS)}")
    if wanted != "auto" and (wanted == "int8") != (weights == "int8"):
        cure = "quantise the model first" if wanted == "int8" else "load the model's f32 form"
        raise OptionError(f"precision {wanted} cannot be had from {weights} weights; {cure}, or ask for auto")
    if weights == "int8":
        return "int8"
    # Precisions that all devices which this one is made of compute in; every device computes in f32.
    listed = [member for member in device.partition(":")[2].split(",") if member and not member.startswith("-")]
    names = listed or (core.available_devices if is_composite(device) else [device])
    common = set.intersection(*(set(_describe(core, name).precisions) for name in names)) | {"f32"}
    can = [precision for precision in ("f32", "bf16", "f16") if precision in common]
    # A CPU does not compute in f16, whose range is narrow.
    quick = "bf16" if device == "CPU" else "f16"
    choice = wanted if wanted != "auto" else quick if quick in can else "f32"
    if choice not in can:
        raise OptionError(f"{device} does not compute in {choice}; it can: {', '.join(('auto', *can))}")
    return choice
