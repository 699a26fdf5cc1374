"""A bundle at work: members, vote, gradients, on ONNX Runtime; no torch."""
