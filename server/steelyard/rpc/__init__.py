"""gRPC over HTTP/2 without I/O, for the server's and the client's role: bytes in, events out."""
