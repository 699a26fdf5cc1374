"""ONNX Runtime sessions as every part of this project opens them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import onnxruntime as ort

from runtime.errors import BundleError

Shapes = dict[str, list[int]]
"""Names, in order, and the shape of each behind its free batch axis; all float32."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
EXACT_CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""CUDA without the 10-bit products that it takes for float32, and with kernels that are not chosen by a stopwatch."""


def open_session(
    graph: bytes,
    where: str,
    inputs: Shapes,
    outputs: Shapes,
    *,
    arena: bool = False,
    profile: Path | None = None,
    cuda: bool = False,
) -> ort.InferenceSession:
    """A session of one thread for a graph's bytes, on the processor.

    `arena`: keep the memory of the largest batch for the next one, which saves a gradient graph a fifth of its time.
    `profile`: the beginning of a file's name; the session notes there how long each kernel took.
    `cuda`: what a CUDA device has kernels for runs there.

    Raises BundleError, naming `where`, if ONNX Runtime refuses the graph or its inputs or outputs are not these; and
    if there is no CUDA device where `cuda` asks for one.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = arena
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = cuda
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    if not has_vnni(cpuinfo()):
        # There the fast u8 x s8 kernels saturate at int16, and this asks for exact ones. With VNNI the fast ones are
        # exact, but ONNX Runtime would obey all the same, and an 8-bit member would take more than twice as long.
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Only ONNX: in ONNX Runtime's own format the search for external data would find nothing.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = ort.InferenceSession(graph, options, providers=[(CUDA, EXACT_CUDA), CPU] if cuda else [CPU])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise BundleError(f"{where}: ONNX Runtime cannot load it: {first_line(error)}") from error
    if cuda and CUDA not in session.get_providers():
        raise BundleError("ONNX Runtime could not start CUDA: no device, or a driver or library that it lacks")
    expected = [[f"{name} tensor(float) {['N', *shape]}" for name, shape in each.items()] for each in (inputs, outputs)]
    found = [_described(session.get_inputs()), _described(session.get_outputs())]
    if found != expected:
        raise BundleError(
            f"{where}: expected inputs {expected[0]} and outputs {expected[1]}, got {found[0]} and {found[1]}"
        )
    return session


def has_vnni(cpuinfo: str) -> bool:
    """Whether a processor, by its /proc/cpuinfo, adds products of u8 and s8 in int32; what is not known has not."""
    flags = {word for line in cpuinfo.splitlines() if line.startswith("flags") for word in line.split()}
    return not flags.isdisjoint({"avx512_vnni", "avx_vnni"})


@cache
def cpuinfo() -> str:
    """What Linux says of the processor; nothing elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def first_line(error: Exception) -> str:
    """What an exception says, without its stack; its name where it says nothing."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def _described(values: Sequence[ort.NodeArg]) -> list[str]:
    return [f"{v.name} {v.type} {[axis if isinstance(axis, int) else 'N' for axis in v.shape]}" for v in values]
