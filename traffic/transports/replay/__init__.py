"""A capture played again on the fabric: its packets with their sizes, times and ports, between the hosts of a map.

    pcap ──capture──> packets by flow ──plan──> streams and a schedule ──job──> raw sockets, as UDP

Each flow (addresses, protocol and ports) is a stream of its own, whose packets carry a number and a stamp
instead of what was captured; so the records and metrics are those of UDP streams. It is an open loop:
the schedule is the capture's, whatever the network does.
"""
