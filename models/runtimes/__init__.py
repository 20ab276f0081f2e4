"""Runtimes, which compute a network: Keras, OpenVINO or ONNX Runtime, their devices and memory."""
