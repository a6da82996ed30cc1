"""Bringing interfaces up by ioctl in the calling thread's namespace.

A fork of `ip` per namespace costs milliseconds each; a fabric of 64 hosts has hundreds.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import socket
import struct

from topologies.model.errors import HostError

# linux/sockios.h, linux/ethtool.h, net/if.h
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCETHTOOL = 0x8913, 0x8914, 0x8916, 0x891C, 0x8946
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C
IFF_UP, IFF_RUNNING, IFF_MULTICAST, IFF_BROADCAST = 0x1, 0x40, 0x1000, 0x2


def _address(ip: str) -> bytes:
    return struct.pack("!2sH4s8x", struct.pack("H", socket.AF_INET), 0, socket.inet_aton(ip))


def bring_up(name: str, ip: str = "", prefix: int = 0, offloads: bool = True) -> None:
    """Set an interface up, with an address if one is given, without offloads if not wanted.

    Checksum, TSO, GSO and GRO must be off where packets are counted: else a 64 kB super-packet
    passes as one, and the userspace datapath sends TCP without checksums.
    """
    raw = name.encode().ljust(16, b"\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            if ip:
                fcntl.ioctl(sock, SIOCSIFADDR, raw + _address(ip))
                mask = socket.inet_ntoa(struct.pack("!I", (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF))
                fcntl.ioctl(sock, SIOCSIFNETMASK, raw + _address(mask))
            if not offloads:
                for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO):
                    _ethtool_off(sock, raw, command)
            flags = IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST
            fcntl.ioctl(sock, SIOCSIFFLAGS, raw + struct.pack("H22x", flags))
        except OSError as error:
            raise HostError(f"interface {name}", "an interface that comes up", error.strerror or str(error)) from None


def is_up(name: str) -> bool:
    """Whether an interface of the calling thread's namespace exists and is administratively up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, SIOCGIFFLAGS, name.encode().ljust(40, b"\0"))
        except OSError:
            return False
    return bool(struct.unpack_from("H", answer, 16)[0] & IFF_UP)


def _ethtool_off(sock: socket.socket, raw: bytes, command: int) -> None:
    value = ctypes.create_string_buffer(struct.pack("II", command, 0))
    with contextlib.suppress(OSError):      # a device without the offload has it off already
        fcntl.ioctl(sock, SIOCETHTOOL, raw + struct.pack("P16x", ctypes.addressof(value)))
