"""Steelyard: a high-throughput inference server for ONNX models that can say why."""

__version__ = "0.1.0"
