/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim.h - a deterministic simulation of several domains: the real core in each, everything else a
 * model.
 *
 * Theory of operation
 *
 * One process, one thread, a virtual clock, and a random number generator with a printed seed. Each
 * domain runs the daemon's core (link_mgr/core) on a platform whose store and channels are structs
 * (world.c), with programs that are structs too (program.c). A step is one random thing: a program
 * connects, writes, reads, shuts down, closes; an event of the store or of a channel, which had
 * been held back, arrives; a domain gets its turn; time passes; or a fault: a domain is killed, a
 * channel breaks, a permission is withdrawn. After each step the invariants are checked (check.c).
 *
 * A run is a series of episodes with seeds SEED, SEED+1, ... Each starts from nothing, and ends
 * with everything being closed and the proof that nothing is left. So a failure is reproduced by
 * the seed of its episode alone.
 *
 * Before the episodes, one exchange is run over and over, with a loss after each of its steps in
 * turn (losses.c). It is always the same, so a failure there needs no seed.
 *
 * What is checked
 *   - every byte once, in order: byte number k of a flow is a function of the flow and k, and each
 *     push is compared;
 *   - an end of file only after everything that was sent, and no reset without a cause that the
 *     simulation knows of;
 *   - nobody is told "there is nobody" before the other side had a moment to hear of the
 *     permission;
 *   - ids and addresses: a connection that arrives is one that somebody asked for, of the right
 *     type, at the right listener;
 *   - credit and memory: sent <= limit, received <= limit, the budget is the sum of what is
 *     promised, below the ceiling;
 *   - half of the episodes have rules with bandwidths, which change: what the peer is told of is
 *     never less than what has come, and never more than the memory for it;
 *   - no stall: when all events have arrived and all programs read, everything that was written has
 *     been delivered;
 *   - no leak: at the end no connection, link, channel, store node or endpoint is left.
 */
#ifndef IDC_SIM_H
#define IDC_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/queue.h>

#include "link_mgr/core/core.h"

#define DOMAINS_MAX 4
#define DOMID_STEP 3 /* domids are 0, 3, 6, ... */
#define PORTS 6      /* 100..105: some have listeners */
#define PORT_BASE 100
/* who listens on that port of that domain */
#define SIM_LISTENER_UID(domain, port) (1000u * (unsigned)(domain) + (unsigned)(port))
#define MESSAGES_MAX 64

/* ---- programs ---- */

/* One program's end of a connection, from the program's point of view. */
struct endpoint {
    struct pair *pair;
    int side;          /* 0: connected, 1: accepted */
    struct conn *conn; /* NULL once the core has ended it */
    bool open;         /* the core has it */
    bool readable_event, writable_event, wants_write, lent;

    uint64_t written, pulled;        /* bytes that the program wrote, and that the core took */
    uint32_t messages[MESSAGES_MAX]; /* lengths of written messages not yet pulled; a ring */
    unsigned first_message, message_count;
    uint32_t message_offset; /* of the first that was pulled */
    bool shut_wr, shut_rd;   /* by the program */
    bool closed;             /* by the program: no more calls */
    bool closed_unread;      /* ... with something unread */
    bool no_writes;          /* the core has shut the program's writing off */

    uint64_t pushed, read; /* bytes the core gave, and that the program took */
    uint32_t capacity;     /* of what is pushed and not read */
    /* count, for messages: the next is messages_sent[...] of the other side */
    unsigned pushed_messages;
    bool eof; /* the core said that no more comes */
    bool ended;
    enum reason reason; /* how the core ended it */
};

/* A connection that somebody asked for. */
struct pair {
    struct sim *sim;
    uint64_t number;
    int domain[2];
    uint32_t port[2];
    enum idc_type type;
    struct endpoint end[2];
    struct conn *conn; /* the connecting side's, while it waits */
    uint64_t asked;    /* when */
    bool waiting, failed, incoming_seen;
    /* something happened after which an error, or loss with an error, is right */
    bool excused;
    unsigned sent_messages[2];
    uint32_t sent_lengths[2][4096]; /* by number, modulo */
    LIST_ENTRY(pair) list;
};

/* ---- domains ---- */

