"""Post-training quantization: any ONNX image classifier as members of fewer bits."""
