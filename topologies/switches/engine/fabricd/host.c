/* Hosts: TAP devices in their namespaces. The ring of the device is the queue of the host's network card: a frame is read
 * when the link is free to take it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fabric.h"
#include "host.h"
#include "vxlan.h"

#define SHORTEST 60                    /* bytes of an Ethernet frame without FCS */
#define TOS_AT 15                      /* of an IPv4 header, in a frame */
#define SHORT_FRAME 128                /* frames up to this size have a queue of their own in a fast host */
#define PAUSED_MOST 4                  /* frames that a paused queue of a card takes in */

void (*host_sink)(struct node *n, const struct packet *p, ns_t t);
static int epoll;

static _Noreturn void failed(const struct node *n, const char *what) {
    die(1, "host %s: %s of %s: %s", n->name, what, n->host->device, strerror(errno));
}

static int load_program(const struct bpf_insn *steps, size_t count) {
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uintptr_t)steps, .insn_cnt = count,
                           .license = (uintptr_t) "GPL"};
    return syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
}

/* Chooses a TAP queue by length: 1 for short frames, so that an acknowledgement does not wait behind the bulk. */
static int by_length(void) {
    static int program = -1;
    static const struct bpf_insn steps[] = {
        {BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0},               /* r2 = length, the first word of the context */
        {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
        {BPF_JMP | BPF_JGT | BPF_K, 2, 0, 1, SHORT_FRAME},
        {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1},
        {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
    };
    if (program < 0)
        program = load_program(steps, sizeof steps / sizeof *steps);
    return program;
}

/* Chooses a TAP queue by DSCP, as the link chooses its own. What is no IPv4 goes wherever that byte of it leads. */
static int by_dscp(void) {
    static int program = -1;
    struct bpf_insn steps[4 + 3 * 64 + 2] = {
        {BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0},             /* r6 = context, as loads of bytes want it */
        {BPF_LD | BPF_ABS | BPF_B, 0, 0, 0, TOS_AT},
        {BPF_ALU64 | BPF_RSH | BPF_K, 0, 0, 0, 2},
    };
    size_t count = 3;
    if (program >= 0)
        return program;
    for (int dscp = 0; dscp < 64; dscp++) {
        if (!fabric.queue_of_dscp[dscp])
            continue;
        steps[count++] = (struct bpf_insn){BPF_JMP | BPF_JNE | BPF_K, 0, 0, 2, dscp};
        steps[count++] = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, fabric.queue_of_dscp[dscp]};
        steps[count++] = (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
    }
    steps[count++] = (struct bpf_insn){BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0};
    steps[count++] = (struct bpf_insn){BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
    program = load_program(steps, count);
    return program;
}

static void open_queue(struct node *n, int number, short flags) {
    struct host *h = n->host;
    struct ifreq request = {.ifr_flags = flags};
    int file = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    memcpy(request.ifr_name, h->device, sizeof request.ifr_name);
    if (file < 0 || ioctl(file, TUNSETIFF, &request) < 0)
        failed(n, "making");
    h->files[number] = file;
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = HOST_EVENT(n->number, number)};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, file, &e) < 0)
        failed(n, "waiting for frames");
}

static void set_device(struct node *n) {
    struct host *h = n->host;
    struct ifreq request = {0};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(request.ifr_name, h->device, sizeof request.ifr_name);
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, h->mac, 6);
    if (s < 0 || ioctl(s, SIOCSIFHWADDR, &request) < 0)
        failed(n, "MAC address");
    request.ifr_mtu = h->mtu;
    if (ioctl(s, SIOCSIFMTU, &request) < 0)
        failed(n, "MTU");
    request.ifr_qlen = h->ring;
    if (ioctl(s, SIOCSIFTXQLEN, &request) < 0)
        failed(n, "ring");
    close(s);
}

static int queues_in_use(void) {
    int most = 0;
    for (int i = 0; i < 64; i++)
        if (fabric.queue_of_dscp[i] > most)
            most = fabric.queue_of_dscp[i];
    return most + 1;
}

