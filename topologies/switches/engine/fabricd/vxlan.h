/* VXLAN (RFC 7348) between its two forms: metadata of a packet, and bytes before the inner frame. */
#ifndef VXLAN_H
#define VXLAN_H

#include "packet.h"

#define VXLAN_UDP_PORT 4789

/* The bytes that a packet's encapsulation has in front of its frame: Ethernet, IPv4, UDP, VXLAN. For captures. */
void vxlan_header(const struct packet *p, uint8_t header[VXLAN_OVERHEAD]);

/* Metadata to bytes, in the packet's HEADROOM, for an end that speaks VXLAN itself. A packet that is not encapsulated
 * stays as it is. */
void vxlan_encode(struct packet *p);

/* Bytes to metadata. False, and the packet stays as it is, if it is no VXLAN packet that Open vSwitch would take: a
 * whole IPv4 header without options, its checksum right, not a fragment, the UDP checksum 0 or right, flags I alone. */
bool vxlan_decode(struct packet *p);

#endif
