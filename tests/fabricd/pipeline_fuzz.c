/* pipeline_fuzz SEED COUNT: so many frames and commands, random or mutated, into one pipeline. The sanitizers watch the
 * memory; this watches that no packet is lost and that came in + copies = left + reasons. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"
#include "pipeline.h"
#include "pool.h"
#include "text.h"
#include "vxlan.h"

#define WORDS 64
#define LINE 2048
#define CLEARED_EVERY 20000            /* steps, so that rules do not only become more */

static uint64_t state, came_in, left;

static uint32_t draw(uint32_t below) {
    state += 0x9e3779b97f4a7c15ull;
    return mix(state) % below;
}

static void emit(void *context, uint32_t port, struct packet *p, ns_t now) {
    (void)context, (void)port, (void)now;
    left++;
    vxlan_encode(p);
    packet_free(p);
}

static void to_controller(void *context, uint32_t in_port, uint8_t reason, uint8_t table, uint64_t cookie,
                          uint16_t max_length, const struct packet *p) {
    uint8_t header[VXLAN_OVERHEAD];
    (void)context, (void)in_port, (void)reason, (void)table, (void)cookie, (void)max_length;
    vxlan_header(p, header);
}

static bool is_live(void *context, uint32_t port) {
    (void)context;
    return (port + state) % 5 != 0;
}

static const char *const matches[] = {
    "*", "in_port=1", "in_port=LOCAL", "in_port=1000,tunnel_id=7", "eth_type=0x800,ip_proto=17,udp_dst=4789",
    "eth_type=0x800,ipv4_src=10.0.0.0/8", "ipv4_dst=10.255.0.1", "arp_op=1,arp_tpa=10.0.0.2", "nw_ttl=1", "ip_dscp=10",
    "tcp_dst=80", "icmpv4_type=8,icmpv4_code=0", "eth_dst=01:00:00:00:00:00/01:00:00:00:00:00", "tun_ipv4_dst=10.255.0.2",
    "udp_src=0x10/0xf0", "ip_ecn=3", "eth_src=02:00:00:00:00:01", "arp_sha=02:00:00:00:00:01,arp_spa=10.0.0.1"};
static const char *const actions[] = {
    "output:1", "output:2", "output:3", "output:LOCAL", "output:IN_PORT", "output:FLOOD", "output:ALL", "output:1000",
    "output:CONTROLLER", "controller:64", "group:1", "group:2", "group:3", "dec_ttl", "set:tunnel_id=7",
    "set:tun_ipv4_dst=10.255.0.2", "set:eth_src=02:00:00:00:00:09", "set:ipv4_dst=10.255.0.1", "set:ip_dscp=10",
    "set:ip_ecn=3", "set:udp_dst=4789", "set:tcp_src=1", "set:nw_ttl=1", "set:icmpv4_type=0", "set:arp_op=2",
    "set:arp_spa=10.0.0.2", "set:arp_tha=02:00:00:00:00:09", "copy:eth_src>eth_dst", "copy:arp_sha>arp_tha",
    "copy:ipv4_src>ipv4_dst", "copy:udp_src>tcp_dst", "drop"};
static const char *const types[] = {"select", "select hash=ipv4_src,udp_src", "failover", "all", "indirect"};
static const char *const frames[] = {
    /* VXLAN to here */
    "02ff0000000102000000000108004529004e00004000021163760a0000010aff0001c35012b5003a00000800000000000700"
    "02000000000202000000000108004529001c00004000021164a60a0000010a000002001100500008eb7a",
    /* UDP */
    "02000000000202000000000108004529001c00004000021164a60a0000010a000002001100500008eb7a",
    /* TCP */
    "02000000000202000000000108004529002a00004000020664a30a0000010a00000200010050000000010000000250100200"
    "381a00006162",
    /* ICMP */
    "02000000000202000000000108004529001f00004000020164b30a0000010a0000020800339600000007616263",
    /* ARP */
    "ffffffffffff020000000001080600010800060400010200000000010a0000010000000000000a000002",
    /* behind a tag */
    "0200000000020200000000018100000a08004529001c00004000021164a60a0000010a000002001100500008eb7a",
    /* behind SNAP */
    "0200000000020200000000010024aaaa0300000008004529001c00004000021164a60a0000010a000002001100500008eb7a"};
#define ONE_OF(list) list[draw(sizeof list / sizeof *list)]

static int add_actions(char *line, int used) {
    for (int i = draw(5); i >= 0; i--)
        used += snprintf(line + used, LINE - used, "%s%s", ONE_OF(actions), i ? ";" : "");
    return used;
}

