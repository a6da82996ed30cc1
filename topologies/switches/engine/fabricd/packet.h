/* A frame on its way through the fabric, and what is known of it beside its bytes. */
#ifndef PACKET_H
#define PACKET_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t ns_t;                 /* CLOCK_MONOTONIC, nanoseconds */
#define NEVER UINT64_MAX

#define HEADROOM 64                    /* bytes before the frame, for the outer headers of a copy that leaves encapsulated */
#define VXLAN_OVERHEAD 50              /* outer Ethernet 14 + IPv4 20 + UDP 8 + VXLAN 8 */

/* A VXLAN encapsulation is kept as metadata: no bytes move inside the fabric. It becomes bytes where a frame is
 * captured or leaves to an end that speaks VXLAN itself. All in host byte order. */
struct tunnel {
    bool on;                           /* the frame is encapsulated: links count VXLAN_OVERHEAD more bytes */
    uint8_t ttl, tos;                  /* of the outer header; tos is the inner one's when it was put on */
    uint16_t sport;                    /* outer UDP source port: a hash of the inner flow, 49152 to 65535 */
    uint32_t vni, src, dst;            /* src, dst: VTEP addresses */
    uint8_t eth_src[6], eth_dst[6];    /* of the outer Ethernet header */
};

struct packet {
    struct packet *next;               /* in whichever queue holds it */
    ns_t at;                           /* when it came to where it is, or when it arrives, in virtual time */
    uint32_t length;                   /* bytes of the frame, from the Ethernet header on, without FCS */
    uint32_t ingress;                  /* direction by which it came into its switch; NO_DIRECTION at a host */
    uint8_t ingress_queue;             /* of that direction: what a pause would stop */
    uint8_t queue;                     /* of the direction that it waits for, 0 to 7 */
    struct tunnel tunnel;
    uint8_t *frame;                    /* first byte of the (inner) Ethernet header; HEADROOM bytes are free before it */
};

#define NO_DIRECTION UINT32_MAX

/* Bytes that the packet takes on a link. */
static inline uint32_t wire_length(const struct packet *p) {
    return p->length + (p->tunnel.on ? VXLAN_OVERHEAD : 0);
}

struct packet *packet_new(void);                       /* NULL if the pool is empty (counted) */
struct packet *packet_copy(const struct packet *p);    /* NULL likewise */
void packet_free(struct packet *p);
uint32_t packet_room(void);                            /* bytes that a frame may have */

#endif
