"""Ports of this machine that stay ours while whoever serves on them is away."""

import socket

HOST = "127.0.0.1"


def reserve(port: int = 0) -> socket.socket:
    """Return a socket that keeps `port` (0: a free one) from being given to anybody by chance until it is closed.

    It is bound and never listens: connections are refused until a server of ours binds the same port, which
    SO_REUSEADDR allows (asyncio and libuv set it too; the kernel never picks such a port by itself).

    Raises:
        OSError: somebody listens there; the message names the port.
    """
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((HOST, port))
    except OSError as why:
        reserved.close()
        raise OSError(why.errno, f"port {port} of {HOST} is taken: {why.strerror}") from why
    return reserved
