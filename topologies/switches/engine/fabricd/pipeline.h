/* One switch's OpenFlow pipeline: tables, groups, an exact-match cache before them. No I/O, no clock.
 *
 * A packet that is encapsulated (packet.tunnel.on) is matched by its outer headers. Two ports are not links:
 *   PORT_TUNNEL  output there encapsulates (tunnel_id -> VNI, tun_ipv4_dst -> outer destination); the packet then
 *                enters the pipeline again from PORT_LOCAL, as a UDP packet to port 4789.
 *   PORT_LOCAL   output there takes an encapsulated packet that is for one of the switch's VTEP addresses apart; the
 *                inner packet enters the pipeline again from PORT_TUNNEL with tunnel_id = VNI. Other packets end there.
 */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stddef.h>
#include <stdio.h>

#include "packet.h"

#define PORT_TUNNEL 1000u
#define PORT_IN 0xfffffff8u            /* OFPP_IN_PORT */
#define PORT_FLOOD 0xfffffffbu
#define PORT_ALL 0xfffffffcu
#define PORT_CONTROLLER 0xfffffffdu
#define PORT_LOCAL 0xfffffffeu

struct pipeline;

/* What the pipeline asks of the fabric around it. All of these are called with the context of pipeline_new(). */
struct pipeline_ops {
    /* A packet leaves by a port. Consumes it. */
    void (*emit)(void *context, uint32_t port, struct packet *p, ns_t now);
    /* A packet goes to the controller: reason as in OpenFlow (1 action, 0 no match). Does not consume it. */
    void (*to_controller)(void *context, uint32_t in_port, uint8_t reason, uint8_t table, uint64_t cookie,
                          uint16_t max_length, const struct packet *p);
    /* Whether a port carries packets now: its cable is in and its far end not off. */
    bool (*is_live)(void *context, uint32_t port);
};

/* Packets that end in a pipeline other than by a drop rule, by reason. */
struct pipeline_counts {
    uint64_t no_match;                 /* no rule, not even a table's default */
    uint64_t no_bucket;                /* a group without a live bucket */
    uint64_t expired;                  /* dec_ttl of a TTL of 1 or 0 */
    uint64_t malformed;                /* too short for its own headers */
    uint64_t no_port;                  /* output to a port that there is not, or to PORT_LOCAL without a use for it */
    uint64_t looping;                  /* went through the pipeline too often */
    uint64_t dropped_by_rule;          /* sum over the rules without actions */
    uint64_t cache_hits, cache_misses;
};

struct pipeline *pipeline_new(const char *name, const struct pipeline_ops *ops, void *context);
void pipeline_free(struct pipeline *s);

/* A packet that came in by a port. Consumes it. */
void pipeline_run(struct pipeline *s, uint32_t in_port, struct packet *p, ns_t now);
/* A packet-out: the actions (text as in a rule) on a packet that is said to have come by in_port. Consumes it. */
bool pipeline_packet_out(struct pipeline *s, uint32_t in_port, const char *actions, struct packet *p, ns_t now,
                         char *error, size_t error_size);
/* The state of a port changed: cached decisions that depend on it are void. */
void pipeline_port_changed(struct pipeline *s, uint32_t port);
void pipeline_add_port(struct pipeline *s, uint32_t port);       /* a link's; output to any other counts as no_port */
const struct pipeline_counts *pipeline_counts(const struct pipeline *s);

/* One command of the control protocol that is about rules (docs/engine.md): words[0] is the command, words[1] the
 * switch. Writes the answer, one line without newline, to out. */
void pipeline_command(struct pipeline *s, int count, char **words, FILE *out);

#endif
