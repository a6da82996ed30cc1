/* A packet's way: its key, the program for it, and what the program does. */
#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "switch.h"
#include "vxlan.h"

#define TTL_OF_TUNNELS 64
#define FIRST_SOURCE_PORT 49152        /* of the 16,384 that are dynamic (RFC 6335) */

struct pipeline *pipeline_new(const char *name, const struct pipeline_ops *ops, void *context) {
    struct pipeline *s = zeroed(sizeof *s);
    s->name = name;
    s->ops = *ops;
    s->context = context;
    cache_init(&s->cache);
    pipeline_clear(s);
    return s;
}

void pipeline_free(struct pipeline *s) {
    pipeline_clear(s);
    cache_release(&s->cache);
    free(s->neighbours);
    free(s);
}

void pipeline_clear(struct pipeline *s) {
    classifier_clear(&s->rules);
    group_clear(&s->groups);
    s->seen = (struct key){0};
    key_add_layers(&s->seen, UINT8_MAX);
    static const enum field of_tunnels[] = {IN_PORT, TUNNEL_ID, TUN_IPV4_DST, ETH_DST, IPV4_DST, UDP_DST};
    for (unsigned i = 0; i < sizeof of_tunnels / sizeof *of_tunnels; i++)
        see_field(s, of_tunnels[i]);
    cache_forget(&s->cache);
}

void see_field(struct pipeline *s, enum field f) { key_set(&s->seen, f, field_limit(f)); }

void see_actions(struct pipeline *s, const struct action *list, int count) {
    for (const struct action *a = list; a < list + count; a++)
        if (a->kind == COPY)
            see_field(s, a->from);
        else if (a->kind == DEC_TTL)
            see_field(s, NW_TTL);
}

bool pipeline_add_port(struct pipeline *s, uint32_t port) {
    if (has_port(s, port))
        return true;
    if (s->port_count == PORTS_MAX)
        return false;
    s->ports[s->port_count++] = port;
    cache_forget(&s->cache);
    return true;
}

void pipeline_port_changed(struct pipeline *s, uint32_t port) {
    (void)port;
    cache_forget(&s->cache);
}

const struct pipeline_counts *pipeline_counts(const struct pipeline *s) { return &s->counts; }

static void count(struct pipeline *s, uint32_t reason) { ++*(uint64_t *)((char *)&s->counts + reason); }

static void end(struct pipeline *s, struct packet *p, uint32_t reason) {
    count(s, reason);
    packet_free(p);
}

/* The mark of an inner packet stays its own: the outer header says that it can be marked (RFC 3168, 9.1.1), as Open
 * vSwitch does. */
static uint8_t outer_tos(uint8_t tos) { return (tos & 3) == ECN_CE ? (tos & ~3u) | ECN_ECT0 : tos; }

void push_tunnel(const struct pipeline *s, const struct op *op, struct packet *p, const struct key *k,
                 const struct headers *h) {
    const struct endpoint *from = &s->vteps[op->field], *to = &s->neighbours[op->number];
    p->tunnel = (struct tunnel){.on = true, .ttl = TTL_OF_TUNNELS, .tos = outer_tos(packet_tos(p, h)),
                                .sport = FIRST_SOURCE_PORT + key_flow_hash(k) % (65536 - FIRST_SOURCE_PORT),
                                .vni = op->value & 0xffffff, .src = from->address, .dst = to->address};
    memcpy(p->tunnel.eth_src, from->mac, 6);
    memcpy(p->tunnel.eth_dst, to->mac, 6);
}

bool pop_tunnel(struct packet *p) {
    if (!p->tunnel.on && !vxlan_decode(p))
        return false;
    p->tunnel.on = false;
    if ((p->tunnel.tos & 3) != ECN_CE || p->length < ETH_HEADER)
        return true;
    struct key k;
    struct headers h;
    key_of(p, PORT_TUNNEL, true, &k, &h);
    if ((key_layers(&k) & LAYER_IPV4) && key_get(&k, IP_ECN) == 0)
        return false;                  /* RFC 6040: it would not understand the mark */
    packet_set(p, &h, IP_ECN, ECN_CE);
    return true;
}

/* A packet in the middle of its program. */
struct run {
    struct pipeline *s;
    const struct key *key;
    const struct headers *headers;
    struct packet *p;                  /* NULL: has left, or no copy could be made */
    uint32_t in_port, length, left;    /* length: on a link, as it came in */
    int depth;
    ns_t now;
};

static void pass(struct pipeline *s, uint32_t in_port, struct packet *p, ns_t now, int depth);

