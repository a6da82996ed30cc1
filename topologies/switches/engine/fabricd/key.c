/* Fields: where they are, reading them all, writing one. What is read is what Open vSwitch reads: one VLAN tag is
 * skipped, a broken or fragmented header has fields of value 0. */
#include "key.h"

#include <string.h>

#include "vxlan.h"

#define TYPE_VLAN 0x8100
#define TYPE_SERVICE_VLAN 0x88a8
#define TYPE_NONE 0x05ff               /* of a frame with a length in the place of a type, and no SNAP header */
#define FIRST_TYPE 0x0600
#define IPV4_HEADER 20
#define ARP_HEADER 28
#define TCP_HEADER 20
#define UDP_HEADER 8
#define ICMP_HEADER 8
#define FRAGMENT_OFFSET 0x1fff
#define MORE_FRAGMENTS 0x2000

#define TCP_OVER_IPV4 (LAYER_IPV4 | LAYER_TCP)
#define UDP_OVER_IPV4 (LAYER_IPV4 | LAYER_UDP)
#define ICMP_OVER_IPV4 (LAYER_IPV4 | LAYER_ICMP)

const struct field_info fields[FIELDS] = {
    /*               name           kind    bits word shift layer        settable place  offset low */
    [IN_PORT]      = {"in_port",      PORT,    32, 0, 0,  0,              false, METADATA, 0, 0},
    [TUNNEL_ID]    = {"tunnel_id",    NUMBER,  64, 1, 0,  0,              true,  METADATA, 0, 0},
    [TUN_IPV4_SRC] = {"tun_ipv4_src", ADDRESS, 32, 2, 32, 0,              true,  METADATA, 0, 0},
    [TUN_IPV4_DST] = {"tun_ipv4_dst", ADDRESS, 32, 2, 0,  0,              true,  METADATA, 0, 0},
    [ETH_SRC]      = {"eth_src",      MAC,     48, 3, 0,  0,              true,  ETHERNET, 6, 0},
    [ETH_DST]      = {"eth_dst",      MAC,     48, 4, 0,  0,              true,  ETHERNET, 0, 0},
    [ETH_TYPE]     = {"eth_type",     NUMBER,  16, 3, 48, 0,              false, METADATA, 0, 0},
    [IP_PROTO]     = {"ip_proto",     NUMBER,  8,  0, 48, LAYER_IPV4,     false, IPV4,     9, 0},
    [IP_DSCP]      = {"ip_dscp",      NUMBER,  6,  0, 42, LAYER_IPV4,     true,  IPV4,     1, 2},
    [IP_ECN]       = {"ip_ecn",       NUMBER,  2,  0, 40, LAYER_IPV4,     true,  IPV4,     1, 0},
    [NW_TTL]       = {"nw_ttl",       NUMBER,  8,  0, 56, LAYER_IPV4,     true,  IPV4,     8, 0},
    [IPV4_SRC]     = {"ipv4_src",     ADDRESS, 32, 5, 32, LAYER_IPV4,     true,  IPV4,     12, 0},
    [IPV4_DST]     = {"ipv4_dst",     ADDRESS, 32, 5, 0,  LAYER_IPV4,     true,  IPV4,     16, 0},
    [TCP_SRC]      = {"tcp_src",      NUMBER,  16, 6, 0,  TCP_OVER_IPV4,  true,  L4,       0, 0},
    [TCP_DST]      = {"tcp_dst",      NUMBER,  16, 6, 16, TCP_OVER_IPV4,  true,  L4,       2, 0},
    [UDP_SRC]      = {"udp_src",      NUMBER,  16, 6, 32, UDP_OVER_IPV4,  true,  L4,       0, 0},
    [UDP_DST]      = {"udp_dst",      NUMBER,  16, 6, 48, UDP_OVER_IPV4,  true,  L4,       2, 0},
    [ICMPV4_TYPE]  = {"icmpv4_type",  NUMBER,  8,  4, 48, ICMP_OVER_IPV4, true,  L4,       0, 0},
    [ICMPV4_CODE]  = {"icmpv4_code",  NUMBER,  8,  4, 56, ICMP_OVER_IPV4, true,  L4,       1, 0},
    [ARP_OP]       = {"arp_op",       NUMBER,  16, 7, 48, LAYER_ARP,      true,  ARP,      6, 0},
    [ARP_SPA]      = {"arp_spa",      ADDRESS, 32, 9, 32, LAYER_ARP,      true,  ARP,      14, 0},
    [ARP_TPA]      = {"arp_tpa",      ADDRESS, 32, 9, 0,  LAYER_ARP,      true,  ARP,      24, 0},
    [ARP_SHA]      = {"arp_sha",      MAC,     48, 7, 0,  LAYER_ARP,      true,  ARP,      8, 0},
    [ARP_THA]      = {"arp_tha",      MAC,     48, 8, 0,  LAYER_ARP,      true,  ARP,      18, 0},
};

