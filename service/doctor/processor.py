"""The processor, its cores, and ONNX Runtime: how quick low-bit kernels will be."""

from importlib.metadata import PackageNotFoundError, version

import onnxruntime as ort

from runtime.sessions import has_vnni
from service.doctor.finding import Finding, ok, warn

SHOWN = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "avx512_bf16", "amx_bf16"),
    *("asimddp", "i8mm", "sve"),
)
"""Flags that say something about the speed of products, of x86 and of ARM."""


def processor(cpuinfo: str) -> Finding:
    """By what Linux says in /proc/cpuinfo."""
    lines = dict(_pairs(cpuinfo))
    model = lines.get("model name", "processor of an unknown kind")
    flags = set(lines.get("flags", lines.get("Features", "")).split())
    found = f"{model}: {', '.join(name for name in SHOWN if name in flags) or 'no features known'}"
    if has_vnni(cpuinfo):
        return ok("processor", f"{found}; low-bit kernels are quick")
    return warn(
        "processor",
        f"{found}; without VNNI low-bit members are exact, but take about twice as long",
        "Serve on a processor with AVX-512 VNNI or AVX-VNNI, or measure what you have: empir load engine",
    )


def cores(usable: int, there: int) -> Finding:
    """As many as this process may run on, of those that the machine has."""
    found = f"{usable} of {there} usable: {usable} predictions at once"
    if usable > 1:
        return ok("cores", found)
    return warn("cores", found, "Attacks on one core slow predictions down: give the server two (taskset, cpuset-cpus)")


def onnx_runtime() -> Finding:
    """Which one, and whether it is the plain build: others register providers that this project does not use."""
    return ok("onnxruntime", f"{ort.__version__}, {_distribution()}; used: CPUExecutionProvider")


def _distribution() -> str:
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"):
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return f"package {name}"
    return "not from a package"


def _pairs(cpuinfo: str) -> list[tuple[str, str]]:
    """Keys and values of all processors; the first of a key is kept last, so that it stays in a dict."""
    pairs = [line.partition(":") for line in cpuinfo.splitlines() if ":" in line]
    return [(key.strip(), value.strip()) for key, _, value in reversed(pairs)]
