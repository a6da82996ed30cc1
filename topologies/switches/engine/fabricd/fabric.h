/* The fabric: nodes, and between them directions with their queues. Everything happens in virtual time, which follows
 * the clock; events at the edge, where hosts are, say how late they were. */
#ifndef FABRIC_H
#define FABRIC_H

#include <stdio.h>

#include "counters.h"
#include "packet.h"

#define NODES_MAX 4096
#define DIRECTIONS_MAX 16384
#define NAME_MAX_BYTES 63
#define PORT_DIRECT 1024              /* ports below are found without a search */

struct fifo {
    struct packet *head, *tail;
};

struct queue {
    struct fifo waiting;
    uint64_t limit;                    /* bytes */
    int level;
    double min, max;                   /* shares of the rate; 0: none */
    uint64_t kmin, kmax;
    double pmax;
    uint64_t xoff, xon, headroom;      /* of the receiving switch, for what came by this direction in this queue */
    bool is_beside;
    bool is_paused, has_paused;        /* the receiver stopped this queue; has asked for it */
    ns_t paused_at;
    uint64_t held;                     /* bytes that wait in the receiving switch and came by here */
    ns_t min_clock, max_clock;         /* when its share is used up to (fair.c) */
    uint64_t turn;                     /* start tag of its next frame, in bytes (fair.c) */
    struct queue_counts *counts;
};

enum event { SENT, ARRIVES, SHARE, EVENTS };

struct direction {
    uint32_t number;
    char *link;                        /* the name of its cable */
    struct node *from, *to;
    uint32_t from_port, to_port;
    struct direction *reverse;
    uint64_t rate;                     /* bit/s */
    ns_t delay, jitter;
    double loss, bit_errors, duplicate, reorder;
    bool is_cable_in, is_way_open;
    uint64_t chance;                   /* state of its generator */
    struct packet *sending;
    struct fifo control, flying;       /* pause frames; on their way, in the order in which they arrive */
    ns_t last_arrival;
    uint64_t turn;                     /* start tag of the frame that was begun last */
    uint8_t busy;                      /* queues with packets, a bit each */
    struct capture *captures;
    struct queue queue[QUEUES];
    struct direction_counts *counts;
};

struct node {
    char name[NAME_MAX_BYTES + 1];
    uint32_t number;                   /* among hosts, or among switches */
    struct pipeline *pipeline;         /* NULL: a host */
    struct host *host;                 /* NULL: a switch */
    bool is_on;
    uint32_t port_count;
    struct direction **ports;          /* what leaves by each port; a host has port 0 */
    struct direction *direct[PORT_DIRECT];     /* the same by number */
    union {
        struct switch_counts *switch_counts;
        struct host_counts *host_counts;
    };
};

struct fabric {
    uint32_t node_count, direction_count, host_count, switch_count;
    struct node *nodes[NODES_MAX], *hosts[NODES_MAX];
    struct direction *directions[DIRECTIONS_MAX];
    uint8_t queue_of_dscp[64];
    uint32_t largest;                  /* bytes that a frame takes on a link at most */
    uint64_t edge_rate;                /* bit/s of the fastest link to a host */
    uint64_t pool, seed;
    int realtime, cpu;
    ns_t slack, read_slack;
    ns_t now;                          /* virtual */
};
extern struct fabric fabric;

static inline bool is_alive(const struct direction *d) { return d->is_cable_in && d->from->is_on && d->to->is_on; }

/* memory.c */
void memory_init(void);
void push(struct fifo *f, struct packet *p);
struct packet *pop(struct fifo *f);

/* events.c: one pending event of each kind a direction, by due time, and by the time at which a host could notice. */
void event_set(struct direction *d, enum event e, ns_t due, ns_t deadline);
void event_clear(struct direction *d, enum event e);
ns_t next_due(void), next_deadline(void);
void run_until(ns_t time);             /* all events due by then, in order */

