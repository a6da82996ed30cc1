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
#define PORT_TABLE 0xfffffff9u         /* of a packet-out: through the tables */
#define PORT_FLOOD 0xfffffffbu
#define PORT_ALL 0xfffffffcu
#define PORT_CONTROLLER 0xfffffffdu
#define PORT_LOCAL 0xfffffffeu

struct pipeline;

/* What the pipeline asks of the fabric around it. All of these are called with the context of pipeline_new(). */
struct pipeline_ops {
    /* A packet leaves by a port. Consumes it. */
    void (*emit)(void *context, uint32_t port, struct packet *p, ns_t now);
    /* A packet goes to the controller: reason as in OpenFlow 1.5 (0 no match, 1 action, 4 group, 5 packet-out). Does not
     * consume it. */
    void (*to_controller)(void *context, uint32_t in_port, uint8_t reason, uint8_t table, uint64_t cookie,
                          uint16_t max_length, const struct packet *p);
    /* Whether a port carries packets now: its cable is in and its far end not off. */
    bool (*is_live)(void *context, uint32_t port);
};

/* A packet that came in, by a port or as a packet-out, left by at least one port or ended for exactly one reason:
 *     came in + copies = left by a port + sum of the reasons
 * An output that came to nothing beside another one that did not is no reason. */
struct pipeline_counts {
    uint64_t no_match;                 /* no rule, not even a table's default */
    uint64_t no_bucket;                /* a group without a live bucket */
    uint64_t expired;                  /* dec_ttl of a TTL of 1 or 0 */
    uint64_t malformed;                /* shorter than an Ethernet header */
    uint64_t no_port;                  /* output to a port that there is not, to the one that it came by, or to PORT_LOCAL
                                          without a use for it */
    uint64_t no_neighbour;             /* no MAC for the far end of its tunnel, or no VTEP here */
    uint64_t looping;                  /* went through the pipeline too often, or would have two encapsulations */
    uint64_t to_controller;            /* went to the controller alone */
    uint64_t dropped_by_rule;          /* a rule without output was the last */
    uint64_t copies;                   /* made because a packet left more than once; where the pool was empty none was */
    uint64_t cache_hits, cache_misses;
};

struct pipeline *pipeline_new(const char *name, const struct pipeline_ops *ops, void *context);
void pipeline_free(struct pipeline *s);
void pipeline_clear(struct pipeline *s);       /* forgets rules and groups, as a switch that was off */

/* A packet that came in by a port. Consumes it. */
void pipeline_run(struct pipeline *s, uint32_t in_port, struct packet *p, ns_t now);
/* The state of a port changed: cached decisions that depend on it are void. */
void pipeline_port_changed(struct pipeline *s, uint32_t port);
bool pipeline_add_port(struct pipeline *s, uint32_t port);       /* a link's; false: there are 1,024 already */
const struct pipeline_counts *pipeline_counts(const struct pipeline *s);

/* Whether a command of the control protocol is one of these: vtep neighbour rule unrule group ungroup rules drops groups
 * clear packet-out trace. */
bool pipeline_has_command(const char *command);
/* One of them (docs/engine.md): words[0] is the command, words[1] the switch. Cuts the words up; writes the answer, one
 * line without newline, to out. */
void pipeline_command(struct pipeline *s, int count, char **words, ns_t now, FILE *out);

#endif
