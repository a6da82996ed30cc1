/* The outer headers as Open vSwitch writes and reads them: don't fragment, no UDP checksum, identification 0. */
#include "vxlan.h"

#include <string.h>

#include "key.h"

#define IP (ETH_HEADER)
#define UDP (IP + 20)
#define VXLAN (UDP + 8)
#define FLAG_VNI 0x08000000u
#define DONT_FRAGMENT 0x4000

/* Sum of 16-bit words in ones' complement; an odd last byte is followed by 0 (RFC 1071). */
static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, uint32_t count) {
    for (; count > 1; count -= 2, bytes += 2)
        sum += bytes[0] << 8 | bytes[1];
    if (count)
        sum += bytes[0] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

void vxlan_header(const struct packet *p, uint8_t header[VXLAN_OVERHEAD]) {
    const struct tunnel *t = &p->tunnel;
    memset(header, 0, VXLAN_OVERHEAD);
    memcpy(header, t->eth_dst, 6);
    memcpy(header + 6, t->eth_src, 6);
    store(header + 12, 2, TYPE_IPV4);
    header[IP] = 0x45;
    header[IP + 1] = t->tos;
    store(header + IP + 2, 2, p->length + VXLAN_OVERHEAD - ETH_HEADER);
    store(header + IP + 6, 2, DONT_FRAGMENT);
    header[IP + 8] = t->ttl;
    header[IP + 9] = PROTO_UDP;
    store(header + IP + 12, 4, t->src);
    store(header + IP + 16, 4, t->dst);
    store(header + IP + 10, 2, (uint16_t)~sum_words(0, header + IP, 20));
    store(header + UDP, 2, t->sport);
    store(header + UDP + 2, 2, VXLAN_UDP_PORT);
    store(header + UDP + 4, 2, p->length + VXLAN_OVERHEAD - UDP);
    store(header + VXLAN, 4, FLAG_VNI);
    store(header + VXLAN + 4, 4, t->vni << 8);
}

void vxlan_encode(struct packet *p) {
    if (!p->tunnel.on)
        return;
    vxlan_header(p, p->frame - VXLAN_OVERHEAD);
    p->frame -= VXLAN_OVERHEAD;
    p->length += VXLAN_OVERHEAD;
    p->tunnel.on = false;
}

static bool udp_sum_is_right(const uint8_t *f, uint32_t size) {
    if (load(f + UDP + 6, 2) == 0)
        return true;
    uint32_t pseudo = sum_words(PROTO_UDP + size, f + IP + 12, 8);
    return sum_words(pseudo, f + UDP, size) == 0xffff;
}

static bool is_vxlan(const uint8_t *f, uint32_t length) {
    if (length < VXLAN_OVERHEAD || load(f + 12, 2) != TYPE_IPV4 || f[IP] != 0x45 || f[IP + 9] != PROTO_UDP)
        return false;
    uint32_t total = load(f + IP + 2, 2);
    return total <= length - IP && total >= VXLAN_OVERHEAD - IP && (load(f + IP + 6, 2) & 0x3fff) == 0
        && sum_words(0, f + IP, 20) == 0xffff && load(f + UDP + 2, 2) == VXLAN_UDP_PORT
        && udp_sum_is_right(f, total - 20) && load(f + VXLAN, 4) == FLAG_VNI && f[VXLAN_OVERHEAD - 1] == 0;
}

bool vxlan_decode(struct packet *p) {
    const uint8_t *f = p->frame;
    if (p->tunnel.on || !is_vxlan(f, p->length))
        return false;
    struct tunnel *t = &p->tunnel;
    *t = (struct tunnel){.on = true, .tos = f[IP + 1], .ttl = f[IP + 8], .src = load(f + IP + 12, 4),
                         .dst = load(f + IP + 16, 4), .sport = load(f + UDP, 2), .vni = load(f + VXLAN + 4, 3)};
    memcpy(t->eth_dst, f, 6);
    memcpy(t->eth_src, f + 6, 6);
    p->length = load(f + IP + 2, 2) + IP - VXLAN_OVERHEAD;
    p->frame += VXLAN_OVERHEAD;
    return true;
}