/* link.c */
ns_t sending_time(const struct direction *d, uint64_t bytes);
void begin_sending(struct direction *d, ns_t t);           /* the next frame, if the link is free and one may go */
void on_sent(struct direction *d, ns_t t);
void on_arrival(struct direction *d, ns_t t);
void pass_beside(struct direction *d, struct packet *p, ns_t t);   /* takes no bandwidth, never waits */
void cut_off(struct direction *d, ns_t t);                 /* all that waits or flies ends; pauses are forgotten */

/* queue.c */
void enqueue(struct direction *d, struct packet *p, ns_t t);
struct packet *dequeue(struct direction *d, int q, ns_t t);
uint8_t queue_for(const struct packet *p);
bool mark_congestion(struct packet *p);                    /* false: it cannot be marked */
double draw(struct direction *d);
uint64_t chance_seed(uint64_t number);
/* Ends a packet, and counts it. */
void drop(struct direction *d, struct packet *p, uint64_t *counter, const char *reason);
extern void (*on_drop)(const struct direction *d, int queue, const struct packet *p, const char *reason);

/* fair.c */
int choose_queue(struct direction *d, ns_t t, ns_t *again);        /* -1: none; again: when a share is there, or NEVER */
void became_busy(struct direction *d, struct queue *q);
void use_share(struct direction *d, struct queue *q, uint64_t bytes, ns_t t);

/* pfc.c */
void hold(struct packet *p, ns_t t);                       /* joins a queue of a switch: its ingress is charged */
void release(struct packet *p, ns_t t);                    /* leaves it */
bool is_lossless(const struct packet *p);                  /* whether its ingress pauses instead of dropping */
bool fits_headroom(const struct packet *p);
void pause_settings_changed(struct direction *d, int queue, ns_t t);
bool is_pause(const struct packet *p);
void take_pause(struct direction *d, const struct packet *p, ns_t t);     /* a pause frame arrived by d */
void forget_pauses(struct direction *d, ns_t t);

/* node.c. Callers have checked that there is room, and that names and ports are free. */
struct node *add_switch(const char *name);
struct node *add_host(const char *name, struct host *host);
struct node *find_node(const char *name);                  /* NULL: none */
struct direction *find_direction(const char *name);        /* A->B; NULL: none */
struct direction *connect_nodes(struct node *a, uint32_t a_port, struct node *b, uint32_t b_port);     /* a to b */
bool has_port_direction(const struct node *n, uint32_t port);
void node_receive(struct direction *d, struct packet *p, ns_t t);
void node_set_power(struct node *n, bool is_on, ns_t t);
void node_set_cable(struct direction *d, bool is_in, ns_t t);      /* both ways */
void node_set_way(struct direction *d, bool is_open);
void node_refresh_counts(void);        /* of pipelines, to the file */

/* host.c */
void host_open(struct node *n, int epoll);                 /* makes the TAP. Exits with a sentence where that fails. */
void host_ready(uint64_t event, ns_t t);                   /* what epoll said of a TAP */
void host_link_free(struct node *n, ns_t t);               /* its frame has left */
void host_fill(struct node *n, ns_t t);                    /* reads what its link can take */
void host_write(struct node *n, struct packet *p, ns_t t);
void host_set_carrier(struct node *n, bool is_on);
extern void (*host_sink)(struct node *n, const struct packet *p, ns_t t);  /* of a replay, in place of devices */

/* config.c */
/* Makes the fabric, the counters and the pool of packets. Exits with status 2 and a sentence if it cannot. */
void load_config(const char *path, const char *counters);
/* One command (docs/engine.md), cut into words; the answer, one line without newline, goes to out. */
void fabric_command(int count, char **words, bool is_config, ns_t t, FILE *out);
int split(char *line, char **words, int most);

/* control.c */
void control_open(const char *path, int epoll);
void control_ready(uint32_t events, void *which);
void say_event(const struct node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* capture.c */
#define HEX_ROOM (2 * (VXLAN_OVERHEAD + UINT16_MAX) + 1)
void capture_frame(struct direction *d, const struct packet *p, ns_t t);
/* The first bytes of a packet, as it is on a link, in hexadecimal; how many digits. */
uint32_t put_hex(const struct packet *p, uint64_t most, char *hex);

/* replay.c */
int replay(void);

ns_t clock_ns(void);
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
