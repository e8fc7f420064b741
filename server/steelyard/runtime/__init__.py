"""ONNX Runtime: sessions, devices, the thread budget and the threads that run batches."""
