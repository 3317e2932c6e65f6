"""glibc's allocator, told to keep large buffers apart.

uvloop gives each TLS connection a buffer of 256 KiB, of which an idle one has touched a page or two. Where the
allocator has seen such sizes come and go, it takes them from its heap from then on, whose pages others have touched:
some 20 KiB a connection. With a threshold that stays where it is they are mapped each for itself.
"""

from __future__ import annotations

import ctypes

LARGE = 256 * 1024  # octets, and more: mapped apart
_M_MMAP_THRESHOLD = -3  # malloc.h


def keep_large_apart() -> None:
    """For the whole process; nothing where the C library has no such thing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, LARGE)
