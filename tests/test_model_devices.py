"""Devices and precisions, on simulated machines with more devices than this one."""

from __future__ import annotations

from typing import Any

import pytest

from datumaro_clip.errors import DeviceNotFoundError, OptionError
from datumaro_clip.model.devices import check_device, choose_precision, is_composite, list_devices
from datumaro_clip.model.openvino import core

CAPABILITIES = {
    "CPU": ["FP32", "BF16", "INT8", "BIN"],
    "GPU.0": ["FP32", "FP16", "INT8"],
    "GPU.1": ["FP32", "FP16", "INT8"],
    "NPU": ["FP16", "INT8"],
}


class FakeCore:
    """OpenVINO on a machine with the devices given."""

    def __init__(self, **capabilities: list[str]) -> None:
        self._capabilities = {name.replace("_", "."): can for name, can in capabilities.items()}

    @property
    def available_devices(self) -> list[str]:
        return list(self._capabilities)

    def get_property(self, device_name: str, property: str) -> Any:
        return {
            "OPTIMIZATION_CAPABILITIES": self._capabilities[device_name],
            "FULL_DEVICE_NAME": f"Maker's {device_name} ",
        }[property]


RICH = FakeCore(**{name.replace(".", "_"): can for name, can in CAPABILITIES.items()})
OLD_CPU = FakeCore(CPU=["FP32", "INT8"])


def test_devices_are_listed_with_their_makers_names_and_precisions() -> None:
    cpu, gpu = list_devices(RICH)[:2]
    assert str(cpu) == "CPU (Maker's CPU)"
    assert (cpu.precisions, gpu.precisions) == (("f32", "bf16", "int8"), ("f32", "f16", "int8"))


def test_the_real_openvino_lists_its_cpu() -> None:
    assert "f32" in next(device for device in list_devices(core()) if device.name == "CPU").precisions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CPU", "CPU"),
        (" cpu ", "CPU"),
        ("GPU", "GPU.0"),
        ("gpu.1", "GPU.1"),
        ("NPU", "NPU"),
        ("AUTO", "AUTO"),
        ("AUTO:GPU,CPU", "AUTO:GPU.0,CPU"),
        ("AUTO:CPU", "CPU"),
        ("AUTO:-GPU", "AUTO:-GPU"),
        ("MULTI:GPU.1(4),CPU(2)", "MULTI:GPU.1,CPU"),
        ("HETERO:NPU, CPU", "HETERO:NPU,CPU"),
    ],
)
def test_a_name_is_understood(name: str, expected: str) -> None:
    assert check_device(RICH, name) == expected


@pytest.mark.parametrize(
    "name", ["", "GPU", "GPU.2", "CUDA", "AUTO:CPU,GPU", "MULTI:NPU", "HETERO", "MULTI:", "BATCH:CPU"]
)
def test_a_device_that_is_not_here_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(DeviceNotFoundError, match=r"there are: CPU \(Maker's CPU\)"):
        check_device(OLD_CPU, name)


@pytest.mark.parametrize(("name", "expected"), [("CPU", False), ("GPU.0", False), ("AUTO", True), ("MULTI:A,B", True)])
def test_composite_devices_are_told_from_others(name: str, expected: bool) -> None:
    assert is_composite(name) is expected


@pytest.mark.parametrize(
    ("machine", "device", "weights", "wanted", "expected"),
    [
        (RICH, "CPU", "f32", "auto", "bf16"),
        (RICH, "CPU", "f16", "auto", "bf16"),
        (RICH, "CPU", "int8", "auto", "int8"),
        (RICH, "CPU", "int8", "int8", "int8"),
        (RICH, "CPU", "f32", "f32", "f32"),
        (OLD_CPU, "CPU", "f32", "auto", "f32"),
        (OLD_CPU, "CPU", "bf16", "auto", "f32"),
        (RICH, "GPU.0", "f32", "auto", "f16"),
        (RICH, "GPU.0", "f32", "f32", "f32"),
        (RICH, "NPU", "f32", "auto", "f16"),
        (RICH, "AUTO", "f32", "auto", "f32"),
        (RICH, "MULTI:GPU.0,GPU.1", "f32", "auto", "f16"),
        (OLD_CPU, "AUTO:-GPU", "f32", "auto", "f32"),
    ],
)
def test_the_precision_is_the_quickest_safe_one_or_the_one_asked_for(
    machine: FakeCore, device: str, weights: str, wanted: str, expected: str
) -> None:
    assert choose_precision(machine, device, weights, wanted) == expected


@pytest.mark.parametrize(
    ("machine", "weights", "wanted", "message"),
    [
        (RICH, "f32", "f64", "not one of auto, f32, bf16, f16, int8"),
        (RICH, "f32", "f16", "CPU does not compute in f16; it can: auto, f32, bf16"),
        (OLD_CPU, "f32", "bf16", "CPU does not compute in bf16; it can: auto, f32"),
        (RICH, "f32", "int8", "quantise the model first"),
        (RICH, "int8", "f32", "load the model's f32 form"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused(machine: FakeCore, weights: str, wanted: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        choose_precision(machine, "CPU", weights, wanted)
