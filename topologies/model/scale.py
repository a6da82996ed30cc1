"""Real units <-> emulated units (docs/reference/methods.md: scale).

    emulated rate  = r x real rate
    emulated bytes = s x real bytes
    emulated time  = (s / r) x real time

so that every real ratio of bytes to rate keeps its meaning. What does not scale is listed in
NOT_SCALED and printed with every scaled result.
"""

from __future__ import annotations

from dataclasses import dataclass

NOT_SCALED = (
    "MTU and header share",
    "TCP's minimum timers and initial window",
    "CPU noise of the emulating machine",
)
MIN_PACKETS = 10        # a class of transfers with a smaller median is below scale
MIN_RTTS = 5.0          # so is one whose serialisation takes less than this many idle RTTs


@dataclass(frozen=True)
class Scale:
    """Factors from real to emulated; 1, 1 means that the spec is in emulated units already."""

    rate: float = 1.0
    size: float = 1.0

    @property
    def time(self) -> float:
        """Emulated seconds per real second."""
        return self.size / self.rate

    def to_emulated_rate(self, real: float) -> float:
        return real * self.rate

    def to_emulated_size(self, real: float) -> float:
        return real * self.size

    def to_emulated_time(self, real: float) -> float:
        return real * self.time

    def to_real_rate(self, emulated: float) -> float:
        return emulated / self.rate

    def to_real_size(self, emulated: float) -> float:
        return emulated / self.size

    def to_real_time(self, emulated: float) -> float:
        return emulated / self.time

    @property
    def is_identity(self) -> bool:
        return self.rate == 1.0 and self.size == 1.0


def below_scale(median_bytes: float, rate: float, idle_rtt: float, payload: int) -> str:
    """Why a class of transfers is too small to mean anything at this scale; '' if it is not.

    median_bytes in emulated bytes, rate in emulated bit/s, idle_rtt in seconds.
    """
    if median_bytes < MIN_PACKETS * payload:
        return f"the median transfer has {median_bytes / payload:.1f} packets; {MIN_PACKETS} are needed"
    serialisation = median_bytes * 8 / rate
    if serialisation < MIN_RTTS * idle_rtt:
        return (f"the median transfer takes {serialisation * 1e3:.2f} ms on the wire; "
                f"{MIN_RTTS:g} idle RTTs are {MIN_RTTS * idle_rtt * 1e3:.2f} ms")
    return ""
