/* A traffic generator: one process whose sockets stand in many network namespaces. main.c reads flows and runs them,
 * flow.c has what a line of input says, sockets.c namespaces and sockets, tcp.c, udp.c and echo.c the kinds of flows,
 * samples.c times and their quantiles. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define FLOWS_MAX 4096
#define FRAME_MAX 65535
#define SECOND 1000000000ull
#define UDP_HEADERS 42                 /* Ethernet 14, IPv4 20, UDP or ICMP 8 */
#define NEVER UINT64_MAX

typedef uint64_t ns_t;

struct samples {                       /* times in nanoseconds, as many as memory is given for */
    uint32_t *values;
    uint64_t count, room, left_out;
};

struct flow;

struct kind {
    const char *name;
    void (*open)(struct flow *f);
    void (*writable)(struct flow *f);  /* its sending socket has room again */
    void (*readable)(struct flow *f);
    void (*due)(struct flow *f);       /* its time to send has come */
    void (*report)(const struct flow *f, FILE *out);
};

struct end {                           /* what epoll knows a socket by */
    struct flow *flow;
    bool is_receiver;
};

struct flow {
    const struct kind *kind;
    char name[64], from[64], to[64];   /* from, to: network namespaces, as `ip netns` names them */
    struct sockaddr_in address;        /* where the receiver listens */
    double rate, start, until;         /* bit/s of frames, 0: as the socket takes it; seconds from the beginning */
    uint32_t size, tos, send_buffer;   /* size: bytes of a frame, without FCS */
    uint64_t count;                    /* frames, 0: no end */
    ns_t interval, next;               /* next: when it sends again; NEVER where it does not, or waits for room */
    ns_t end;
    char congestion[16];
    struct end sender, receiver;
    int send_socket, receive_socket;
    bool waits_for_room;
    uint64_t sent, refused, blocked;   /* refused: the device dropped it at once; blocked: times without room */
    uint64_t received, bytes, reordered, duplicates, marked, highest;
    uint64_t bytes_before, bytes_after;        /* received by the end of the warm-up, and by the end */
    ns_t first, last;                  /* kernel's time of the first and the last frame received */
    struct samples times;
};

extern const struct kind tcp, udp, echo;
extern struct flow flows[FLOWS_MAX];
extern int flow_count;

/* flow.c: false: `line` is none, and has been told of. */
bool read_flow(char *line, struct flow *f);

/* sockets.c. All exit with a sentence where the kernel refuses. */
void enter(const char *netns);         /* NULL: where the process began */
int new_socket(struct flow *f, const char *netns, int type, int protocol);
void set_option(const struct flow *f, int fd, int level, int name, int value);
void watch(struct end *e, int fd, uint32_t events);
void watch_again(struct end *e, int fd, uint32_t events);
int wait_ready(struct end **ready, uint32_t *events, int most, ns_t until);
ns_t clock_of(int clock);
_Noreturn void die(const char *what, const char *why);

/* udp.c, for echo.c as well: what the frames of a flow begin with behind their headers */
struct mark {
    uint64_t number, sent;             /* sent: CLOCK_REALTIME, nanoseconds */
};
ns_t stamp_of(struct msghdr *message, int *tos);       /* the kernel's time of a message; 0: none */
void send_when_due(struct flow *f);    /* calls send_one until nothing is due or there is no room */
bool may_send(const struct flow *f, ns_t now);

void samples_add(struct samples *s, int64_t nanoseconds);
void samples_report(struct samples *s, const char *name, FILE *out);

#endif
