"""The engines that run frozen networks: TensorFlow, which is the reference, and OpenVINO, which is faster on a CPU."""
