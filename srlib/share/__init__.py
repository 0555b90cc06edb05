"""Exchange with other tools: networks from elsewhere, exports of ours (safetensors, ONNX, model hub), spandrel."""
