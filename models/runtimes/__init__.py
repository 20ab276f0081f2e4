"""What computes a network: Keras or OpenVINO, its devices and memory."""
