/* Namespaces, sockets, and waiting for them. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "generator.h"

#define BATCH 64

static int poll_set = -1, home = -1;

_Noreturn void die(const char *what, const char *why) {
    fprintf(stderr, "generator: %s: %s\n", what, why);
    exit(1);
}

ns_t clock_of(int clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (ns_t)t.tv_sec * SECOND + (ns_t)t.tv_nsec;
}

void enter(const char *netns) {
    char path[96] = "/proc/self/ns/net";
    if (home < 0 && (home = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        die(path, strerror(errno));
    if (!netns) {
        if (setns(home, CLONE_NEWNET))
            die("its own namespace", strerror(errno));
        return;
    }
    snprintf(path, sizeof path, "/run/netns/%s", netns);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET))
        die(path, strerror(errno));
    close(there);
}

/* A socket belongs for life to the namespace in which it is made. */
int new_socket(struct flow *f, const char *netns, int type, int protocol) {
    enter(netns);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        die(f->name, strerror(errno));
    enter(NULL);
    return fd;
}

void set_option(const struct flow *f, int fd, int level, int name, int value) {
    if (setsockopt(fd, level, name, &value, sizeof value))
        die(f->name, strerror(errno));
}

static void control(int what, struct end *e, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = e};
    if (poll_set < 0 && (poll_set = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll", strerror(errno));
    if (epoll_ctl(poll_set, what, fd, &event))
        die(e->flow->name, strerror(errno));
}

void watch(struct end *e, int fd, uint32_t events) { control(EPOLL_CTL_ADD, e, fd, events); }

void watch_again(struct end *e, int fd, uint32_t events) { control(EPOLL_CTL_MOD, e, fd, events); }

int wait_ready(struct end **ready, uint32_t *events, int most, ns_t until) {
    struct epoll_event found[BATCH];
    ns_t now = clock_of(CLOCK_MONOTONIC), left = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / SECOND), .tv_nsec = (long)(left % SECOND)};
    int count = epoll_pwait2(poll_set, found, most < BATCH ? most : BATCH, &timeout, NULL);
    for (int i = 0; i < count; i++)
        ready[i] = found[i].data.ptr, events[i] = found[i].events;
    return count < 0 ? 0 : count;
}
