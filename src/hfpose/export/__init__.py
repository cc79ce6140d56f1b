"""Models as ONNX files: written, compared with torch, quantized, and run by ONNX Runtime."""
