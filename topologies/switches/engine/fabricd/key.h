/* Header fields by their OpenFlow names, and the values of all of them in one packet: its key. */
#ifndef KEY_H
#define KEY_H

#include "packet.h"

enum field {
    IN_PORT, TUNNEL_ID, TUN_IPV4_SRC, TUN_IPV4_DST, ETH_SRC, ETH_DST, ETH_TYPE, IP_PROTO, IP_DSCP, IP_ECN, NW_TTL,
    IPV4_SRC, IPV4_DST, TCP_SRC, TCP_DST, UDP_SRC, UDP_DST, ICMPV4_TYPE, ICMPV4_CODE, ARP_OP, ARP_SPA, ARP_TPA,
    ARP_SHA, ARP_THA, FIELDS
};

#define ETH_HEADER 14
#define TYPE_IPV4 0x0800
#define TYPE_ARP 0x0806
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define ECN_ECT0 2
#define ECN_CE 3

/* What a packet has, as bits. A field is in packets of its layer alone; what is not there counts as 0. */
#define LAYER_IPV4 1
#define LAYER_ARP 2
#define LAYER_TCP 4
#define LAYER_UDP 8
#define LAYER_ICMP 16
#define LAYER_OUTER 32                 /* these are the outer headers of a packet whose encapsulation is metadata */

/* Fields share words, as fields[] says where; the same shape serves as a mask. */
#define KEY_WORDS 10
struct key {
    uint64_t word[KEY_WORDS];
};
#define LAYERS_SHIFT 32                /* of word 0, which also has the layers, 8 bits */

enum kind { NUMBER, PORT, ADDRESS, MAC };            /* how a value is written */
enum place { METADATA, ETHERNET, IPV4, ARP, L4 };    /* the header that a field is in */

struct field_info {
    const char *name;
    uint8_t kind, bits;                /* bits: width of a value */
    uint8_t word, shift;               /* in the key */
    uint8_t layer;                     /* what a packet must have for the field to be there: bits */
    bool settable;
    uint8_t place, offset;             /* in the frame: bytes from the start of that header */
    uint8_t low;                       /* bits below the field in its bytes: 2 for the DSCP */
};
extern const struct field_info fields[FIELDS];

/* Where the headers of a frame begin; 0 for one that is absent, cut short or behind another fragment. */
struct headers {
    uint16_t ipv4, arp, l4;
};

int field_by_name(const char *name);                 /* -1: no such field */
uint64_t field_limit(enum field f);                  /* the greatest value: all bits of the field */

static inline uint64_t key_get(const struct key *k, enum field f) {
    return k->word[fields[f].word] >> fields[f].shift & (~0ull >> (64 - fields[f].bits));
}
static inline void key_set(struct key *k, enum field f, uint64_t value) {
    uint64_t all = (~0ull >> (64 - fields[f].bits)) << fields[f].shift;
    k->word[fields[f].word] = (k->word[fields[f].word] & ~all) | (value << fields[f].shift & all);
}
static inline uint8_t key_layers(const struct key *k) { return k->word[0] >> LAYERS_SHIFT; }
static inline void key_add_layers(struct key *k, uint8_t layers) { k->word[0] |= (uint64_t)layers << LAYERS_SHIFT; }

/* The key of a packet that came in by a port, and where its headers are. A packet that is encapsulated has the fields
 * of its outer headers; one that comes out of a tunnel (is_inner) has the tunnel's in its metadata. The frame has at
 * least ETH_HEADER bytes. */
void key_of(const struct packet *p, uint32_t in_port, bool is_inner, struct key *k, struct headers *h);

/* Write a field of the frame, or of the outer headers if it is encapsulated, and patch the checksums that cover it.
 * Nothing happens if the packet has no such header, or the field is metadata. */
void packet_set(struct packet *p, const struct headers *h, enum field f, uint64_t value);

/* splitmix64's finaliser: the one hash function of the fabric. */
static inline uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}
uint64_t key_flow_hash(const struct key *k);         /* addresses, protocol and ports; MACs of what is not IPv4 */
uint8_t packet_tos(const struct packet *p, const struct headers *h);     /* 0 without an IPv4 header */

static inline uint64_t load(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    while (count-- > 0)
        value = value << 8 | *bytes++;
    return value;
}
static inline void store(uint8_t *bytes, int count, uint64_t value) {
    for (; count-- > 0; value >>= 8)
        bytes[count] = value;
}

#endif
