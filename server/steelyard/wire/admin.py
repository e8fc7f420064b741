"""Where the admin service of a server is found."""

SERVICE = "/steelyard.v1.Admin/"
EVIDENCE_SERVICE = "/steelyard.v1.Evidence/"
ADMIN_SOCKET = "admin.sock"


def socket_path(directory: int) -> str:
    """The socket in an open data directory: by its descriptor, since the path of a Unix socket has at most 107 bytes,
    and a data directory may be deeper."""
    return f"/proc/self/fd/{directory}/{ADMIN_SOCKET}"
