"""Owns the description of the machine a recording is made on: what must agree, and what is only noted."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from perfsuite.core.options import MeasureOptions
from perfsuite.core.recording import NOTED_PACKAGES, SETTINGS_THAT_MUST_AGREE, Environment
from perfsuite.core.units import format_bytes
from perfsuite.core.workload import ModelFacts
from perfsuite.measure import nvml
from perfsuite.measure.watch import uuid_of

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CONTAINERS = {"/.dockerenv": "docker", "/run/.containerenv": "podman", "/run/systemd/container": "systemd"}


def collect(facts: ModelFacts, measure: MeasureOptions) -> Environment:
    """The environment of a session whose strategy opened a model with these facts.

    What must agree: the device's product name ('2 x NVIDIA H200' where a model is split over two), torch's release and
    CUDA version, the driver's branch, the power limit and the MIG mode that are set, on a CPU its governor and the
    number of threads torch may use, the model's digest, its dtype and what quantized it, and how samples are taken
    (warm-up and block size). A difference in any of these explains a difference in latency by itself.
    """
    settings = _settings(facts.device)
    here = facts.device == "cpu" or facts.device.startswith("cuda")
    torch_keys = _torch_keys(facts.device) if here and "torch" in sys.modules else {}
    name = _device_name(facts.device)
    device = f"{facts.ranks} x {name}" if facts.ranks > 1 else name
    must_agree = {
        "device": device,
        "model": facts.fingerprint,
        "dtype": facts.dtype,
        "warm-up": str(measure.warmup),
        "block": str(measure.block_size),
        **({"quantization": facts.quantization} if facts.quantization else {}),
        **torch_keys,
        **{name: text for name, text in settings.items() if name in SETTINGS_THAT_MUST_AGREE},
    }
    noted = {name: text for name, text in settings.items() if name not in must_agree}
    return Environment(device=device, must_agree=must_agree, noted={**_noted(facts.device), **noted})


def _settings(device: str) -> dict[str, str]:
    """What somebody has set on the device: of a GPU what NVML tells, of a CPU its governor."""
    uuid = uuid_of(device)
    if uuid is None:
        return {"governor": governor()} if governor() and device == "cpu" else {}
    told: dict[str, str] = nvml.look(uuid, nvml.Device.settings) or {}
    total = nvml.look(uuid, nvml.Device.memory_total)
    return {**told, "uuid": uuid, **({"memory": format_bytes(total)} if total else {})}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _container() -> str:
    """What kind of container this runs in, as far as it shows; 'none seen' without a sign of one."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    return next((kind for mark, kind in CONTAINERS.items() if Path(mark).exists()), "none seen")


def host_name() -> str:
    """What a server on this machine runs on: the GPUs' product name where there are any, else the CPU's."""
    return _gpu_name() or _device_name("cpu")


def _gpu_name() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        count = int(pynvml.nvmlDeviceGetCount())
        name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)) if count else None
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    text = name if isinstance(name, str) or name is None else bytes(name).decode()
    return f"{count} x {text}" if text and count > 1 else text


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    return cpu_product() if device == "cpu" else device


def cpu_product() -> str:
    """The processor by its name, and how many cores the system has: 'AMD EPYC 7R13 Processor, 96 cores'."""
    return f"{_cpu_name()}, {os.cpu_count()} cores"


def governor() -> str:
    """How the kernel chooses the processors' clock, '' where it does not tell."""
    return _text(GOVERNOR)


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _torch_keys(device: str) -> dict[str, str]:
    import torch

    release = torch.__version__.partition("+")[0]
    if not device.startswith("cuda"):
        return {"torch": release, "threads": str(torch.get_num_threads())}
    return {"torch": release, "cuda": str(torch.version.cuda), "driver": nvml.driver_version().partition(".")[0]}


def has_gpu() -> bool:
    """Whether NVML knows a GPU here; it costs no import of torch."""
    return bool(nvml.uuids())


def _noted(device: str) -> dict[str, str]:
    noted = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu_product(),
        "container": _container(),
    }
    noted.update(installed_versions())
    if device.startswith("cuda"):
        noted["driver"] = nvml.driver_version()
        noted["cudnn"] = _cudnn()
    if governor():
        noted["governor"] = governor()
    return noted


def _cudnn() -> str:
    import torch

    cudnn: Any = torch.backends.cudnn
    version = cudnn.version() if cudnn.is_available() else None
    return "none" if version is None else str(version)


def installed_versions() -> dict[str, str]:
    """The versions of the packages that matter to latency, as far as they are installed."""
    return {name: found for name in NOTED_PACKAGES if (found := _package_version(name))}


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def host_peak_bytes() -> int | None:
    """The most memory this process has held, in bytes; `None` where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def commit_of(folder: Path) -> str:
    """The git revision checked out in `folder`, '-dirty' after it if files differ; 'unknown' without one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def code_state(folder: Path) -> str:
    """The commit and a digest of what differs from it: equal for two runs of the same tracked code."""
    changes = _changes(folder)
    return "unknown" if changes is None else f"{commit_of(folder)} {hashlib.sha256(changes).hexdigest()}"


def code_without(folder: Path, left_out: Path) -> str:
    """The same, whatever became of the tracked files below `left_out`, which are no code."""
    apart = _changes(folder, "--", ":/", f":(exclude){left_out.absolute()}")
    changes = _changes(folder) if apart is None else apart  # a folder outside of the repository cannot be left out
    if changes is None:
        return "unknown"
    commit = commit_of(folder).removesuffix("-dirty")
    return f"{commit} {hashlib.sha256(changes).hexdigest()}" if changes else commit


def _changes(folder: Path, *paths: str) -> bytes | None:
    """What differs from the commit, `None` where that cannot be told."""
    command = ["git", "-C", str(folder), "diff", "HEAD", *paths]
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
