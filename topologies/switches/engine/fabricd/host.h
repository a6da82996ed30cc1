#ifndef HOST_H
#define HOST_H

#include <net/if.h>

#include "fabric.h"

#define HOST_FILES 2                   /* queues of a TAP */
/* What epoll says of a TAP: an odd number, so that it is no pointer. */
#define HOST_EVENT(host, queue) ((uint64_t)(host) << 8 | 8 | (uint64_t)(queue) << 1 | 1)

struct host {
    char *netns;
    char device[IFNAMSIZ];
    uint8_t mac[6];
    uint32_t mtu, ring;
    bool is_fast, is_encapsulated;
    int file_count, files[HOST_FILES];
    bool is_readable[HOST_FILES];
    struct fifo waiting;               /* of a replay: what the device has to send */
};

#endif
