"""Numbers of RoCEv2 on the wire, for whoever counts packets without building them."""

ROCE_PORT = 4791
HEADERS = 28                    # IPv4 and UDP
BTH_SIZE, AETH_SIZE, ICRC_SIZE = 12, 4, 4
OVERHEAD = 14 + HEADERS + BTH_SIZE + ICRC_SIZE      # of a frame that carries payload, Ethernet included
PSNS = 1 << 24
FIRST, MIDDLE, LAST, ONLY = 0, 1, 2, 4              # SEND opcodes, before the service's bits
SERVICE_BITS = {"rc": 0x00, "uc": 0x20}
ACKNOWLEDGE = 0x11
ACK, NAK_SEQUENCE = 0x1F, 0x60                      # AETH syndromes: ACK without credits, NAK for a PSN out of order
