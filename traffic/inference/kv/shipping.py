"""A KV cache on its way from the replica that prefilled to the one that decodes: whole, or layer by layer.

    whole    [ prefill of all layers ]╔═ KV cache ═╗ decoding            one transfer, when the first token is made
    layers   [ group 1 ][ group 2 ][ group 3 ]                           each group of layers as soon as it is computed,
                       ╔═ 1 ═╗╔═ 2 ═╗   ╔═ 3 ═╗ decoding               beside the prefill of the next ones

All layers take the same share of a step. A prompt that is computed in several chunks sends of each chunk what its
layers have computed; what the prefix cache held goes with the first. All goes over one TCP connection, in order, and
decoding begins with the last byte. So what remains after the first token is the last group of the last chunk, or
more where the wire is slower than the GPU: the groups then wait for each other.

    t(g) = max(t(g-1), computed(g)) + 8 x bytes(g) / rate      wait = t(last) - first token

Source: layer-wise transfer as in Splitwise (Patel et al., ISCA 2024, 4.3) and Mooncake (Qin et al., FAST 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median_low
from time import monotonic

from topologies.model.scale import Scale
from traffic.inference.gpu import Chunk
from traffic.inference.plan import Serving
from traffic.metrics.metric import Metric, with_real
from traffic.metrics.serving.inference import KV_WAIT
from traffic.transports.pool import Lease


@dataclass(slots=True)
class Transfer:
    """A KV cache between two replicas, in one part or several. Times of time.monotonic(), None until reached."""

    decoder: str
    size: int
    start: float | None = None
    end: float | None = None
    parts: int = 0


class Shipment:
    """Sends a KV cache as it is computed. `over` is called when its last byte is at the decoder."""

    def __init__(self, transfer: Transfer, lease: Callable[[], Lease], over: Callable[[], None]) -> None:
        self.transfer, self._open, self._over = transfer, lease, over
        self._lease: Lease | None = None
        self._sent = self._there = 0

    def send(self, share: float) -> None:
        """This share of it is computed: what of that has not been sent goes now."""
        transfer, until = self.transfer, min(round(share * self.transfer.size), self.transfer.size)
        count, self._sent = until - self._sent, max(until, self._sent)
        if count <= 0:
            return
        if self._lease is None:
            self._lease, transfer.start = self._open(), monotonic()
        transfer.parts += 1
        self._lease.ask(count, partial(self._arrived, self._lease, count))

    def _arrived(self, lease: Lease, count: int) -> None:
        self._there += count
        if self._there == self.transfer.size:
            self.transfer.end = monotonic()
            lease.release()
            self._over()


def computed(before: int, after: int, prompt: int, share: float) -> float:
    """Share of a prompt's KV cache that exists when `share` of a step's layers are computed.

    before, after: tokens of the prompt whose KV is there before the step, after it.
    """
    return (before + (after - before) * share) / prompt


def wait(parts: Iterable[tuple[float, float]], rate: float, made: float) -> float:
    """Seconds from the first token to the last byte on an idle wire of `rate` bit/s.

    parts: (when it is computed, bytes), in order.
    """
    end = 0.0
    for ready, size in parts:
        end = max(end, ready) + 8 * size / rate
    return end - made


def parts_of(serving: Serving, prompt: int) -> Iterator[tuple[float, float]]:
    """(emulated seconds after its admission, bytes) of each part of a prompt's KV cache, on a replica of its own."""
    size, at, done, sent = prompt * serving.kv_bytes, 0.0, 0, 0.0
    while done < prompt:
        n = min(serving.spec.chunk, prompt - done)
        seconds = serving.roofline.seconds([Chunk(n, done)]) * serving.time
        last = done + n == prompt
        for share in serving.layer_shares or ((1.0,) if last else ()):
            there = computed(done, done + n, prompt, share) if serving.layer_shares else 1.0
            yield at + seconds * share, (there - sent) * size
            sent = there
        done, at = done + n, at + seconds


def predictions(serving: Serving, scale: Scale) -> dict[str, Metric]:
    """What the KV transfer leaves of the gap after the first token, for the median prompt alone on the network."""
    if not serving.decode:
        return {}
    parts = list(parts_of(serving, median_low(r.input for r in serving.requests)))
    rate = min(serving.rates[h] for h in (*serving.replicas, *serving.decode))
    return {KV_WAIT.tag: with_real(KV_WAIT.of(wait(parts, rate, parts[-1][0])), scale)}