void host_open(struct node *n, int epoll_file) {
    struct host *h = n->host;
    int namespace = open(h->netns, O_RDONLY | O_CLOEXEC);
    epoll = epoll_file;
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0)
        die(1, "host %s: namespace %s: %s", n->name, h->netns, strerror(errno));
    close(namespace);
    int program = h->is_gated ? by_dscp() : h->is_fast ? by_length() : -1;
    if (h->is_gated && program < 0)
        failed(n, "choice of queues");
    h->file_count = h->is_gated ? queues_in_use() : program >= 0 ? 2 : 1;
    bool is_many = h->is_gated || h->file_count > 1;
    for (int i = 0; i < h->file_count; i++)
        open_queue(n, i, IFF_TAP | IFF_NO_PI | (is_many ? IFF_MULTI_QUEUE : 0));
    if (is_many && ioctl(h->files[0], TUNSETSTEERINGEBPF, &program) < 0)
        failed(n, "choice of queues");
    set_device(n);
    if (h->is_gated)
        gate_open(n);
    if (!is_alive(n->ports[0]))
        host_set_carrier(n, false);
}

static void wait_for_frames(const struct node *n, int number) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = HOST_EVENT(n->number, number)};
    epoll_ctl(epoll, EPOLL_CTL_MOD, n->host->files[number], &e);
}

static struct packet *read_tap(struct node *n, int number) {
    struct host *h = n->host;
    struct packet *p = packet_new();
    ssize_t length = p ? read(h->files[number], p->frame, packet_room()) : -1;
    engine->reads++;
    if (length < 0) {                  /* nothing there, or no packet free: then it is asked again at once */
        if (p)
            packet_free(p);
        h->is_readable[number] = false;
        wait_for_frames(n, number);
        return NULL;
    }
    for (p->length = length; p->length < SHORTEST; p->length++)
        p->frame[p->length] = 0;
    return p;
}

static struct packet *next_frame(struct node *n) {
    struct host *h = n->host;
    struct packet *p = NULL;
    if (h->waiting.head)
        p = pop(&h->waiting);
    for (int i = h->file_count - 1; !p && i >= 0; i--)         /* short ones first */
        if (h->is_readable[i])
            p = read_tap(n, i);
    return p;
}

static bool is_stopped(const struct direction *d) {
    for (int i = 0; i < QUEUES; i++)
        if (d->queue[i].counts->packets >= PAUSED_MOST)
            return true;
    return false;
}

static void send_on(struct node *n, struct packet *p, ns_t t) {
    n->host_counts->read_packets++;
    n->host_counts->read_bytes += p->length;
    if (n->host->is_encapsulated)
        vxlan_decode(p);
    enqueue(n->ports[0], p, t);
}

bool host_read(struct node *n, int number, ns_t t) {
    struct packet *p = read_tap(n, number);
    if (!p)
        return false;
    if (is_kick(p))
        packet_free(p);
    else
        send_on(n, p, t);
    return true;
}

void host_fill(struct node *n, ns_t t) {
    struct direction *d = n->ports[0];
    if (n->host->gate) {
        gate_fill(n, t);
        return;
    }
    while (!d->sending && !is_stopped(d)) {
        struct packet *p = next_frame(n);
        if (!p)
            return;
        send_on(n, p, t);
    }
}

void host_link_free(struct node *n, ns_t t) {
    struct direction *d = n->ports[0];
    if (d->sending && !n->host->gate)
        return;
    bool was_sending = d->sending;
    host_fill(n, t);
    if (d->sending && !was_sending && !host_sink)      /* it waited in the device */
        histogram_add(&engine->late_read, (int64_t)(clock_ns() - t));
}

void host_ready(uint64_t event, ns_t t) {
    struct node *n = fabric.hosts[event >> 8];
    n->host->is_readable[event >> 1 & 7] = true;
    host_fill(n, t);
}

void host_write(struct node *n, struct packet *p, ns_t t) {
    if (n->host->is_encapsulated)
        vxlan_encode(p);
    if (host_sink) {
        host_sink(n, p, t);
    } else {
        histogram_add(&engine->late_write, (int64_t)(clock_ns() - t));
        engine->writes++;
        if (write(n->host->files[0], p->frame, p->length) < 0) {
            n->host_counts->not_written++;
            packet_free(p);
            return;
        }
    }
    n->host_counts->written_packets++;
    n->host_counts->written_bytes += p->length;
    packet_free(p);
}

void host_set_carrier(struct node *n, bool is_on) {
    int carrier = is_on;
    if (n->host->file_count && ioctl(n->host->files[0], TUNSETCARRIER, &carrier) < 0)
        fprintf(stderr, "fabricd: host %s: carrier: %s\n", n->name, strerror(errno));
}
