"""Pictures into tensors: decoding, geometry, and the native renderer that they feed."""
