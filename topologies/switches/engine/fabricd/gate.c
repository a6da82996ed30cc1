/* Gates: how a pause, or a link that two queues share, holds a host's own sockets. Each queue of the card is a queue of
 * the TAP with a token bucket before it. When a queue of the card is full, its bucket gets almost no rate: what the host
 * sends waits in its socket's account, as behind a network card. The other queues go on.
 *
 * A bucket that is changed does not look again until the time that it has computed by its old rate. A frame that comes
 * to it makes it look: the kick, which ends here. */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "key.h"

#define FULL 4                         /* largest frames in a card's queue, in bytes, at which its gate closes */
#define FREE 2                         /* and at which it opens */
#define SHUT 2                         /* bytes a second that pass a closed gate; 0 would be no bucket */
#define BACKLOG 4000000                /* bytes that wait in a bucket: more than sockets have room for */
#define KICK_TYPE 0x88b6               /* for experiments (IEEE 802) */
#define ETH_HEADER 14

struct gate {
    int netlink, kicker, device;
    uint64_t rate;                     /* bit/s that open gates let through */
    uint8_t closed;                    /* queues, a bit each */
    uint8_t tos[QUEUES];               /* of a kick, so that it goes to this queue */
};

struct request {
    struct nlmsghdr head;
    struct tcmsg body;
    char room[256];
};

static struct rtattr *add(struct request *r, unsigned short type, const void *data, size_t size) {
    struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(a), data, size);
    r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
    return a;
}

/* Returns the kernel's errno. */
static int ask(const struct gate *g, struct request *r) {
    struct { struct nlmsghdr head; struct nlmsgerr error; char rest[256]; } answer;
    if (send(g->netlink, r, r->head.nlmsg_len, 0) < 0 || recv(g->netlink, &answer, sizeof answer, 0) < 0)
        return errno;
    return -answer.error.error;
}

static struct request discipline(const struct gate *g, uint32_t parent, uint32_t handle, const char *kind) {
    struct request r = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof r.body), .nlmsg_type = RTM_NEWQDISC,
                                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE},
                        .body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = g->device, .tcm_parent = parent,
                                 .tcm_handle = handle}};
    add(&r, TCA_KIND, kind, strlen(kind) + 1);
    return r;
}

static int set_bucket(const struct node *n, int q, uint64_t bytes_a_second) {
    const struct gate *g = n->host->gate;
    uint32_t burst = n->host->mtu + HEADROOM;
    struct tc_tbf_qopt options = {.rate = {.linklayer = TC_LINKLAYER_ETHERNET, .rate = (uint32_t)bytes_a_second},
                                  .limit = BACKLOG};
    struct request r = discipline(g, TC_H_MAKE(1u << 16, (uint32_t)q + 1), (uint32_t)(16 + q) << 16, "tbf");
    if (bytes_a_second >= UINT32_MAX)
        options.rate.rate = UINT32_MAX;
    struct rtattr *all = add(&r, TCA_OPTIONS, NULL, 0);
    add(&r, TCA_TBF_PARMS, &options, sizeof options);
    add(&r, TCA_TBF_BURST, &burst, sizeof burst);
    add(&r, TCA_TBF_RATE64, &bytes_a_second, sizeof bytes_a_second);
    all->rta_len = (unsigned short)((char *)&r + r.head.nlmsg_len - (char *)all);
    return ask(g, &r);
}

static int send_frames_one_by_one(const struct gate *g) {
    struct { struct nlmsghdr head; struct ifinfomsg body; } start = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof start.body), .nlmsg_type = RTM_NEWLINK,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}, .body = {.ifi_index = g->device}};
    struct request r = {0};
    uint32_t one = 1;
    memcpy(&r, &start, sizeof start);
    add(&r, IFLA_GSO_MAX_SEGS, &one, sizeof one);
    return ask(g, &r);
}

static uint64_t open_rate(const struct gate *g) { return g->rate / 8 ? g->rate / 8 : 1; }

void gate_open(struct node *n) {
    struct gate *g = n->host->gate = calloc(1, sizeof *g);
    if (!g)
        die(1, "host %s: no memory", n->name);
    g->device = (int)if_nametoindex(n->host->device);
    g->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    g->kicker = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);      /* receives nothing */
    g->rate = n->ports[0]->rate;
    for (int i = 63; i >= 0; i--)
        g->tos[fabric.queue_of_dscp[i]] = (uint8_t)(i << 2);
    struct request root = discipline(g, TC_H_ROOT, 1u << 16, "mq");
    int error = g->netlink < 0 || g->kicker < 0 ? errno : send_frames_one_by_one(g);
    if (!error)
        error = ask(g, &root);
    for (int q = 0; !error && q < n->host->file_count; q++)
        error = set_bucket(n, q, open_rate(g));
    if (error)
        die(1, "host %s: gates of %s: %s%s", n->name, n->host->device, strerror(error),
            error == ENOENT ? "; does this kernel have sch_tbf?" : "");
}

static void kick(const struct node *n, int q) {
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = n->host->gate->device};
    uint8_t frame[60] = {0};
    store(frame + ETH_HEADER - 2, 2, KICK_TYPE);
    frame[ETH_HEADER + 1] = n->host->gate->tos[q];
    sendto(n->host->gate->kicker, frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to);
}

bool is_kick(const struct packet *p) { return load(p->frame + ETH_HEADER - 2, 2) == KICK_TYPE; }

static void set_gate(struct node *n, int q, bool is_closed) {
    struct gate *g = n->host->gate;
    if (set_bucket(n, q, is_closed ? SHUT : open_rate(g)))
        return;                        /* the device is going: nothing is held, nothing kicked */
    g->closed = (uint8_t)(is_closed ? g->closed | 1u << q : g->closed & ~(1u << q));
    if (is_closed)
        n->host_counts->gated++;
    else
        kick(n, q);
}

/* The link has another rate: open gates follow. */
static void follow_rate(struct node *n) {
    struct gate *g = n->host->gate;
    g->rate = n->ports[0]->rate;
    for (int q = 0; q < n->host->file_count; q++)
        if (!(g->closed >> q & 1))
            set_gate(n, q, false);
}

void gate_fill(struct node *n, ns_t t) {
    struct direction *d = n->ports[0];
    struct gate *g = n->host->gate;
    uint64_t frame = n->host->mtu + ETH_HEADER;
    if (g->rate != d->rate)
        follow_rate(n);
    for (int q = 0; q < n->host->file_count; q++) {
        const uint64_t *held = &d->queue[q].counts->bytes;
        while (n->host->is_readable[q] && *held < FULL * frame && host_read(n, q, t))
            ;
        bool is_closed = g->closed >> q & 1;
        if (is_closed ? *held <= FREE * frame : *held >= FULL * frame)
            set_gate(n, q, !is_closed);
    }
}
