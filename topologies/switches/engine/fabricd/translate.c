/* Rules and groups to a program: what Open vSwitch does with the same ones. */
#include "switch.h"
#include "vxlan.h"

#define GROUP_DEPTH 4                  /* groups that send to groups */

/* Reasons of a packet that goes to the controller, OpenFlow 1.5 */
#define TABLE_MISS 0
#define APPLY_ACTION 1
#define BY_GROUP 4
#define PACKET_OUT 5

struct translation {
    struct pipeline *s;
    struct key key;                    /* as the packet is by now */
    uint32_t in_port;
    struct program *program;
    const struct rule *rule;           /* whose actions these are; NULL: a packet-out's */
    int depth;                         /* of groups */
    int outputs;
    uint32_t reason;                   /* of the first output that came to nothing */
    bool to_controller, is_too_long;
};

static void add(struct translation *t, struct op op) {
    struct program *p = t->program;
    if (p->count == PROGRAM_MAX - 1)   /* one is kept for the end */
        t->is_too_long = true;
    else
        p->ops[p->count++] = op;
}

static void fail(struct translation *t, uint32_t reason) {
    if (t->reason == NOT_LEFT)
        t->reason = reason;
}

static void leave(struct translation *t, struct op op) {
    add(t, op);
    t->outputs++;
}

bool has_port(const struct pipeline *s, uint32_t port) {
    for (int i = 0; i < s->port_count; i++)
        if (s->ports[i] == port)
            return true;
    return false;
}

static int common_prefix(uint32_t a, uint32_t b) { return a == b ? 32 : __builtin_clz(a ^ b); }

/* Own address with the longest prefix in common with the remote one, the first of several. */
static int source_of(const struct pipeline *s, uint32_t remote) {
    int best = 0;
    for (int i = 1; i < s->vtep_count; i++)
        if (common_prefix(s->vteps[i].address, remote) > common_prefix(s->vteps[best].address, remote))
            best = i;
    return best;
}

static void encapsulate(struct translation *t) {
    struct pipeline *s = t->s;
    if (key_layers(&t->key) & LAYER_OUTER) {
        fail(t, REASON(looping));      /* there is room for one encapsulation */
        return;
    }
    uint32_t remote = key_get(&t->key, TUN_IPV4_DST);
    const struct endpoint *neighbour = find_neighbour(s, remote);
    if (!neighbour || s->vtep_count == 0) {
        fail(t, REASON(no_neighbour));
        return;
    }
    leave(t, (struct op){.kind = OP_PUSH, .field = source_of(s, remote), .number = neighbour - s->neighbours,
                         .value = key_get(&t->key, TUNNEL_ID)});
}

static void take_apart(struct translation *t) {
    const struct pipeline *s = t->s;
    bool is_vxlan = key_layers(&t->key) & LAYER_UDP && key_get(&t->key, UDP_DST) == VXLAN_UDP_PORT;
    for (int i = 0; is_vxlan && i < s->vtep_count; i++)
        if (s->vteps[i].address == key_get(&t->key, IPV4_DST) && load(s->vteps[i].mac, 6) == key_get(&t->key, ETH_DST)) {
            leave(t, (struct op){.kind = OP_POP});
            return;
        }
    fail(t, REASON(no_port));
}

static void run_tables(struct translation *t);

static void output(struct translation *t, uint32_t port) {
    if (port == PORT_IN)
        port = t->in_port;
    else if (port == t->in_port) {     /* a switch sends a packet back by IN_PORT only */
        fail(t, REASON(no_port));
        return;
    }
    if (port == PORT_TUNNEL)
        encapsulate(t);
    else if (port == PORT_LOCAL)
        take_apart(t);
    else if (port == PORT_TABLE && !t->rule)
        run_tables(t);
    else if ((port == PORT_FLOOD || port == PORT_ALL) && t->s->port_count > has_port(t->s, t->in_port))
        leave(t, (struct op){.kind = OP_FLOOD});
    else if (has_port(t->s, port))
        leave(t, (struct op){.kind = OP_OUTPUT, .number = port});
    else
        fail(t, REASON(no_port));
}

static bool has_layers(const struct translation *t, enum field f) {
    return (key_layers(&t->key) & fields[f].layer) == fields[f].layer;
}

static void set(struct translation *t, enum field f, uint64_t value) {
    bool is_fixed = f == UDP_DST && key_layers(&t->key) & LAYER_OUTER;     /* VXLAN's port is not in the metadata */
    if (!has_layers(t, f) || is_fixed)
        return;
    key_set(&t->key, f, value);
    if (fields[f].place != METADATA)
        add(t, (struct op){.kind = OP_SET, .field = f, .value = value});
}

