"""ONNX Runtime sessions as every part of this project opens them."""

import onnxruntime as ort

from runtime.errors import BundleError


def open_session(graph: bytes, where: str, inputs: list[str], outputs: list[str]) -> ort.InferenceSession:
    """A CPU session of one thread for a graph's bytes.

    Raises BundleError, naming `where`, if ONNX Runtime refuses the graph or its inputs or outputs are not those named.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # the arena keeps the largest batch's memory for ever
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI the fast u8 x s8 kernels saturate at int16; this asks for exact ones there.
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise BundleError(f"{where}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
    names = ([value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()])
    if names != (inputs, outputs):
        raise BundleError(f"{where}: expected inputs {inputs} and outputs {outputs}, got {names[0]} and {names[1]}")
    return session
