"""From a data set to a bundle: train, quantize, write ONNX graphs, prove that they agree."""