static void make_command(char *line) {
    int used = 0;
    switch (draw(12)) {
    case 0: case 1: case 2: case 3: case 4:
        used = snprintf(line, LINE, "rule s %u table=%u priority=%u match %s do ", draw(40), draw(4), draw(8),
                        ONE_OF(matches));
        used = add_actions(line, used);
        if (draw(2))
            snprintf(line + used, LINE - used, " goto=%u", draw(5));
        break;
    case 5: case 6:
        used = snprintf(line, LINE, "group s %u type=%s buckets", 1 + draw(4), ONE_OF(types));
        for (uint32_t i = 0, count = 1 + draw(4); i < count; i++) {
            used += snprintf(line + used, LINE - used, draw(2) ? " %u:%u:" : " %u:-:", i, draw(4));
            used = add_actions(line, used);
        }
        break;
    case 7: snprintf(line, LINE, "unrule s %u", draw(40)); break;
    case 8: snprintf(line, LINE, "ungroup s %u", 1 + draw(4)); break;
    case 9: snprintf(line, LINE, "neighbour s 10.255.0.%u 02:ff:00:00:00:02", draw(4)); break;
    case 10:
        used = snprintf(line, LINE, "packet-out s %u ", draw(4));
        used = add_actions(line, used);
        snprintf(line + used, LINE - used, " %.*s", 2 * (int)draw(50), ONE_OF(frames));
        break;
    default:
        snprintf(line, LINE, draw(2) ? "rules s" : draw(2) ? "groups s" : "trace s %u %s", draw(4), ONE_OF(frames));
    }
}

static void mutate(uint8_t *bytes, uint32_t length) {
    for (uint32_t i = draw(6); length && i > 0; i--)
        bytes[draw(length)] = draw(3) ? draw(256) : bytes[draw(length)];
}

static void command(struct pipeline *s, FILE *out) {
    char line[LINE], *words[WORDS];
    int count = 0;
    make_command(line);
    if (draw(4) == 0)
        mutate((uint8_t *)line, strlen(line));
    for (char *rest = line, *word; count < WORDS && (word = strsep(&rest, " "));)
        words[count++] = word;
    bool sends = count > 0 && strcmp(words[0], "packet-out") == 0;
    char answer[64] = "";
    FILE *said = fmemopen(answer, sizeof answer, "w");
    pipeline_command(s, count, words, 0, sends ? said : out);
    fclose(said);
    if (sends && strncmp(answer, "ok", 2) == 0)
        came_in++;
}

static struct packet *make_frame(void) {
    struct packet *p = packet_new();
    if (!p)
        abort();
    if (draw(8) == 0) {
        p->length = draw(150);
        for (uint32_t i = 0; i < p->length; i++)
            p->frame[i] = draw(256);
    } else {
        struct why why;
        if (!read_hex(ONE_OF(frames), p->frame, packet_room(), &p->length, &why))
            abort();
        if (draw(4) == 0)              /* an inner frame, or what looks like one */
            for (uint32_t i = draw(60); i > 0; i--)
                p->frame[p->length++] = draw(256);
        if (draw(2))
            mutate(p->frame, p->length);
        if (draw(4) == 0)
            p->length = draw(p->length + 1);
    }
    struct packet *exact = packet_copy(p);
    packet_free(p);
    return exact;
}

static void frame(struct pipeline *s) {
    struct packet *p = make_frame();
    if (draw(2)) {
        p->tunnel = (struct tunnel){.on = draw(2), .tos = draw(256), .ttl = draw(256), .sport = draw(65536),
                                    .vni = draw(9), .src = 0x0aff0000 + draw(4), .dst = 0x0aff0000 + draw(4),
                                    .eth_dst = {2, 255, 0, 0, 0, 1}};
    } else {
        vxlan_decode(p);
    }
    came_in++;
    pipeline_run(s, draw(6) ? draw(4) : draw(2) ? PORT_TUNNEL : PORT_LOCAL, p, 0);
}

static bool balances(const struct pipeline *s) {
    const struct pipeline_counts *c = pipeline_counts(s);
    return pool_used == 0 && came_in + c->copies
        == left + c->no_match + c->no_bucket + c->expired + c->malformed + c->no_port + c->no_neighbour + c->looping
           + c->to_controller + c->dropped_by_rule;
}

int main(int count, char **words) {
    static const struct pipeline_ops ops = {emit, to_controller, is_live};
    if (count != 3)
        return 2;
    state = strtoull(words[1], NULL, 0);
    uint64_t steps = strtoull(words[2], NULL, 0);
    FILE *out = fopen("/dev/null", "w");
    struct pipeline *s = pipeline_new("s", &ops, NULL);
    char vtep[3][32] = {"s", "10.255.0.1", "02:ff:00:00:00:01"}, name[] = "vtep";
    pipeline_command(s, 4, (char *[]){name, vtep[0], vtep[1], vtep[2]}, 0, out);
    for (uint32_t port = 1; port < 4; port++)
        pipeline_add_port(s, port);
    for (uint64_t i = 0; i < steps; i++) {
        pool_limit(draw(16) ? INT32_MAX : 3 + (int)draw(3));       /* 3: what making a frame needs, and one */
        if (draw(24) == 0)
            command(s, out);
        else
            frame(s);
        if (draw(64) == 0)
            pipeline_port_changed(s, 1);
        if (i % CLEARED_EVERY == CLEARED_EVERY - 1)
            pipeline_clear(s);
        if (!balances(s)) {
            fprintf(stderr, "step %" PRIu64 ": %d packets are lost, or came in + copies is not left + reasons\n", i, pool_used);
            return 1;
        }
    }
    const struct pipeline_counts *c = pipeline_counts(s);
    printf("ok %" PRIu64 " came in, %" PRIu64 " left, %" PRIu64 " copies, %" PRIu64 " hits\n", came_in, left, c->copies,
           c->cache_hits);
    pipeline_free(s);
    fclose(out);
    return 0;
}