static void leave(struct run *r, const struct op *op, uint32_t port, bool is_last) {
    struct packet *p = is_last || !r->p ? r->p : packet_copy(r->p);
    if (is_last)
        r->p = NULL;
    if (!p)
        return;
    r->left++;
    if (op->kind == OP_PUSH) {
        push_tunnel(r->s, op, p, r->key, r->headers);
        pass(r->s, PORT_LOCAL, p, r->now, r->depth + 1);
    } else if (op->kind != OP_POP) {
        r->s->ops.emit(r->s->context, port, p, r->now);
    } else if (pop_tunnel(p)) {
        pass(r->s, PORT_TUNNEL, p, r->now, r->depth + 1);
    } else {
        end(r->s, p, REASON(no_port));
    }
}

static void flood(struct run *r, const struct op *op) {
    const struct pipeline *s = r->s;
    int last = s->port_count - 1;
    last -= s->ports[last] == r->in_port;
    for (int i = 0; i <= last; i++)
        if (s->ports[i] != r->in_port)
            leave(r, op, s->ports[i], op->last && i == last);
}

static void execute(struct run *r, const struct op *op) {
    struct pipeline *s = r->s;
    struct packet *saved[PROGRAM_MAX / 2];
    int depth = 0;
    for (;; op++) {
        switch ((enum op_kind)op->kind) {
        case OP_RULE: op->rule->packets++; op->rule->bytes += r->length; break;
        case OP_GROUP: op->group->packets++; op->group->bytes += r->length; break;
        case OP_BUCKET: op->bucket->packets++; break;
        case OP_SET:
            if (r->p)
                packet_set(r->p, r->headers, op->field, op->value);
            break;
        case OP_OUTPUT: case OP_PUSH: case OP_POP: leave(r, op, op->number, op->last); break;
        case OP_FLOOD: flood(r, op); break;
        case OP_CONTROLLER:
            if (r->p)
                s->ops.to_controller(s->context, r->in_port, op->field, op->table, op->value, op->number, r->p);
            break;
        case OP_SAVE:
            saved[depth++] = r->p;
            r->p = r->p ? packet_copy(r->p) : NULL;
            break;
        case OP_RESTORE:
            if (r->p)
                packet_free(r->p);
            r->p = saved[--depth];
            break;
        case OP_SKIP: break;
        case OP_END:
            if (op->number != NOT_LEFT)
                count(s, op->number);
            else if (r->left == 0)     /* for want of packets no copy was made, and its last use was not an output */
                count(s, REASON(to_controller));
            return;
        }
    }
}

static void finish(struct run *r, const struct op *ops) {
    execute(r, ops);
    if (r->left > 1)
        r->s->counts.copies += r->left - 1;
    if (r->p)
        packet_free(r->p);
}

static void pass(struct pipeline *s, uint32_t in_port, struct packet *p, ns_t now, int depth) {
    struct key key, looked_at;
    struct headers headers;
    if (depth == PASSES_MAX || (p->length < ETH_HEADER && !p->tunnel.on)) {
        end(s, p, depth == PASSES_MAX ? REASON(looping) : REASON(malformed));
        return;
    }
    key_of(p, in_port, depth > 0 && in_port == PORT_TUNNEL, &key, &headers);
    for (int w = 0; w < KEY_WORDS; w++)
        looked_at.word[w] = key.word[w] & s->seen.word[w];
    struct run r = {.s = s, .key = &key, .headers = &headers, .p = p, .in_port = in_port, .length = wire_length(p),
                    .depth = depth, .now = now};
    const struct op *ops = cache_find(&s->cache, &looked_at);
    if (ops) {
        s->counts.cache_hits++;
        finish(&r, ops);
        return;
    }
    struct program program;
    s->counts.cache_misses++;
    if (depth == 0)
        cache_make_room(&s->cache);
    translate(s, &looked_at, &program);
    cache_keep(&s->cache, &looked_at, program.ops, program.count);
    finish(&r, program.ops);
}

void pipeline_run(struct pipeline *s, uint32_t in_port, struct packet *p, ns_t now) { pass(s, in_port, p, now, 0); }

void run_packet_out(struct pipeline *s, uint32_t in_port, const struct actions *actions, struct packet *p, ns_t now) {
    struct key key;
    struct headers headers;
    struct program program;
    if (p->length < ETH_HEADER) {
        end(s, p, REASON(malformed));
        return;
    }
    key_of(p, in_port, false, &key, &headers);
    translate_packet_out(s, &key, actions, &program);
    struct run r = {.s = s, .key = &key, .headers = &headers, .p = p, .in_port = in_port, .length = wire_length(p),
                    .now = now};
    finish(&r, program.ops);
}
