/* Packets: a pool that is made once, so that nothing is allocated on the way. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fabric.h"

static struct packet *free_packets;
static char *unused;                   /* of the pool: memory is touched when it is needed for the first time */
static uint64_t unused_count;
static uint32_t room, stride;

void memory_init(void) {
    room = (fabric.largest + 64 + 63) / 64 * 64;           /* frames of calibration are some bytes larger */
    stride = (sizeof(struct packet) + HEADROOM + room + 63) / 64 * 64;
    unused_count = engine->pool = fabric.pool;
    unused = mmap(NULL, fabric.pool * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (unused == MAP_FAILED)
        die(1, "no memory for %llu packets of %u bytes: %s", (unsigned long long)fabric.pool, stride, strerror(errno));
}

struct packet *packet_new(void) {
    struct packet *p = free_packets;
    if (p) {
        free_packets = p->next;
    } else if (unused_count) {
        unused_count--;
        p = (struct packet *)unused;
        unused += stride;
    } else {
        engine->pool_empty++;
        return NULL;
    }
    if (++engine->pool_used > engine->pool_high)
        engine->pool_high = engine->pool_used;
    *p = (struct packet){.ingress = NO_DIRECTION, .frame = (uint8_t *)(p + 1) + HEADROOM};
    return p;
}

struct packet *packet_copy(const struct packet *p) {
    struct packet *copy = packet_new();
    if (!copy)
        return NULL;
    uint8_t *frame = copy->frame;
    *copy = *p;
    copy->next = NULL;
    copy->frame = memcpy(frame, p->frame, p->length);
    engine->copies++;
    return copy;
}

void packet_free(struct packet *p) {
    p->next = free_packets;
    free_packets = p;
    engine->pool_used--;
}

uint32_t packet_room(void) { return room; }

void push(struct fifo *f, struct packet *p) {
    p->next = NULL;
    if (f->tail)
        f->tail->next = p;
    else
        f->head = p;
    f->tail = p;
}

struct packet *pop(struct fifo *f) {
    struct packet *p = f->head;
    f->head = p->next;
    if (!f->head)
        f->tail = NULL;
    return p;
}