int field_by_name(const char *name) {
    for (int f = 0; f < FIELDS; f++)
        if (strcmp(fields[f].name, name) == 0)
            return f;
    return -1;
}

uint64_t field_limit(enum field f) { return ~0ull >> (64 - fields[f].bits); }

/* The type of what the frame carries, and where that begins. */
static uint16_t ethernet_type(const uint8_t *frame, uint32_t length, uint32_t *begin) {
    uint16_t type = load(frame + 12, 2);
    *begin = ETH_HEADER;
    if ((type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) && length >= ETH_HEADER + 4) {
        type = load(frame + 16, 2);
        *begin = ETH_HEADER + 4;
    }
    if (type >= FIRST_TYPE)
        return type;
    if (length < *begin + 8 || memcmp(frame + *begin, "\xaa\xaa\x03\0\0\0", 6) != 0)
        return TYPE_NONE;
    type = load(frame + *begin + 6, 2);
    *begin += 8;
    return type >= FIRST_TYPE ? type : TYPE_NONE;
}

static void read_ports(struct key *k, const uint8_t *l4, enum field src) {
    k->word[6] |= (load(l4, 2) | load(l4 + 2, 2) << 16) << fields[src].shift;
}

/* What is behind an IPv4 header, size bytes of it, if it is not another fragment's. Ports of a first fragment count as 0
 * too, as with Open vSwitch (OFPC_FRAG_NORMAL): all fragments of a flow go one way. */
static void read_l4(struct key *k, struct headers *h, const uint8_t *frame, uint32_t at, uint32_t size,
                    unsigned fragment) {
    static const struct { uint8_t proto, layer, header; } known[] = {
        {PROTO_TCP, LAYER_TCP, TCP_HEADER}, {PROTO_UDP, LAYER_UDP, UDP_HEADER}, {PROTO_ICMP, LAYER_ICMP, ICMP_HEADER}};
    uint8_t proto = key_get(k, IP_PROTO);
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].proto != proto)
            continue;
        key_add_layers(k, known[i].layer);
        if (fragment & FRAGMENT_OFFSET || size < known[i].header)
            return;
        h->l4 = at;
        if (fragment)
            return;
        if (proto == PROTO_ICMP)
            k->word[4] |= load(frame + at, 1) << 48 | load(frame + at + 1, 1) << 56;
        else
            read_ports(k, frame + at, proto == PROTO_TCP ? TCP_SRC : UDP_SRC);
    }
}

static void read_ipv4(struct key *k, struct headers *h, const uint8_t *frame, uint32_t at, uint32_t length) {
    key_add_layers(k, LAYER_IPV4);
    if (length < at + IPV4_HEADER)
        return;
    const uint8_t *ip = frame + at;
    uint32_t header = (ip[0] & 15) * 4, total = load(ip + 2, 2);
    if (header < IPV4_HEADER || header > total || total > length - at)
        return;
    h->ipv4 = at;
    k->word[0] |= (uint64_t)ip[1] << 40 | (uint64_t)ip[9] << 48 | (uint64_t)ip[8] << 56;
    k->word[5] = load(ip + 12, 8);
    read_l4(k, h, frame, at + header, total - header, load(ip + 6, 2) & (FRAGMENT_OFFSET | MORE_FRAGMENTS));
}

static void read_arp(struct key *k, struct headers *h, const uint8_t *frame, uint32_t at, uint32_t length) {
    key_add_layers(k, LAYER_ARP);
    if (length < at + ARP_HEADER || memcmp(frame + at, "\0\1\x08\0\6\4", 6) != 0)
        return;                        /* neither Ethernet nor IPv4 */
    h->arp = at;
    uint16_t op = load(frame + at + 6, 2);
    k->word[7] = load(frame + at + 8, 6) | (uint64_t)(op > 255 ? 0 : op) << 48;
    k->word[8] = load(frame + at + 18, 6);
    k->word[9] = load(frame + at + 14, 4) << 32 | load(frame + at + 24, 4);
}

static void read_outer(struct key *k, const struct tunnel *t) {
    key_add_layers(k, LAYER_OUTER | UDP_OVER_IPV4);
    k->word[0] |= (uint64_t)t->tos << 40 | (uint64_t)PROTO_UDP << 48 | (uint64_t)t->ttl << 56;
    k->word[3] = load(t->eth_src, 6) | (uint64_t)TYPE_IPV4 << 48;
    k->word[4] = load(t->eth_dst, 6);
    k->word[5] = (uint64_t)t->src << 32 | t->dst;
    key_set(k, UDP_SRC, t->sport);
    key_set(k, UDP_DST, VXLAN_UDP_PORT);
}

