"""From a manifest's `device` to ONNX Runtime's execution providers, with an error that names what is missing."""

import re
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from steelyard.errors import DeviceUnavailable

_DEVICE = re.compile(r"(auto|cpu)|(cuda|tensorrt):(\d{1,3})")

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Device:
    """Where a session runs: `name` as shown to people, `providers` as ONNX Runtime takes them, best first."""

    name: str
    providers: tuple[tuple[str, dict[str, Any]], ...]

    def capturing(self) -> "Device":
        """The same, where ONNX Runtime's CUDA provider is to capture graphs; it refuses models that it cannot."""
        wish = {"enable_cuda_graph": "1"}
        return Device(
            self.name,
            tuple(
                (name, {**options, **wish} if name == _PROVIDERS["cuda"] else options)
                for name, options in self.providers
            ),
        )


def installed_distributions() -> list[str]:
    """Which of ONNX Runtime's distributions are installed, by name."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found.append(name)
    return found


def refuse_both_distributions(installed: list[str]) -> None:
    """Raises `DeviceUnavailable` where both distributions are installed: the later one has overwritten the other's
    files, and which of the two then runs is chance."""
    if len(installed) > 1:
        raise DeviceUnavailable(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "uninstall both, then install the one you want (pip install 'steelyard[cpu]' or 'steelyard[gpu]')"
        )


def resolve(device: str, available: list[str], installed: list[str]) -> Device:
    """What `device` means here.

    device: `auto`, `cpu`, `cuda:N` or `tensorrt:N`.
    available: ONNX Runtime's own list of providers that this build has.
    installed: distributions, see `installed_distributions`.
    Raises `DeviceUnavailable` where the device is unknown or what drives it is absent.
    """
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise DeviceUnavailable(f"device {device!r}: expected 'auto', 'cpu', 'cuda:N' or 'tensorrt:N'")
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if device == "cpu":
        return Device("cpu", (cpu,))
    if device == "auto":
        if "CUDAExecutionProvider" in available:
            return Device("cuda:0", (("CUDAExecutionProvider", {"device_id": 0}), cpu))
        return Device("cpu", (cpu,))
    kind, ordinal = match.group(2), int(match.group(3))
    provider = _PROVIDERS[kind]
    if provider not in available:
        have = ", ".join(installed) or "none"
        raise DeviceUnavailable(
            f"device {device!r} needs {provider}, which this ONNX Runtime does not have "
            f"(installed: {have}; its providers: {', '.join(available)}): pip install 'steelyard[gpu]' in place of "
            "onnxruntime, and the CUDA libraries that it asks for"
        )
    chain: list[tuple[str, dict[str, Any]]] = [(provider, {"device_id": ordinal})]
    if kind == "tensorrt":
        chain.append(("CUDAExecutionProvider", {"device_id": ordinal}))
    return Device(device, (*chain, cpu))


def confirm(device: Device, session_providers: list[str]) -> None:
    """Raises `DeviceUnavailable` where ONNX Runtime quietly fell back from the device that was asked for."""
    wanted = device.providers[0][0]
    if wanted not in session_providers:
        raise DeviceUnavailable(
            f"device {device.name!r} needs {wanted}, but ONNX Runtime could not start it and would run on "
            f"{', '.join(session_providers)}: its warning above says why (often a missing CUDA library)"
        )
