"""Networks as ONNX graphs: what is served, its gradient, and the proof that both agree with PyTorch."""