void key_of(const struct packet *p, uint32_t in_port, bool is_inner, struct key *k, struct headers *h) {
    *k = (struct key){.word = {in_port}};
    *h = (struct headers){0};
    if (p->tunnel.on) {
        read_outer(k, &p->tunnel);
        return;
    }
    if (is_inner) {
        k->word[1] = p->tunnel.vni;
        k->word[2] = (uint64_t)p->tunnel.src << 32 | p->tunnel.dst;
    }
    uint32_t begin;
    uint16_t type = ethernet_type(p->frame, p->length, &begin);
    k->word[3] = load(p->frame + 6, 6) | (uint64_t)type << 48;
    k->word[4] = load(p->frame, 6);
    if (type == TYPE_IPV4)
        read_ipv4(k, h, p->frame, begin, p->length);
    else if (type == TYPE_ARP)
        read_arp(k, h, p->frame, begin, p->length);
}

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). */
static void patch(uint8_t *checksum, uint16_t old, uint16_t new) {
    uint32_t sum = (uint16_t)~load(checksum, 2) + (uint16_t)~old + new;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store(checksum, 2, (uint16_t)~sum);
}

static void patch_l4(uint8_t *l4, uint8_t proto, uint16_t old, uint16_t new) {
    if (proto == PROTO_TCP) {
        patch(l4 + 16, old, new);
    } else if (proto == PROTO_ICMP) {
        patch(l4 + 2, old, new);
    } else if (proto == PROTO_UDP && load(l4 + 6, 2) != 0) {      /* 0: the sender made none */
        patch(l4 + 6, old, new);
        if (load(l4 + 6, 2) == 0)
            store(l4 + 6, 2, 0xffff);
    }
}

/* A 16-bit word of a header has changed: patch what sums over it. */
static void word_changed(uint8_t *frame, const struct headers *h, enum place place, bool is_address, uint16_t old,
                         uint16_t new) {
    if (old == new || (place != IPV4 && place != L4))
        return;
    uint8_t *ip = frame + h->ipv4;
    if (place == IPV4)
        patch(ip + 10, old, new);
    if (h->l4 && (place == L4 || (is_address && ip[9] != PROTO_ICMP)))    /* the pseudo header has the addresses */
        patch_l4(frame + h->l4, ip[9], old, new);
}

static void outer_set(struct tunnel *t, enum field f, uint64_t value) {
    switch (f) {
    case ETH_SRC: store(t->eth_src, 6, value); break;
    case ETH_DST: store(t->eth_dst, 6, value); break;
    case IP_DSCP: t->tos = (t->tos & 3) | value << 2; break;
    case IP_ECN: t->tos = (t->tos & ~3) | value; break;
    case NW_TTL: t->ttl = value; break;
    case IPV4_SRC: t->src = value; break;
    case IPV4_DST: t->dst = value; break;
    case UDP_SRC: t->sport = value; break;
    default: break;
    }
}

void packet_set(struct packet *p, const struct headers *h, enum field f, uint64_t value) {
    const struct field_info *info = &fields[f];
    if (p->tunnel.on) {
        outer_set(&p->tunnel, f, value);
        return;
    }
    const uint16_t begins[] = {[METADATA] = 0, [ETHERNET] = 0, [IPV4] = h->ipv4, [ARP] = h->arp, [L4] = h->l4};
    uint16_t begin = begins[info->place];
    if (info->place == METADATA || (info->place != ETHERNET && begin == 0))
        return;
    int size = (info->bits + info->low + 7) / 8, first = info->offset & ~1, end = (info->offset + size + 1) & ~1;
    uint8_t *header = p->frame + begin, before[8];
    memcpy(before, header + first, end - first);
    uint64_t mask = field_limit(f) << info->low;
    store(header + info->offset, size, (load(header + info->offset, size) & ~mask) | (value << info->low & mask));
    for (int i = first; i < end; i += 2)
        word_changed(p->frame, h, info->place, info->kind == ADDRESS, load(before + i - first, 2), load(header + i, 2));
}

uint64_t key_flow_hash(const struct key *k) {
    uint64_t ports = k->word[6] ^ k->word[4] >> 48;
    if (key_layers(k) & LAYER_IPV4)
        return mix(mix(mix(k->word[5]) ^ key_get(k, IP_PROTO)) ^ ports);
    return mix(mix(k->word[3]) ^ k->word[4]);
}

uint8_t packet_tos(const struct packet *p, const struct headers *h) { return h->ipv4 ? p->frame[h->ipv4 + 1] : 0; }
