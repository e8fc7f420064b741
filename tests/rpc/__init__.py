"""gRPC over HTTP/2 without I/O, asked by a peer that is not ours: the library in the client's role, and handmade frames."""