struct domain {
    struct sim *sim;
    int index, domid;
    struct platform *platform;
    struct host host;
    struct core *core; /* NULL: killed */
    bool crashing;     /* what the core does on its way out reaches nobody */
    bool busy;
    struct listener *listeners[PORTS];
    /* since when its core knows that it may speak with each other domain; 0: it may not */
    uint64_t permitted[DOMAINS_MAX];
    uint64_t runs;
};

struct sim {
    uint64_t seed, random, now;
    int domain_count;
    bool ruled;          /* the domains have rules, with bandwidths */
    unsigned generation; /* of rules */
    struct domain domains[DOMAINS_MAX];
    struct world *world;
    LIST_HEAD(, pair) pairs;
    uint64_t pair_count, next_pair;
    struct core_config config;
    unsigned long steps; /* of this episode */
    struct {
        unsigned long connects, connected, refused, resets, clean, bytes, messages, kills, breaks,
            revokes, links;
    } count;
};

extern bool sim_verbose;

noreturn void sim_fail(const struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define CHECK(sim, condition, ...)                        \
    do {                                                  \
        if (!(condition))                                 \
            sim_fail((sim), #condition ": " __VA_ARGS__); \
    } while (0)
uint64_t sim_random(struct sim *sim);
/* 0..limit-1 */
uint32_t sim_below(struct sim *sim, uint32_t limit);
bool sim_chance(struct sim *sim, uint32_t one_in);

/* sim.c, for losses.c. domains 0: as the seed says. */
void sim_begin(struct sim *sim, uint64_t seed, int domains);
void sim_end(struct sim *sim);
void sim_start_domain(struct sim *sim, struct domain *domain);
void sim_stop_domain(struct sim *sim, struct domain *domain, bool crash);
void sim_turn(struct sim *sim, struct domain *domain);
/* All events arrive, all programs read, and time passes until nothing more happens. */
void sim_settle(struct sim *sim);

/* losses.c */
void losses_run(struct sim *sim);

/* world.c: store and channels */
extern const struct platform_ops sim_platform_ops;
struct world *world_new(struct sim *sim);
void world_free(struct world *world);
struct platform *world_open(struct world *world, int domid);
/* As when the process is killed: its channels die, its nodes stay. */
void world_crash(struct platform *platform);
void world_set_policy(struct world *world, int from, int to, const char *value);
/* The rules of policy files, whole; NULL: none. */
void world_set_rules(struct world *world, int domid, unsigned generation, const char *text);
/* Lets one event that is held back for the domain arrive; false: there is none. */
bool world_deliver_store(struct platform *platform, struct core *core);
bool world_deliver_channel(struct platform *platform, struct core *core);
/* host->watch: which peer the latest channel belongs to, or (fd -1) does no more. */
void world_watch(struct platform *platform, void *token, int fd);
/* Breaks a random channel; false: there is none. */
bool world_break(struct world *world);
/* Nodes below /local/domain/N/data, channels. */
unsigned world_nodes(const struct world *world);
unsigned world_channels(const struct world *world);
unsigned world_channels_between(const struct world *world, int a, int b);

/* program.c */
void program_fill_host(struct host *host);
void program_connect(struct sim *sim);
void program_connect_to(struct sim *sim, int from, int to, uint32_t port, enum idc_type type);
void program_write(struct sim *sim, struct endpoint *end);
/* It writes nothing more. */
void program_end(struct sim *sim, struct endpoint *end);
void program_act(struct sim *sim, struct endpoint *end);
/* Reads all, and writes nothing more. */
bool program_read_all(struct sim *sim, struct endpoint *end);
void program_close(struct sim *sim, struct endpoint *end);
void program_deliver_events(struct sim *sim, struct domain *domain);
struct endpoint *program_pick(struct sim *sim);
void program_abandon(struct sim *sim);
/* Something has happened to the domain, or between two (other -1: any), after which errors are
 * right. */
void program_excuse(struct sim *sim, int domain, int other);
void program_free_finished(struct sim *sim);

/* check.c */
void check_invariants(struct sim *sim);
void check_quiet(struct sim *sim);
void check_empty(struct sim *sim);

#endif
