"""The reader of captures: both formats in both byte orders, lengths that cannot be, and bytes that mean nothing."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapNgWriter, wrpcap

from tests.examples import examples
from tests.unit.roce_captures import SEND_ONLY, block, ethernet, notification, pcapng, read_responses, roce, written
from topologies.model.errors import LabError, SpecError
from traffic.transports.replay.capture import Flow, read_capture
from traffic.transports.rocev2.analysis import analysis, between
from traffic.transports.udp.capture_file import Frame, frames
from traffic.transports.udp.pcap import pcap_one_way, stream_packet

FRAME = ethernet(IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1000, dport=2000) / Raw(bytes(40)))
HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1)


def record(captured: int, size: int, data: bytes = b"") -> bytes:
    return struct.pack("<IIII", 1, 2, captured, size) + data


def reported(path: Path) -> LabError:
    with pytest.raises(LabError) as caught:
        list(frames(path))
    assert caught.value.where.startswith(str(path))
    assert caught.value.expected
    assert caught.value.found
    return caught.value


def file_of(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ---- what is read

@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_pcap_in_both_byte_orders_and_units(tmp_path: Path, order: str, nano: bool) -> None:
    path = written(tmp_path / "a.pcap", (1.25, FRAME), (2.000_001, FRAME), order=order, nano=nano)
    assert list(frames(path)) == [Frame(1_250_000_000, len(FRAME), FRAME), Frame(2_000_001_000, len(FRAME), FRAME)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("resolution", "offset", "ticks", "ns"), [
    (None, None, 1_500_000, 1_500_000_000), (9, None, 1_500_000_000, 1_500_000_000), (6, 10, 1_500_000, 11_500_000_000),
    (0x80 | 20, None, 3 << 19, 1_500_000_000), (0, None, 7, 7_000_000_000)])
def test_pcapng_with_its_units_of_time(tmp_path: Path, order: str, resolution: int | None, offset: int | None,
                                       ticks: int, ns: int) -> None:
    path = pcapng(tmp_path / "a.pcapng", (0, ticks, FRAME), (1, ticks, FRAME), links=(1, 101), order=order,
                  resolution=resolution, offset=offset)
    assert list(frames(path)) == [Frame(ns, len(FRAME), FRAME), Frame(ns, len(FRAME), FRAME, 101, 1)]


def test_sections_of_a_pcapng_file_begin_anew(tmp_path: Path) -> None:
    one = pcapng(tmp_path / "a", (0, 5, FRAME), order="<").read_bytes()
    two = pcapng(tmp_path / "b", (0, 6, FRAME), links=(101,), order=">").read_bytes()
    assert [(f.stamp, f.link) for f in frames(file_of(tmp_path / "c", one + two))] == [(5, 1), (6, 101)]


def test_what_scapy_writes_is_read(tmp_path: Path) -> None:
    packets = [Ether(FRAME), Ether(ethernet(notification()))]
    wrpcap(str(tmp_path / "a.pcap"), packets)
    with PcapNgWriter(str(tmp_path / "a.pcapng")) as writer:
        for packet in packets:
            writer.write(packet)
    for name in ("a.pcap", "a.pcapng"):
        assert [f.data for f in frames(tmp_path / name)] == [bytes(p) for p in packets]


def test_frames_of_more_than_65535_bytes_are_whole(tmp_path: Path) -> None:
    large = bytes(200_000)
    assert [f.size for f in frames(written(tmp_path / "a.pcap", large, FRAME))] == [200_000, len(FRAME)]
    assert [len(f.data) for f in frames(pcapng(tmp_path / "b", (0, 1, large), (0, 2, FRAME)))] == [200_000, len(FRAME)]


# ---- what is refused, with its place

@pytest.mark.parametrize(("begin", "kind"), [
    (gzip.compress(HEADER + record(40, 40, bytes(40)), mtime=0), "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\x00", "xz"),
    (b"BZh9", "bzip2"), (b"\x04\x22\x4d\x18", "lz4"), (b"PK\x03\x04", "zip")])
def test_compressed_captures_are_refused_by_name(tmp_path: Path, begin: bytes, kind: str) -> None:
    error = reported(file_of(tmp_path / "a.pcap.gz", begin + bytes(100)))
    assert kind in error.found
    assert "unpack" in error.hint


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = file_of(tmp_path / "a.pcap.gz", gzip.compress(HEADER + bytes(50_000_000)))
    tracemalloc.start()
    for reader in (analysis, read_capture):
        with pytest.raises(LabError, match="gzip"):
            reader(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(("data", "found"), [
    (b"", "an empty file"), (b"\xd4\xc3", "something else"), (HEADER[:20], "20 bytes"),
    (bytes(24), "something else"), (struct.pack("<I", 0xA1B2CD34) + bytes(20), "Kuznetzov"),
    (struct.pack("<IHHiIII", 0xA1B2C3D4, 1, 0, 0, 0, 65_535, 1), "version 1.0"),
    (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 147), "link type 147"),
    (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1 | 0x24000000), "link type")])
def test_what_is_no_pcap_file_is_reported(tmp_path: Path, data: bytes, found: str) -> None:
    assert found in reported(file_of(tmp_path / "a.pcap", data)).found


def test_what_is_no_regular_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "regular" in reported(tmp_path / "fifo").found
    assert "regular" in reported(tmp_path).found
    assert "No such file" in reported(tmp_path / "none").found


@pytest.mark.parametrize(("rest", "frame", "found"), [
    (record(60, 60, bytes(60)) + record(40, 40)[:9], 2, "within its header"),
    (record(60, 60, bytes(59)), 1, "59 of its 60"),
    (record(0xFFFFFFFF, 0xFFFFFFFF, bytes(60)), 1, "4294967295"),      # -1
    (record(2**31, 2**31, bytes(60)), 1, "2147483648"),
    (record(60, 40, bytes(60)), 1, "60 of 40")])
def test_lengths_of_a_pcap_file_that_cannot_be_are_reported_with_their_frame(tmp_path: Path, rest: bytes, frame: int,
                                                                             found: str) -> None:
    path = file_of(tmp_path / "a.pcap", HEADER + rest)
    error = reported(path)
    assert error.where == f"{path}, frame {frame}"
    assert found in error.found


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
INTERFACE = block(1, struct.pack("<HHI", 1, 0, 0))


def enhanced(interface: int, captured: int, size: int, data: bytes, high: int = 0) -> bytes:
    return block(6, struct.pack("<IIIII", interface, high, 1, captured, size) + data)


@pytest.mark.parametrize(("data", "found"), [
    (SECTION[:6], "the file's end"),
    (SECTION[:8] + b"\0\0\0\0" + SECTION[12:], "00000000"),                             # no byte order
    (SECTION + struct.pack("<III", 6, 0, 0), "0"),                                      # a block of no length
    (SECTION + struct.pack("<III", 6, 8, 8), "8"),
    (SECTION + struct.pack("<III", 6, 13, 13), "13"),
    (SECTION + struct.pack("<III", 6, 0xFFFFFFFC, 0), "of its 4294967292"),
    (SECTION + struct.pack("<III", 9, 400, 0), "12 of its 400"),
    (SECTION + struct.pack("<II4xI", 9, 16, 12), "12"),                                 # another length at its end
    (SECTION + block(1, bytes(4)), "4"),
    (SECTION + block(1, struct.pack("<HHIHH", 1, 0, 0, 9, 400)), "0 of them"),          # truncated options
    (SECTION + block(1, struct.pack("<HHI", 1, 0, 0) + b"\x09\x00\x01"), "0 of them"),
    (SECTION + enhanced(0, 4, 4, bytes(4)), "number 0 of 0"),
    (SECTION + INTERFACE + enhanced(7, 4, 4, bytes(4)), "number 7 of 1"),
    (SECTION + INTERFACE + enhanced(0, 40, 40, bytes(4)), "4"),
    (SECTION + INTERFACE + enhanced(0, 8, 4, bytes(8)), "8 of 4"),
    (SECTION + INTERFACE + enhanced(0, 0xFFFFFFFF, 0xFFFFFFFF, bytes(8)), "8"),
    (SECTION + INTERFACE + block(6, bytes(12)), "12"),
    (SECTION + INTERFACE + block(3, struct.pack("<I", 4) + bytes(4)), "no"),            # without a time stamp
    (SECTION + INTERFACE + block(3, b""), "0"),
    (SECTION + block(1, struct.pack("<HHI", 147, 0, 0)) + enhanced(0, 4, 4, bytes(4)), "link type 147"),
    (SECTION + INTERFACE + enhanced(0, 4, 4, bytes(4), high=0xFFFFFFFF), "ns after 1970")])
def test_blocks_of_a_pcapng_file_that_cannot_be_are_reported(tmp_path: Path, data: bytes, found: str) -> None:
    path = file_of(tmp_path / "a.pcapng", data)
    assert found in reported(path).found


@pytest.mark.parametrize("length", range(5))
def test_an_ip_header_shorter_than_it_can_be_is_left_out(tmp_path: Path, length: int) -> None:
    broken = bytearray(FRAME)
    broken[14] = 0x40 | length
    assert stream_packet(bytes(broken)) is None
    capture = read_capture(written(tmp_path / "a.pcap", FRAME, bytes(broken)))
    assert capture.left_out == {"malformed IP headers": 1}
    assert [flow for _, flow, _ in capture.packets] == [Flow("192.0.2.1", "192.0.2.2", 17, 1000, 2000)]


# ---- replays

def test_a_replay_stops_reading_at_the_packets_that_it_may_have(tmp_path: Path) -> None:
    broken_behind = written(tmp_path / "a.pcap", *[FRAME] * 6).read_bytes() + b"no frame"
    path = file_of(tmp_path / "b.pcap", broken_behind)
    with pytest.raises(SpecError, match="at most 5 packets"):
        read_capture(path, most=5)
    with pytest.raises(LabError, match="frame 7"):
        read_capture(path, most=6)


def test_tags_are_taken_off_and_cooked_frames_get_an_ethernet_header(tmp_path: Path) -> None:
    packet = IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=1, dport=2) / Raw(bytes(100))
    whole = len(ethernet(packet))
    tagged = read_capture(written(tmp_path / "a.pcap", ethernet(packet, 7), ethernet(packet, 7, 8), ethernet(packet)))
    assert ([size for *_, size in tagged.packets], tagged.tagged, tagged.left_out) == ([whole] * 3, 2, {})
    cooked = b"\x00\x04\x00\x01\x00\x06" + bytes(8) + b"\x08\x00" + bytes(packet)
    assert read_capture(written(tmp_path / "b.pcap", cooked, link=113)).sizes.tolist() == [whole]
    assert read_capture(written(tmp_path / "c.pcap", bytes(packet), link=101)).sizes.tolist() == [whole]
    with pytest.raises(LabError, match=r"30 captured bytes of 158"):
        read_capture(written(tmp_path / "d.pcap", ethernet(packet, 7), snap=30))


# ---- bytes that mean nothing

def seeds(directory: Path) -> list[bytes]:
    directory.mkdir(exist_ok=True)
    packets = [ethernet(p, *((7,) if k % 2 else ())) for k, p in enumerate(
        [roce(SEND_ONLY, 5, bytes(64)), *read_responses(9, 3), notification(), roce(12, 9, bytes(16))])]
    both = [written(directory / "seed.pcap", *packets, FRAME), written(directory / "seed2.pcap", *packets, order=">"),
            pcapng(directory / "seed.pcapng", *((k % 2, k, p) for k, p in enumerate(packets)), links=(1, 113))]
    return [path.read_bytes() for path in both]


def refusal(reader: Callable[[Path], object], path: Path) -> LabError | None:
    """What a reader says of a file that it does not read."""
    try:
        reader(path)
    except LabError as error:
        return error
    return None


def every_frame_counts_once(path: Path) -> None:
    """In a row of PSNs, among the answers or among what was left out; and no count is below zero."""
    found = analysis(path)
    answers = sum(a.acks + a.sequence_naks + a.rnr_naks + a.error_naks + a.reserved + a.cnps for a in found.answers)
    assert sum(p.packets for p in found.pairs) + answers + sum(found.left_out.values()) == found.frames
    for p in found.pairs:
        assert p.missing is None or p.missing >= 0
        assert 0 <= p.go_backs <= p.repeated <= p.packets
        assert 0 <= p.resent <= p.late <= p.packets


@examples(300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_in_a_capture_it_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray(data.draw(st.sampled_from(seeds(tmp_path / "seeds"))))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(broken) - 1), st.integers(0, 255)), max_size=8)):
        broken[at] = value
    cut = data.draw(st.integers(0, len(broken)) | st.just(len(broken)))
    path = file_of(tmp_path / "fuzzed", bytes(broken[:cut]) + data.draw(st.binary(max_size=40)))
    readers: tuple[Callable[[Path], object], ...] = (
        lambda p: list(frames(p)), every_frame_counts_once, read_capture,
        lambda p: between(p, p), lambda p: pcap_one_way(p, p))
    tracemalloc.start()
    refused = [error for reader in readers if (error := refusal(reader, path))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert all(str(path) in error.where for error in refused)


@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=120), max_size=10), st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276]))
def test_frames_of_any_bytes_are_left_out_or_refused(tmp_path: Path, contents: list[bytes], link: int) -> None:
    path = written(tmp_path / "random", *contents, link=link)
    for reader in (analysis, read_capture):
        with pytest.raises(LabError):
            reader(path)
