#ifndef HOST_H
#define HOST_H

#include <net/if.h>

#include "fabric.h"

#define HOST_FILES QUEUES              /* queues of a TAP: one, two of a fast host, as many as its link's of a gated one */
/* What epoll says of a TAP: an odd number, so that it is no pointer. */
#define HOST_EVENT(host, queue) ((uint64_t)(host) << 8 | 16 | (uint64_t)(queue) << 1 | 1)

struct host {
    char *netns;
    char device[IFNAMSIZ];
    uint8_t mac[6];
    uint32_t mtu, ring;
    bool is_fast, is_gated, is_encapsulated;
    int file_count, files[HOST_FILES];
    bool is_readable[HOST_FILES];
    struct fifo waiting;               /* of a replay: what the device has to send */
    struct gate *gate;                 /* NULL: none */
};

/* Reads a frame of a TAP's queue and gives it to the link. False: there is none. */
bool host_read(struct node *n, int number, ns_t t);

/* gate.c */
void gate_open(struct node *n);        /* in its namespace. Exits with a sentence where the kernel has no such thing. */
void gate_fill(struct node *n, ns_t t);        /* reads what the card has room for; opens and closes gates */
bool is_kick(const struct packet *p);

#endif
