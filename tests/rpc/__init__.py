"""gRPC over HTTP/2 without I/O, asked by a peer that is not ours: the library as a client, and handmade frames."""
