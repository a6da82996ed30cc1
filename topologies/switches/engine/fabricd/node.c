/* Nodes: where directions end. A switch is a pipeline, a host a device. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fabric.h"

struct fabric fabric;

static struct direction *by_port(const struct node *n, uint32_t port) {
    for (uint32_t i = 0; i < n->port_count; i++)
        if (n->ports[i]->from_port == port)
            return n->ports[i];
    return NULL;
}

static void emit(void *context, uint32_t port, struct packet *p, ns_t now) {
    struct node *n = context;
    struct direction *d = port < PORT_DIRECT ? n->direct[port] : by_port(n, port);
    if (!d) {
        packet_free(p);
        return;
    }
    n->switch_counts->out++;
    enqueue(d, p, now);
}

static bool is_live(void *context, uint32_t port) {
    const struct direction *d = by_port(context, port);
    return d && is_alive(d);
}

static void to_controller(void *context, uint32_t in_port, uint8_t reason, uint8_t table, uint64_t cookie, uint16_t most,
                          const struct packet *p) {
    static char hex[HEX_ROOM];
    put_hex(p, most, hex);
    say_event(context, "packet-in %s %" PRIu32 " %u %u %" PRIu64 " %" PRIu32 " %s", ((struct node *)context)->name, in_port,
              reason, table, cookie, wire_length(p), hex);
}

static struct node *add_node(const char *name) {
    struct node *n = calloc(1, sizeof *n);
    if (!n)
        die(1, "no memory for %s", name);
    snprintf(n->name, sizeof n->name, "%s", name);
    n->is_on = true;
    fabric.nodes[fabric.node_count++] = n;
    return n;
}

struct node *add_switch(const char *name) {
    static const struct pipeline_ops ops = {emit, to_controller, is_live};
    struct node *n = add_node(name);
    n->number = fabric.switch_count++;
    n->switch_counts = switch_counts(n->number);
    n->switch_counts->is_on = 1;
    n->pipeline = pipeline_new(n->name, &ops, n);
    return n;
}

struct node *add_host(const char *name, struct host *host) {
    struct node *n = add_node(name);
    n->number = fabric.host_count++;
    fabric.hosts[n->number] = n;
    n->host = host;
    n->host_counts = host_counts(n->number);
    return n;
}

struct node *find_node(const char *name) {
    for (uint32_t i = 0; i < fabric.node_count; i++)
        if (strcmp(fabric.nodes[i]->name, name) == 0)
            return fabric.nodes[i];
    return NULL;
}

struct direction *find_direction(const char *name) {
    const char *arrow = strstr(name, "->");
    size_t length = arrow ? (size_t)(arrow - name) : 0;
    for (uint32_t i = 0; arrow && i < fabric.direction_count; i++) {
        struct direction *d = fabric.directions[i];
        if (strncmp(d->from->name, name, length) == 0 && !d->from->name[length] && strcmp(d->to->name, arrow + 2) == 0)
            return d;
    }
    return NULL;
}

static struct direction *add_direction(struct node *from, uint32_t from_port, struct node *to, uint32_t to_port) {
    struct direction *d = calloc(1, sizeof *d);
    struct direction **ports = realloc(from->ports, (from->port_count + 1) * sizeof *ports);
    if (!d || !ports)
        die(1, "no memory for %s->%s", from->name, to->name);
    *d = (struct direction){.number = fabric.direction_count, .from = from, .to = to, .from_port = from_port,
                            .to_port = to_port, .rate = 1000000000, .is_cable_in = true, .is_way_open = true,
                            .chance = chance_seed(fabric.direction_count)};
    d->counts = direction_counts(d->number);
    for (int i = 0; i < QUEUES; i++) {
        d->queue[i].counts = &d->counts->queue[i];
        d->queue[i].limit = 1000000;
    }
    fabric.directions[fabric.direction_count++] = d;
    from->ports = ports;
    ports[from->port_count++] = d;
    if (from_port < PORT_DIRECT)
        from->direct[from_port] = d;
    if (from->pipeline)
        pipeline_add_port(from->pipeline, from_port);
    return d;
}

struct direction *connect_nodes(struct node *a, uint32_t a_port, struct node *b, uint32_t b_port) {
    struct direction *there = add_direction(a, a_port, b, b_port), *back = add_direction(b, b_port, a, a_port);
    there->reverse = back;
    back->reverse = there;
    return there;
}

bool has_port_direction(const struct node *n, uint32_t port) { return by_port(n, port) != NULL; }

void node_receive(struct direction *d, struct packet *p, ns_t t) {
    if (d->to->host) {
        host_write(d->to, p, t);
        return;
    }
    p->ingress = d->number;
    p->ingress_queue = p->queue;
    d->to->switch_counts->in++;
    pipeline_run(d->to->pipeline, d->to_port, p, t);
}

/* The near end of a direction has gained or lost its link. */
static void port_changed(struct direction *d) {
    d->counts->is_up = is_alive(d) && d->is_way_open;
    if (d->from->host) {
        host_set_carrier(d->from, is_alive(d));
    } else if (d->from->is_on) {
        pipeline_port_changed(d->from->pipeline, d->from_port);
        say_event(d->from, "port %s %" PRIu32 " %s", d->from->name, d->from_port, is_alive(d) ? "up" : "down");
    }
}

static void set_link(struct direction *d, ns_t t) {
    cut_off(d, t);
    cut_off(d->reverse, t);
    port_changed(d);
    port_changed(d->reverse);
    if (d->from->host)                 /* what it has sent meanwhile ends, or goes: nobody else would take it now */
        host_fill(d->from, t);
    if (d->to->host)
        host_fill(d->to, t);
}

void node_set_cable(struct direction *d, bool is_in, ns_t t) {
    if (d->is_cable_in == is_in)
        return;
    d->is_cable_in = d->reverse->is_cable_in = is_in;
    set_link(d, t);
}

void node_set_way(struct direction *d, bool is_open) {
    d->is_way_open = is_open;
    d->counts->is_up = is_alive(d) && is_open;
}

void node_set_power(struct node *n, bool is_on, ns_t t) {
    if (n->is_on == is_on)
        return;
    n->is_on = is_on;
    n->switch_counts->is_on = is_on;
    if (!is_on)
        pipeline_clear(n->pipeline);
    say_event(n, "power %s %s", n->name, is_on ? "on" : "off");
    for (uint32_t i = 0; i < n->port_count; i++)
        set_link(n->ports[i], t);
}

void node_refresh_counts(void) {
    for (uint32_t i = 0; i < fabric.node_count; i++)
        if (fabric.nodes[i]->pipeline)
            fabric.nodes[i]->switch_counts->pipeline = *pipeline_counts(fabric.nodes[i]->pipeline);
}
