/* Round trips: ICMP echo requests, answered by the other host's kernel. */
#include <errno.h>
#include <linux/icmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "generator.h"

static uint16_t checksum(const uint8_t *bytes, size_t length) {
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static void echo_open(struct flow *f) {
    struct icmp_filter filter = {.data = ~(1u << ICMP_ECHOREPLY)};
    int fd = f->send_socket = f->receive_socket = new_socket(f, f->from, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_ICMP);
    setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
    set_option(f, fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set_option(f, fd, IPPROTO_IP, IP_TOS, (int)f->tos);
    if (connect(fd, (struct sockaddr *)&f->address, sizeof f->address))
        die(f->name, strerror(errno));
    watch(&f->receiver, fd, EPOLLIN);
}

static uint16_t identifier(const struct flow *f) { return (uint16_t)((getpid() << 6) ^ (f - flows)); }

static void send_request(struct flow *f) {
    static uint8_t frame[FRAME_MAX];
    struct icmphdr head = {.type = ICMP_ECHO, .un.echo = {.id = identifier(f), .sequence = htons((uint16_t)f->sent)}};
    size_t length = f->size - (UDP_HEADERS - sizeof head);
    memcpy(frame, &head, sizeof head);
    struct mark mark = {f->sent, clock_of(CLOCK_REALTIME)};
    memcpy(frame + sizeof head, &mark, sizeof mark);
    head.checksum = checksum(frame, length);
    memcpy(frame, &head, sizeof head);
    if (send(f->send_socket, frame, length, 0) >= 0)
        f->sent++;
    else
        f->refused++;
}

/* One at a time: behind the processor's back nothing is made up for. */
static void echo_due(struct flow *f) {
    ns_t now = clock_of(CLOCK_MONOTONIC);
    if (!may_send(f, now)) {
        f->next = NEVER;
        return;
    }
    send_request(f);
    f->next = f->next + f->interval > now ? f->next + f->interval : now + f->interval;
}

static void echo_readable(struct flow *f) {
    uint8_t frame[128];
    char control[128];
    for (;;) {
        int tos = 0;
        struct iovec part = {frame, sizeof frame};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(f->receive_socket, &message, 0);
        struct icmphdr head;
        struct mark mark;
        size_t outer = got > 0 ? (frame[0] & 15u) * 4 : 0;      /* a raw socket gets the IP header too */
        if (got < (ssize_t)(outer + sizeof head + sizeof mark))
            return;
        memcpy(&head, frame + outer, sizeof head);
        memcpy(&mark, frame + outer + sizeof head, sizeof mark);
        if (head.un.echo.id != identifier(f))
            continue;
        f->received++;
        samples_add(&f->times, (int64_t)(stamp_of(&message, &tos) - mark.sent));
    }
}

static void echo_writable(struct flow *f) { (void)f; }

static void echo_report(const struct flow *f, FILE *out) {
    struct samples times = f->times;
    fprintf(out, "\"sent\": %lu, \"refused\": %lu, \"received\": %lu, ", f->sent, f->refused, f->received);
    samples_report(&times, "rtt_us", out);
}

const struct kind echo = {"echo", echo_open, echo_writable, echo_readable, echo_due, echo_report};