static void to_controller(struct translation *t, uint16_t length) {
    uint8_t reason = !t->rule ? PACKET_OUT : t->depth ? BY_GROUP : t->rule->is_miss ? TABLE_MISS : APPLY_ACTION;
    add(t, (struct op){.kind = OP_CONTROLLER, .field = reason, .table = t->rule ? t->rule->table : 0, .number = length,
                       .value = t->rule ? t->rule->cookie : UINT64_MAX});
    t->to_controller = true;
}

static void to_group(struct translation *t, uint32_t id);

/* False: the TTL has run out, and what follows in the list is not done. */
static bool apply(struct translation *t, const struct action *list, int count) {
    for (const struct action *a = list; a < list + count; a++) {
        switch (a->kind) {
        case OUTPUT: output(t, a->number); break;
        case GROUP: to_group(t, a->number); break;
        case SET: set(t, a->field, a->value); break;
        case COPY:
            if (has_layers(t, a->from))
                set(t, a->field, key_get(&t->key, a->from));
            break;
        case DEC_TTL:
            if (!(key_layers(&t->key) & LAYER_IPV4))
                break;
            if (key_get(&t->key, NW_TTL) <= 1) {
                fail(t, REASON(expired));
                return false;
            }
            set(t, NW_TTL, key_get(&t->key, NW_TTL) - 1);
            break;
        case CONTROLLER: to_controller(t, a->length); break;
        }
    }
    return true;
}

/* What a bucket changes is changed for the bucket alone. */
static void run_bucket(struct translation *t, const struct bucket *b) {
    struct key before = t->key;
    add(t, (struct op){.kind = OP_SAVE});
    t->depth++;
    apply(t, b->actions, b->action_count);
    t->depth--;
    add(t, (struct op){.kind = OP_RESTORE});
    t->key = before;
}

static void to_group(struct translation *t, uint32_t id) {
    struct group *g = group_find(&t->s->groups, id);
    if (t->depth == GROUP_DEPTH) {
        fail(t, REASON(looping));
        return;
    }
    bool takes_all = g && (g->type == GROUP_ALL || g->type == INDIRECT);
    struct bucket *chosen = g && !takes_all ? group_choose(g, t->s, &t->key) : NULL;
    if (!chosen && !takes_all) {
        fail(t, REASON(no_bucket));
        return;
    }
    add(t, (struct op){.kind = OP_GROUP, .group = g});
    for (struct bucket *b = g->buckets; b < g->buckets + g->bucket_count; b++)
        if (takes_all || b == chosen) {
            add(t, (struct op){.kind = OP_BUCKET, .bucket = b});
            run_bucket(t, b);
        }
}

static void run_tables(struct translation *t) {
    for (int table = 0; table != NO_TABLE; table = t->rule->next_table) {
        const struct rule *r = classifier_lookup(&t->s->rules, table, &t->key);
        if (!r) {
            fail(t, REASON(no_match));
            return;
        }
        add(t, (struct op){.kind = OP_RULE, .rule = (struct rule *)r});
        t->rule = r;
        if (!apply(t, r->actions, r->action_count))
            return;
    }
}

/* From behind: the last use of a packet takes the packet itself, and a copy whose original nobody uses is not made. */
static void save_copies(struct program *p) {
    bool is_used = false, outside[GROUP_DEPTH + 1];
    int depth = 0;
    for (struct op *op = p->ops + p->count - 1; op >= p->ops; op--) {
        switch (op->kind) {
        case OP_OUTPUT: case OP_FLOOD: case OP_PUSH: case OP_POP:
            op->last = !is_used;
            is_used = true;
            break;
        case OP_CONTROLLER:
            is_used = true;
            break;
        case OP_RESTORE:
            outside[depth++] = is_used;
            op->kind = is_used ? OP_RESTORE : OP_SKIP;
            is_used = false;
            break;
        case OP_SAVE:
            op->kind = outside[--depth] ? OP_SAVE : OP_SKIP;
            is_used |= outside[depth];
            break;
        }
    }
}

static void end(struct translation *t) {
    struct program *p = t->program;
    uint32_t reason = NOT_LEFT;
    if (t->is_too_long) {
        p->count = 0;
        reason = REASON(looping);
    } else if (t->outputs == 0) {
        reason = t->reason != NOT_LEFT ? t->reason
               : t->to_controller ? REASON(to_controller) : REASON(dropped_by_rule);
    }
    save_copies(p);
    p->ops[p->count++] = (struct op){.kind = OP_END, .number = reason};
}

static struct translation begin(struct pipeline *s, const struct key *k, struct program *program) {
    program->count = 0;
    return (struct translation){.s = s, .key = *k, .in_port = key_get(k, IN_PORT), .program = program,
                                .reason = NOT_LEFT};
}

void translate(struct pipeline *s, const struct key *k, struct program *program) {
    struct translation t = begin(s, k, program);
    run_tables(&t);
    end(&t);
}

void translate_packet_out(struct pipeline *s, const struct key *k, const struct actions *actions,
                          struct program *program) {
    struct translation t = begin(s, k, program);
    apply(&t, actions->list, actions->count);
    end(&t);
}
