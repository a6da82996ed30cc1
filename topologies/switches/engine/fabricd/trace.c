/* What would become of a packet: the same programs, but nothing is counted, sent or cached. */
#include <stdarg.h>
#include <string.h>

#include "switch.h"

enum list { RULES, PORTS, TUNNELS, DROPS, LISTS };

struct trace {
    struct pipeline *s;
    char text[LISTS][4096];            /* with commas between; what is longer is cut */
};

static void trace_pass(struct trace *t, uint32_t in_port, struct packet *p, int depth);

static void note(struct trace *t, enum list list, const char *format, ...) {
    size_t used = strlen(t->text[list]);
    va_list arguments;
    va_start(arguments, format);
    if (used > 0)
        strncat(t->text[list], ",", sizeof t->text[list] - used++ - 1);
    if (used < sizeof t->text[list])
        vsnprintf(t->text[list] + used, sizeof t->text[list] - used, format, arguments);
    va_end(arguments);
}

static const char *name_of(uint32_t reason) {
    switch (reason) {
    case REASON(no_match): return "no_match";
    case REASON(no_bucket): return "no_bucket";
    case REASON(expired): return "expired";
    case REASON(malformed): return "malformed";
    case REASON(no_port): return "no_port";
    case REASON(no_neighbour): return "no_neighbour";
    case REASON(to_controller): return "to_controller";
    case REASON(dropped_by_rule): return "dropped_by_rule";
    default: return "looping";
    }
}

static void drop(struct trace *t, uint32_t reason) { note(t, DROPS, "%s", name_of(reason)); }

static void follow_tunnel(struct trace *t, const struct op *op, const struct packet *p, const struct key *k,
                          const struct headers *h, int depth) {
    struct packet *copy = packet_copy(p);
    if (!copy)
        return;
    if (op->kind == OP_PUSH) {
        push_tunnel(t->s, op, copy, k, h);
        uint32_t to = copy->tunnel.dst;
        note(t, TUNNELS, "%u.%u.%u.%u", to >> 24, to >> 16 & 255, to >> 8 & 255, to & 255);
        trace_pass(t, PORT_LOCAL, copy, depth + 1);
    } else if (pop_tunnel(copy)) {
        trace_pass(t, PORT_TUNNEL, copy, depth + 1);
    } else {
        drop(t, REASON(no_port));
        packet_free(copy);
    }
}

static void trace_op(struct trace *t, const struct op *op, uint32_t in_port) {
    const struct pipeline *s = t->s;
    if (op->kind == OP_RULE)
        note(t, RULES, "%u", op->rule->id);
    else if (op->kind == OP_OUTPUT)
        note(t, PORTS, "%u", op->number);
    else if (op->kind == OP_CONTROLLER)
        note(t, PORTS, "CONTROLLER");
    else if (op->kind == OP_END && op->number != NOT_LEFT)
        drop(t, op->number);
    for (int i = 0; op->kind == OP_FLOOD && i < s->port_count; i++)
        if (s->ports[i] != in_port)
            note(t, PORTS, "%u", s->ports[i]);
}

/* Frees p. A bucket's changes are made to a copy: without one, what follows is not traced. */
static void trace_pass(struct trace *t, uint32_t in_port, struct packet *p, int depth) {
    struct key key;
    struct headers headers;
    struct program program;
    struct packet *saved[PROGRAM_MAX / 2];
    int saves = 0;
    if (depth == PASSES_MAX || (p->length < ETH_HEADER && !p->tunnel.on)) {
        drop(t, depth == PASSES_MAX ? REASON(looping) : REASON(malformed));
        packet_free(p);
        return;
    }
    key_of(p, in_port, depth > 0 && in_port == PORT_TUNNEL, &key, &headers);
    translate(t->s, &key, &program);
    for (const struct op *op = program.ops; op < program.ops + program.count && p; op++) {
        trace_op(t, op, in_port);
        if (op->kind == OP_SET) {
            packet_set(p, &headers, op->field, op->value);
        } else if (op->kind == OP_PUSH || op->kind == OP_POP) {
            follow_tunnel(t, op, p, &key, &headers, depth);
        } else if (op->kind == OP_SAVE) {
            saved[saves++] = p;
            p = packet_copy(p);
        } else if (op->kind == OP_RESTORE) {
            packet_free(p);
            p = saved[--saves];
        }
    }
    if (p)
        packet_free(p);
    while (saves)
        packet_free(saved[--saves]);
}

void trace_packet(struct pipeline *s, uint32_t in_port, struct packet *p, FILE *out) {
    static const char *const names[] = {[RULES] = "rules", [PORTS] = "output", [TUNNELS] = "tunnel", [DROPS] = "drop"};
    struct trace t = {.s = s};
    trace_pass(&t, in_port, p, 0);
    fputs("ok", out);
    for (int list = 0; list < LISTS; list++)
        if (*t.text[list])
            fprintf(out, " %s=%s", names[list], t.text[list]);
}
