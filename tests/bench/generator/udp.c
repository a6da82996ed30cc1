/* UDP: paced, or as fast as the socket takes it. Each frame has a number and the time at which it was sent; the receiver
 * takes the kernel's stamp of its arrival, so that its own waking up is no latency. */
#include <errno.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "generator.h"

#define BATCH 64                       /* frames that a sender or a receiver takes in one turn */
#define RECEIVE_BUFFER (16 << 20)
#define SEND_BUFFER 212992             /* Linux's default, whatever this machine has been set to */

static char payload[FRAME_MAX];

static void udp_open(struct flow *f) {
    int in = f->receive_socket = new_socket(f, f->to, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    set_option(f, in, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    set_option(f, in, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set_option(f, in, IPPROTO_IP, IP_RECVTOS, 1);
    if (bind(in, (struct sockaddr *)&f->address, sizeof f->address))
        die(f->name, strerror(errno));
    int out = f->send_socket = new_socket(f, f->from, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    set_option(f, out, IPPROTO_IP, IP_TOS, (int)f->tos);
    set_option(f, out, IPPROTO_IP, IP_RECVERR, 1);      /* or a frame that the device refused would look sent */
    set_option(f, out, SOL_SOCKET, SO_SNDBUFFORCE, (int)(f->send_buffer ? f->send_buffer : SEND_BUFFER) / 2);
    if (connect(out, (struct sockaddr *)&f->address, sizeof f->address))
        die(f->name, strerror(errno));
    watch(&f->sender, out, 0);
    watch(&f->receiver, in, EPOLLIN);
}

bool may_send(const struct flow *f, ns_t now) { return now < f->end && (!f->count || f->sent < f->count); }

/* False: the socket has no room; epoll says when it has. */
static bool send_one(struct flow *f) {
    struct mark mark = {f->sent, clock_of(CLOCK_REALTIME)};
    memcpy(payload, &mark, sizeof mark);
    if (send(f->send_socket, payload, f->size - UDP_HEADERS, 0) >= 0) {
        f->sent++;
        return true;
    }
    if (errno == ENOBUFS) {
        f->refused++;
        return true;
    }
    if (errno != EAGAIN)
        die(f->name, strerror(errno));
    f->blocked++;
    f->waits_for_room = true;
    watch_again(&f->sender, f->send_socket, EPOLLOUT);
    return false;
}

/* A flow without a rate is always due. One that waited for room makes up for it: it keeps its mean rate. */
void send_when_due(struct flow *f) {
    ns_t now = clock_of(CLOCK_MONOTONIC);
    for (int i = 0; i < BATCH && f->next <= now && may_send(f, now); i++) {
        if (!send_one(f))
            return;
        f->next += f->interval;
    }
    if (!may_send(f, now))
        f->next = NEVER;
}

static void udp_writable(struct flow *f) {
    f->waits_for_room = false;
    watch_again(&f->sender, f->send_socket, 0);
    send_when_due(f);
}

ns_t stamp_of(struct msghdr *message, int *tos) {
    struct timespec t = {0};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
            memcpy(&t, CMSG_DATA(c), sizeof t);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
            *tos = *CMSG_DATA(c);
    }
    return (ns_t)t.tv_sec * SECOND + (ns_t)t.tv_nsec;
}

static void take(struct flow *f, const struct mark *mark, ns_t stamp, int tos) {
    if (f->received && mark->number == f->highest)
        f->duplicates++;
    else if (f->received && mark->number < f->highest)
        f->reordered++;
    f->highest = mark->number > f->highest ? mark->number : f->highest;
    f->received++;
    f->marked += (tos & 3) == 3;
    f->last = stamp;
    if (!f->first)
        f->first = stamp;
    samples_add(&f->times, (int64_t)(stamp - mark->sent));
}

static void udp_readable(struct flow *f) {
    static char control[BATCH][128];
    static struct mark marks[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr got[BATCH] = {0};
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){&marks[i], sizeof *marks};    /* the rest of the frame is not copied */
        got[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = control[i],
                                         .msg_controllen = sizeof *control};
    }
    int count = recvmmsg(f->receive_socket, got, BATCH, 0, NULL);
    for (int i = 0; i < count; i++) {
        int tos = 0;
        ns_t stamp = stamp_of(&got[i].msg_hdr, &tos);
        take(f, &marks[i], stamp, tos);
    }
}

static uint64_t socket_drops(int fd) {
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t length = sizeof info;
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length);
    return info[SK_MEMINFO_DROPS];
}

static void udp_report(const struct flow *f, FILE *out) {
    struct samples times = f->times;
    double seconds = (double)(f->last - f->first) / 1e9;
    fprintf(out, "\"sent\": %lu, \"refused\": %lu, \"blocked\": %lu, \"received\": %lu, \"reordered\": %lu, "
            "\"duplicates\": %lu, \"marked\": %lu, \"socket_drops\": %lu, \"rate\": %.0f, ", f->sent, f->refused, f->blocked,
            f->received, f->reordered, f->duplicates, f->marked, socket_drops(f->receive_socket),
            seconds > 0 ? (double)((f->received - 1) * f->size) * 8 / seconds : 0);
    samples_report(&times, "latency_us", out);
}

const struct kind udp = {"udp", udp_open, udp_writable, udp_readable, send_when_due, udp_report};
