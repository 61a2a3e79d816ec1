"""The local cloud: stand-ins for the servers, each a process of its own over the real protocol."""
