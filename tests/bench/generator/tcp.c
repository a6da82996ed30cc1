/* Bulk TCP: as much as the connection takes; what counts is what the receiver got between warm-up and end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "generator.h"

#define CHUNK 65536
#define WAKE_AT 32768                  /* bytes for which a receiver is woken: fewer wake-ups for the same bytes */
#define CONNECT_SECONDS 10

static char zeros[CHUNK];

static void set_congestion(const struct flow *f, int fd) {
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, f->congestion, (socklen_t)strlen(f->congestion)))
        die(f->congestion, strerror(errno));
}

static int listen_for(struct flow *f) {
    int fd = new_socket(f, f->to, SOCK_STREAM, 0);
    set_option(f, fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_congestion(f, fd);
    if (bind(fd, (struct sockaddr *)&f->address, sizeof f->address) || listen(fd, 1))
        die(f->name, strerror(errno));
    return fd;
}

static void connect_to(struct flow *f) {
    struct timeval limit = {.tv_sec = CONNECT_SECONDS};
    int fd = f->send_socket = new_socket(f, f->from, SOCK_STREAM, 0);
    set_congestion(f, fd);
    set_option(f, fd, IPPROTO_IP, IP_TOS, (int)f->tos);
    set_option(f, fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, CHUNK);
    if (f->send_buffer)
        set_option(f, fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)f->send_buffer / 2);   /* the kernel doubles it */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&f->address, sizeof f->address))
        die(f->name, errno == EINPROGRESS ? "no connection within 10 s" : strerror(errno));
}

static void tcp_open(struct flow *f) {
    int listener = listen_for(f);
    connect_to(f);
    if ((f->receive_socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
        die(f->name, strerror(errno));
    close(listener);
    fcntl(f->send_socket, F_SETFL, O_NONBLOCK);
    set_option(f, f->receive_socket, SOL_SOCKET, SO_RCVLOWAT, WAKE_AT);
    watch(&f->sender, f->send_socket, 0);
    watch(&f->receiver, f->receive_socket, EPOLLIN);
}

static void tcp_due(struct flow *f) {
    f->next = NEVER;
    watch_again(&f->sender, f->send_socket, EPOLLOUT);
}

static void tcp_writable(struct flow *f) {
    if (clock_of(CLOCK_MONOTONIC) >= f->end) {
        watch_again(&f->sender, f->send_socket, 0);
        return;
    }
    while (send(f->send_socket, zeros, sizeof zeros, MSG_NOSIGNAL) > 0)
        ;
}

static void tcp_readable(struct flow *f) {
    ssize_t got = recv(f->receive_socket, NULL, 1 << 20, MSG_TRUNC);    /* thrown away without a copy */
    if (got > 0)
        f->bytes += (uint64_t)got;
}

static void tcp_report(const struct flow *f, FILE *out) {
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    getsockopt(f->send_socket, IPPROTO_TCP, TCP_INFO, &info, &length);
    fprintf(out, "\"bytes\": %lu, \"retransmitted\": %u, \"marked\": %u, \"cwnd\": %u, \"rtt_us\": %u, \"min_rtt_us\": %u",
            f->bytes_after - f->bytes_before, info.tcpi_total_retrans, info.tcpi_delivered_ce, info.tcpi_snd_cwnd,
            info.tcpi_rtt, info.tcpi_min_rtt);
}

const struct kind tcp = {"tcp", tcp_open, tcp_writable, tcp_readable, tcp_due, tcp_report};
