/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * measure.h - how connections are measured: the one implementation behind `idc bench` and
 * tests/bench/bench.c.
 *
 * Theory of operation
 *
 * A server accepts connections and does what each asks for; a client runs one test and gets named
 * figures. Each request is 16 bytes (struct measure_request), at the start of a connection or after
 * the answer to the one before:
 *
 *   SINK    reads count bytes, answers with one byte
 *   ECHO    count times: reads size bytes, writes them back
 *   SHORT   answers with one byte and closes: the connect cycle. count: how many such connections
 *           are to follow at once
 *   REPORT  answers with struct measure_usage: what the server and the processes it watches have
 *           used so far
 *
 * A connection that asks for nothing is idle. Anything else, or the end of the stream, closes the
 * connection. Numbers are in the host's order, as both sides are on one machine.
 *
 * Reads and writes block, one thread for each busy connection, so what is measured is the transport
 * and not an event loop. Idle connections cost the server no thread: they stay in an epoll set
 * until they speak. During a row of SHORT connections the server does nothing but accept, read,
 * write and close.
 *
 * What connections are made of is a transport: a table of functions. Most are descriptors; one that
 * isn't (libxenvchan) says so by fd -1 and has functions of its own for reading and writing.
 */
#ifndef IDC_MEASURE_H
#define IDC_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MEASURE_MAGIC 0x42434449u /* "IDCB" */
#define MEASURE_SIZE_MAX (4u * 1024 * 1024)
#define MEASURE_READ_SIZE (64 * 1024) /* what a reader of a stream reads at once, at most */
#define MEASURE_COUNTERS_MAX 8
#define MEASURE_WATCH_MAX 8

/* ---- transports ---- */

struct place;

/* One end of a connection. */
struct stream {
    const struct transport *transport;
    int fd;    /* -1: not a descriptor */
    void *own; /* the transport's */
};

struct transport {
    const char *name;
    const char *address; /* what an address is, for --help */
    bool messages;       /* each write is one message: readers have room for the longest */
    /* `listen` is called by the client itself, which forks the server: there is no `bench serve` */
    bool own_server;
    /* 0, or -1 with an explanation by measure_fail. listen sets place->listener to a descriptor
     * that polls readable when there is something to accept. Or it leaves it at -1; accept then
     * waits by itself. */
    int (*listen)(struct place *place);
    int (*accept)(struct place *place, struct stream *stream);
    int (*connect)(struct place *place, struct stream *stream);
    /* As read(2), write(2), close(2). NULL: those of the descriptor. */
    ssize_t (*read)(struct stream *stream, void *buf, size_t len);
    ssize_t (*write)(struct stream *stream, const void *buf, size_t len);
    void (*close)(struct stream *stream);
    /* Counters of whatever carries the connections, since any point in time. Returns how many were
     * set. NULL: there are none. */
    int (*counters)(struct place *place, uint64_t *values, const char **names);
};

/* Where to listen or to connect to. */
struct place {
    const struct transport *transport;
    const char *address;
    int listener; /* -1 */
    void *own;    /* the transport's */
};

/* 0; -1: error or the end */
int stream_read_all(struct stream *stream, void *buf, size_t len);
int stream_write_all(struct stream *stream, const void *buf, size_t len); /* 0 or -1 */
void stream_close(struct stream *stream);

/* Address DOMID:PORT or DOMID:NAME (to listen: PORT or NAME, a DOMID before it is ignored).
 * place->own: NULL or the path of link_mgr's socket. */
extern const struct transport transport_idc, transport_idc_seqpacket;

/* ---- errors ---- */

/* Why the latest call of this thread failed; sets it and returns -1. */
int measure_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *measure_error(void);

/* ---- requests ---- */

enum measure_op { MEASURE_SINK = 1, MEASURE_ECHO, MEASURE_SHORT, MEASURE_REPORT };

struct measure_request {
    uint32_t op; /* MEASURE_MAGIC + enum measure_op */
    uint32_t size;
    uint64_t count;
};
_Static_assert(sizeof(struct measure_request) == 16, "the request of a connect cycle");

/* What processes have used. CPU time is user and system time of all threads, by the scheduler's
 * clock (nanoseconds). */
struct measure_usage {
    uint64_t magic;          /* MEASURE_MAGIC, which shows that it is such a server */
    uint64_t own_cpu_ns;     /* of this process */
    uint64_t watched_cpu_ns; /* of the watched ones, as everything below */
    uint64_t switches;       /* voluntary context switches: how often they waited */
    uint64_t resident;       /* bytes */
    /* bytes of it that are no file's and not shared: heap and stacks */
    uint64_t anonymous;
    uint64_t proportional; /* bytes (PSS) */
};

struct watch {
    pid_t pids[MEASURE_WATCH_MAX];
    int count;
};

void watch_add(struct watch *watch, pid_t pid);
/* Fills in everything. */
void watch_read(const struct watch *watch, struct measure_usage *usage);

/* ---- the server ---- */

/* Listens (unless the place already does), calls ready, and serves until accepting fails: -1. */
int measure_serve(struct place *place, const struct watch *watch,
                  void (*ready)(struct place *place, void *arg), void *arg);

/* ---- figures ---- */

#define FIGURES_MAX 64

/* Named numbers, in the order in which they were set. Names are not copied. */
struct figures {
    struct figure {
        const char *name;
        double value;
    } all[FIGURES_MAX];
    int count;
};

void figures_set(struct figures *figures, const char *name, double value);
double figures_get(const struct figures *figures, const char *name); /* 0: there is none */
/* Members of a JSON object, each with a comma before it. */
void figures_print(const struct figures *figures, FILE *to);

/* ---- tests ---- */

struct measure {
    struct place *place;
    size_t size;      /* bytes of a write, or of a round trip */
    unsigned streams; /* at the same time */
    unsigned idle;    /* connections to open beforehand, and keep open */
    double seconds;   /* about how long to measure */
    /* bytes, round trips or connections, without any to warm up; 0: as many as take `seconds` */
    uint64_t count;
    struct watch watch; /* processes on this side whose use counts, beside the client */
};

/* A test returns 0, or -1 with measure_error(). docs/performance.md says what each measures, and
 * explains its figures. */
struct measure_test {
    const char *name;
    const char *what;
    int (*run)(const struct measure *measure, struct figures *figures);
    bool opens_idle; /* it measures the idle connections, and opens them itself */
};
extern const struct measure_test measure_tests[];
extern const int measure_test_count;

const struct measure_test *measure_find_test(const char *name); /* NULL */
/* Is a server there, and does it speak this language? 0, or -1 with errno: of the connect, or
 * EPROTO. */
int measure_probe(struct place *place, int timeout_ms);
/* Opens the idle connections, runs the test, closes them. */
int measure_run(const struct measure_test *test, const struct measure *measure,
                struct figures *figures);

#endif
