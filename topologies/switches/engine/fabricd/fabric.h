/* The fabric: nodes, and between them directions with their queues. Everything happens in virtual time, which follows
 * the clock; events at the edge, where hosts are, say how late they were. */
#ifndef FABRIC_H
#define FABRIC_H

#include "counters.h"
#include "packet.h"

#define NODES_MAX 4096
#define DIRECTIONS_MAX 16384
#define NAME_MAX_BYTES 63

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
    uint32_t port_count, port_room;
    struct direction **ports;          /* what leaves by each port; a host has port 0 */
    struct switch_counts *counts;
};

struct fabric {
    uint32_t node_count, direction_count, host_count, switch_count;
    struct node *nodes[NODES_MAX];
    struct direction *directions[DIRECTIONS_MAX];
    uint8_t queue_of_dscp[64];
    uint32_t largest;                  /* bytes that a frame takes on a link at most */
    uint64_t pool, seed;
    int realtime, cpu;
    ns_t slack, read_slack;
    ns_t now;                          /* virtual */
};
extern struct fabric fabric;

struct node *find_node(const char *name);
struct direction *find_direction(const char *name);        /* A->B */

static inline bool is_alive(const struct direction *d) { return d->is_cable_in && d->from->is_on && d->to->is_on; }

/* memory.c */
void memory_init(void);
void push(struct fifo *f, struct packet *p);
struct packet *pop(struct fifo *f);

/* events.c: one pending event of each kind a direction, by due time, and by the time at which a host could notice. */
void events_init(void);
void event_set(struct direction *d, enum event e, ns_t due, ns_t deadline);
void event_clear(struct direction *d, enum event e);
ns_t next_due(void), next_deadline(void);
void run_until(ns_t time);             /* all events due by then, in order */

/* link.c */
ns_t sending_time(const struct direction *d, uint64_t bytes);
void begin_sending(struct direction *d, ns_t t);           /* the next frame, if the link is free and one may go */
void on_sent(struct direction *d, ns_t t);
void on_arrival(struct direction *d, ns_t t);
void cut_off(struct direction *d, ns_t t);                 /* all that waits or flies ends; pauses are forgotten */
void drop_cut(struct direction *d, struct packet *p);
ns_t chance_seed(uint64_t number);

/* queue.c */
void enqueue(struct direction *d, struct packet *p, ns_t t);
struct packet *dequeue(struct direction *d, int q, ns_t t);
uint8_t queue_for(const struct packet *p);
bool mark_congestion(struct packet *p);                    /* false: it cannot be marked */
double draw(struct direction *d);

/* fair.c */
int choose_queue(struct direction *d, ns_t t, ns_t *again);        /* -1: none; again: when a share is there, or NEVER */
void became_busy(struct direction *d, struct queue *q);
void use_share(struct direction *d, struct queue *q, uint64_t bytes, ns_t t);

/* pfc.c */
void hold(struct packet *p, ns_t t);                       /* joins a queue of a switch: its ingress is charged */
void release(struct packet *p, ns_t t);                    /* leaves it */
bool is_lossless(const struct packet *p, bool *fits);      /* whether its ingress pauses instead of dropping */
bool is_pause(const struct packet *p);
void take_pause(struct direction *d, const struct packet *p, ns_t t);     /* a pause frame arrived by d */
void forget_pauses(struct direction *d, ns_t t);

/* node.c */
const char *add_switch(const char *name);                  /* NULL, or what is wrong */
const char *connect_nodes(struct node *a, uint32_t a_port, struct node *b, uint32_t b_port);
void node_receive(struct direction *d, struct packet *p, ns_t t);
void node_set_power(struct node *n, bool is_on, ns_t t);
void node_set_cable(struct direction *d, bool is_in, ns_t t);      /* both ways */
void node_set_way(struct direction *d, bool is_open, ns_t t);
void node_refresh_counts(void);
void carry_packet_in(struct node *n, uint32_t in_port, uint8_t reason, uint8_t table, uint64_t cookie, uint16_t most,
                     const struct packet *p);

/* host.c */
struct host *host_new(const char *netns, const char *device, const uint8_t mac[6], uint32_t mtu, uint32_t ring,
                      bool is_fast, bool is_encapsulated);
void host_open(struct node *n);                            /* makes the TAP. Exits with a sentence where that fails. */
void host_readable(struct node *n, int tap_queue, ns_t t);
void host_fill(struct node *n, ns_t t);                    /* its link is free: read what waits */
void host_write(struct node *n, struct packet *p, ns_t t);
void host_set_carrier(struct node *n, bool is_on);
void host_pause_changed(struct node *n, ns_t t);
uint32_t host_mtu(const struct host *h);
extern void (*host_sink)(struct node *n, struct packet *p, ns_t t);        /* of a replay, in place of TAPs */

/* config.c, control.c */
bool is_fabric_command(const char *name);
/* Answers with one line without newline. is_config: commands of the configuration alone are allowed. */
void fabric_command(int count, char **words, bool is_config, ns_t t, FILE *out);
void load_config(const char *path);                        /* exits with status 2 and a sentence */
void control_open(const char *path, int epoll);
void control_ready(uint32_t events, void *which);
void say_event(const struct node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
void capture_frame(struct direction *d, const struct packet *p, ns_t t);

/* replay.c */
int replay(const char *config);

ns_t clock_ns(void);
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
