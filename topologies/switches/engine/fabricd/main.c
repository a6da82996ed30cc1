/* fabricd: the links and switches of a lab in one process, in real time (docs/engine.md). */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fabric.h"

#define AT_ONCE 64                     /* files that are ready */
#define INPUT_EVENT 1                  /* standard input; TAPs have other odd numbers, clients even ones */
#define TENTH 100000000ull             /* of a second */

static volatile sig_atomic_t is_ended;

static void on_signal(int signal) { is_ended = signal; }

static ns_t clock_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (ns_t)t.tv_sec * 1000000000ull + (ns_t)t.tv_nsec;
}

ns_t clock_ns(void) { return clock_of(CLOCK_MONOTONIC); }

void die(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

/* What the engine needs of the machine. Without it the engine runs, and says how late it was. */
static void become_punctual(void) {
    struct sched_param priority = {.sched_priority = fabric.realtime};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    prctl(PR_SET_TIMERSLACK, 1);
    if (mlockall(MCL_CURRENT) < 0)
        fprintf(stderr, "fabricd: memory is not locked: %s\n", strerror(errno));
    if (fabric.cpu >= 0) {
        CPU_SET(fabric.cpu, &cpus);
        if (sched_setaffinity(0, sizeof cpus, &cpus) < 0)
            fprintf(stderr, "fabricd: processor %d: %s\n", fabric.cpu, strerror(errno));
    }
    if (fabric.realtime && sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) < 0)
        fprintf(stderr, "fabricd: no real-time priority: %s; events are later under load\n", strerror(errno));
    else
        engine->realtime = (uint64_t)fabric.realtime;
}

/* Ten times a second: how much of a processor was used. The kernel stops a real-time process at 95 % of a second. */
static void measure(ns_t now) {
    static ns_t then, used_then;
    engine->now = now;
    if (now - then < TENTH)
        return;
    ns_t used = clock_of(CLOCK_THREAD_CPUTIME_ID);
    uint64_t share = then ? (used - used_then) * 1000000 / (now - then) : 0;
    if (share > engine->busiest)
        engine->busiest = share;
    engine->processor = used;
    node_refresh_counts();
    then = now;
    used_then = used;
}

static void handle(const struct epoll_event *e) {
    if (e->data.u64 == INPUT_EVENT) {
        char unused[256];
        if (read(STDIN_FILENO, unused, sizeof unused) <= 0)
            is_ended = SIGTERM;
    } else if (e->data.u64 & 1) {
        ns_t now = clock_ns();
        host_ready(e->data.u64, now > fabric.now ? now : fabric.now);
    } else {
        control_ready(e->events, e->data.ptr);
        node_refresh_counts();
    }
}

/* Sleeps until somebody outside could notice that something is due, or until something comes in. */
static int wait_for(int epoll, struct epoll_event *ready) {
    ns_t now = clock_ns(), until = next_deadline();
    if (until <= now)
        return epoll_wait(epoll, ready, AT_ONCE, 0);
    engine->wakes++;
    node_refresh_counts();
    ns_t left = until - now;
    struct timespec time = {left / 1000000000ull, left % 1000000000ull};
    return epoll_pwait2(epoll, ready, AT_ONCE, until == NEVER ? NULL : &time, NULL);
}

static void run(int epoll) {
    struct epoll_event ready[AT_ONCE];
    while (!is_ended) {
        int count = wait_for(epoll, ready);
        ns_t now = clock_ns();
        measure(now);
        run_until(now + fabric.slack);
        for (int i = 0; i < count; i++)
            handle(&ready[i]);
    }
}

static void open_files(int epoll, const char *path) {
    struct rlimit files = {65536, 65536};
    struct epoll_event input = {.events = EPOLLIN, .data.u64 = INPUT_EVENT};
    setrlimit(RLIMIT_NOFILE, &files);
    int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (uint32_t i = 0; i < fabric.node_count; i++)
        if (fabric.nodes[i]->host)
            host_open(fabric.nodes[i], epoll);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) < 0)
        die(1, "namespace: %s", strerror(errno));
    close(namespace);
    control_open(path, epoll);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);     /* refuses a plain file: then nobody ends us by it */
}

int main(int count, char **words) {
    bool is_replay = count == 4 && strcmp(words[1], "--replay") == 0;
    if (!is_replay && count != 4)
        die(2, "usage: fabricd SOCKET COUNTERS CONFIG, or fabricd --replay CONFIG COUNTERS");
    const char *config = is_replay ? words[2] : words[3], *counters = is_replay ? words[3] : words[2];
    load_config(config, counters);
    if (is_replay)
        return replay();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);
    open_files(epoll, words[1]);
    become_punctual();
    puts("ready");
    fflush(stdout);
    run(epoll);
    unlink(words[1]);
    node_refresh_counts();
    return 0;
}
