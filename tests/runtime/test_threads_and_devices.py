"""The thread budget from the cgroup, and devices that are not there."""

from pathlib import Path

import pytest

from steelyard.errors import DeviceUnavailable
from steelyard.runtime.devices import confirm, refuse_both_distributions, resolve
from steelyard.runtime.threads import cgroup_cores, thread_budget


def cgroup(tmp_path: Path, membership: str, files: dict[str, str]) -> float | None:
    for name, content in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "membership").write_text(membership)
    return cgroup_cores(tmp_path / "fs", tmp_path / "membership")


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {"a/cpu.max": "350000 100000\n", "a/b/cpu.max": "max 100000\n"}
    assert cgroup(tmp_path, "0::/a/b\n", files) == 3.5


def test_no_quota_is_no_bound(tmp_path: Path) -> None:
    assert cgroup(tmp_path, "0::/a\n", {"a/cpu.max": "max 100000\n"}) is None


def test_the_older_cgroups(tmp_path: Path) -> None:
    files = {"cpu/x/cpu.cfs_quota_us": "150000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}
    assert cgroup(tmp_path, "3:cpu,cpuacct:/x\n", files) == 1.5


def test_an_unreadable_cgroup_is_no_bound(tmp_path: Path) -> None:
    assert cgroup_cores(tmp_path, tmp_path / "nothing") is None
    assert thread_budget() >= 1


CPU_ONLY = ["CPUExecutionProvider"]


def test_auto_takes_what_is_there() -> None:
    assert resolve("auto", CPU_ONLY, ["onnxruntime"]).name == "cpu"
    assert resolve("auto", ["CUDAExecutionProvider", *CPU_ONLY], []).name == "cuda:0"


@pytest.mark.parametrize("device", ["cuda:0", "tensorrt:1"])
def test_a_missing_device_names_what_is_missing(device: str) -> None:
    with pytest.raises(
        DeviceUnavailable, match=r"ExecutionProvider.*installed: onnxruntime.*steelyard\[gpu\]"
    ):
        resolve(device, CPU_ONLY, ["onnxruntime"])


def test_tensorrt_falls_through_to_cuda_and_the_cpu() -> None:
    device = resolve("tensorrt:2", ["TensorrtExecutionProvider", "CUDAExecutionProvider", *CPU_ONLY], [])
    assert [name for name, _ in device.providers] == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]
    assert device.providers[0][1] == {"device_id": 2}


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(DeviceUnavailable, match="expected 'auto', 'cpu'"):
        resolve("gpu", CPU_ONLY, [])


def test_a_quiet_fall_back_is_found_out() -> None:
    device = resolve("cuda:0", ["CUDAExecutionProvider", *CPU_ONLY], [])
    with pytest.raises(DeviceUnavailable, match="could not start it"):
        confirm(device, CPU_ONLY)


def test_both_distributions_are_refused() -> None:
    with pytest.raises(DeviceUnavailable, match="overwrite each other's files"):
        refuse_both_distributions(["onnxruntime", "onnxruntime-gpu"])
