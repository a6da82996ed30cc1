"""What a transport adds to payload on the wire, and what that leaves of a link: limits and predictions ask here.

Frames count as the shaper of a wire counts them, with 14 bytes of Ethernet header: no FCS, preamble or gap. On links of
the fabric a frame has VXLAN's bytes (`outer`) besides.
"""

from __future__ import annotations

from dataclasses import dataclass

from topologies.model.addressing import ETHERNET_HEADER

MTU = 1500


@dataclass(frozen=True, slots=True)
class Overhead:
    """Headers and ACKs.

    headers      bytes of a data packet between Ethernet header and payload
    ack_frame    bytes of a frame that only acknowledges      per_ack    data packets for each of these
    """

    headers: int
    ack_frame: int
    per_ack: float

    def payload(self, mtu: int = MTU) -> int:
        """Bytes of payload in a full frame."""
        return mtu - self.headers

    def expansion(self, mtu: int = MTU) -> float:
        """Bytes of full frames for a byte of payload."""
        return (mtu + ETHERNET_HEADER) / self.payload(mtu)

    def bulk_limit(self, rate: float, mtu: int = MTU) -> float:
        """Payload bit/s one way on a link of `rate` bit/s: for TCP rate x 1448/1514 at an MTU of 1500.

        Source: docs/reference/methods.md, limits to compare with.
        """
        return rate * self.payload(mtu) / (mtu + ETHERNET_HEADER)

    def ring_limit(self, rate: float, mtu: int = MTU, per_ack: float | None = None) -> float:
        """Payload bit/s where a host also sends ACKs on the wire that it sends data on.

        For TCP rate x 1448/(1514 + 66/k), k data segments an ACK (per_ack, where it was measured). Source: as above.
        """
        return rate * self.payload(mtu) / (mtu + ETHERNET_HEADER + self.ack_frame / (per_ack or self.per_ack))

    def wire_bytes(self, out: float, back: float, mtu: int = MTU, outer: int = 0) -> float:
        """Bytes of frames one way: of `out` payload in it, and of the ACKs for `back` payload against it."""
        data, acks = mtu + ETHERNET_HEADER + outer, (self.ack_frame + outer) / self.per_ack
        return (out * data + back * acks) / self.payload(mtu)
