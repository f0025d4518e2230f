"""TLS connections that are idle nearly all the time, as the watches of a control plane are."""

from asyncio.sslproto import SSLProtocol

_READ_BUFFER_BYTES = 64 * 1024


def shrink_read_buffers() -> None:
    """Have the TLS connections of this process keep 64 KiB each to read into.

    asyncio takes 256 KiB for each from its start to its end and offers no option. An idle plane
    has 45 ends of connections, 8 MiB more than they need: a TLS record is at most 16 KiB, and
    large bodies pass no slower.
    """
    SSLProtocol.max_size = _READ_BUFFER_BYTES
