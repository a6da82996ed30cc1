/* Inside of a pipeline: what its files share. pipeline.h is what others see.
 *
 *   packet ──> key ──(what rules look at)──> cache ──hit──> program ──> counts, changes, copies, outputs
 *                                              └─miss─> translate: tables, groups ──> program, kept in the cache
 */
#ifndef SWITCH_H
#define SWITCH_H

#include <stddef.h>

#include "cache.h"
#include "group.h"
#include "pipeline.h"
#include "table.h"
#include "text.h"

#define PORTS_MAX 1024
#define VTEPS_MAX 128
#define NEIGHBOURS_MAX 16384
#define PASSES_MAX 8                   /* through the pipeline of one switch: encapsulated, taken apart, ... */
#define NOT_LEFT UINT32_MAX            /* no reason: the packet has left */

struct endpoint {                      /* of a tunnel: one of the switch's own, or a neighbour */
    uint32_t address;
    uint8_t mac[6];
};

struct pipeline {
    const char *name;
    struct pipeline_ops ops;
    void *context;
    struct classifier rules;
    struct groups groups;
    struct key seen;                   /* bits that a rule, a group or a tunnel has looked at since the last clear */
    struct cache cache;
    int port_count, vtep_count, neighbour_count, neighbour_room;
    uint32_t ports[PORTS_MAX];
    struct endpoint vteps[VTEPS_MAX];
    struct endpoint *neighbours;       /* by address, lowest first */
    struct pipeline_counts counts;
};

/* Offset of one of the reasons in struct pipeline_counts. */
#define REASON(name) ((uint32_t)offsetof(struct pipeline_counts, name))

struct program {
    int count;
    struct op ops[PROGRAM_MAX];
};

/* What tables and groups make of a packet with this key. The program depends on the key alone. */
void translate(struct pipeline *s, const struct key *k, struct program *program);
/* The same for actions that were sent with a packet. */
void translate_packet_out(struct pipeline *s, const struct key *k, const struct actions *actions,
                          struct program *program);

void see_field(struct pipeline *s, enum field f);
void see_actions(struct pipeline *s, const struct action *list, int count);
const struct endpoint *find_neighbour(const struct pipeline *s, uint32_t address);
bool has_port(const struct pipeline *s, uint32_t port);

/* A packet gets the encapsulation that an OP_PUSH describes, or loses the one it has (false: it has none, or a mark that
 * the inner packet cannot carry). */
void push_tunnel(const struct pipeline *s, const struct op *op, struct packet *p, const struct key *k,
                 const struct headers *h);
bool pop_tunnel(struct packet *p);

void run_packet_out(struct pipeline *s, uint32_t in_port, const struct actions *actions, struct packet *p, ns_t now);

/* Writes what would become of a packet, and frees it; nothing is counted or sent. */
void trace_packet(struct pipeline *s, uint32_t in_port, struct packet *p, FILE *out);

/* Memory that a command needs. There is no going on without it: the process says so and ends. */
void *zeroed(size_t bytes);
void *resized(void *memory, size_t bytes);

#endif
