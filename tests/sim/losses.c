/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * losses.c - one exchange between two domains, in which something is lost after step 0, 1, 2, ...
 * until each step was the one.
 *
 * The exchange begins without a link: connections are asked for from both sides at once, of both
 * types; all ends write, read, half-close, answer, close. A step is one event that arrives, or one
 * turn of one domain. So the losses come at every moment of making the link, of connecting, and of
 * ending. The invariants are those of the random episodes; and afterwards a connection can be made
 * again.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define SEED 4711
#define NEVER UINT64_MAX
#define ROUNDS_MAX 2000

enum loss {
    LOSS_CHANNEL,
    LOSS_KILL_LOWER,
    LOSS_KILL_HIGHER,
    LOSS_STOP_LOWER,
    LOSS_STOP_HIGHER,
    LOSS_PERMISSION,
    LOSS_COUNT
};

struct exchange {
    struct sim *sim;
    enum loss loss;
    uint64_t at, step; /* after which step it comes; how many there were */
};

static void listen_everywhere(struct sim *sim)
{
    struct listener *clash;
    for (int i = 0; i < 2; i++) {
        struct domain *domain = &sim->domains[i];
        for (int port = 0; port < 2; port++) {
            if (!domain->listeners[port] &&
                listener_add(&domain->core->listeners, (uint32_t)(PORT_BASE + port), "",
                             &domain->listeners[port], &clash) != 0)
                sim_fail(sim, "a port that is free can't be listened on");
            domain->listeners[port]->type = port == 0 ? IDC_STREAM : IDC_SEQPACKET;
            domain->listeners[port]->backlog = 8;
            domain->listeners[port]->uid = SIM_LISTENER_UID(domain->index, PORT_BASE + port);
        }
    }
}

static void losses_restart(struct sim *sim, struct domain *domain, bool crash)
{
    sim_stop_domain(sim, domain, crash);
    sim_start_domain(sim, domain);
    listen_everywhere(sim);
}

static void losses_lose(struct exchange *exchange)
{
    struct sim *sim = exchange->sim;
    switch (exchange->loss) {
    case LOSS_CHANNEL:
        world_break(sim->world);
        break;
    case LOSS_KILL_LOWER:
        losses_restart(sim, &sim->domains[0], true);
        break;
    case LOSS_KILL_HIGHER:
        losses_restart(sim, &sim->domains[1], true);
        break;
    case LOSS_STOP_LOWER:
        losses_restart(sim, &sim->domains[0], false);
        break;
    case LOSS_STOP_HIGHER:
        losses_restart(sim, &sim->domains[1], false);
        break;
    default:
        program_excuse(sim, sim->domains[0].domid, sim->domains[1].domid);
        world_set_policy(sim->world, sim->domains[0].domid, sim->domains[1].domid, "");
        break;
    }
}

static void after_step(struct exchange *exchange)
{
    if (exchange->step++ == exchange->at)
        losses_lose(exchange);
    check_invariants(exchange->sim);
}

/* One step of each kind in each domain; false: nothing has happened. */
static bool round_of_steps(struct exchange *exchange)
{
    struct sim *sim = exchange->sim;
    unsigned long bytes = sim->count.bytes;
    bool any = false;
    for (int i = 0; i < 2; i++) {
        struct domain *domain = &sim->domains[i];
        any |= world_deliver_store(domain->platform, domain->core);
        after_step(exchange);
        any |= world_deliver_channel(domain->platform, domain->core);
        after_step(exchange);
        sim_turn(sim, domain);
        any |= domain->busy;
        after_step(exchange);
    }
    return any || sim->count.bytes != bytes;
}

static void run_until_quiet(struct exchange *exchange)
{
    int rounds = 0;
    while (round_of_steps(exchange))
        CHECK(exchange->sim, ++rounds < ROUNDS_MAX, "never quiet");
}

/* What each program does next, if it still can: at the connecting side (0) and at the accepting
 * one. */
static void programs_act(struct sim *sim, void (*act[2])(struct sim *sim, struct endpoint *end))
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list)
        for (int side = 0; side < 2; side++)
            if (act[side] && pair->end[side].open && !pair->end[side].closed)
                act[side](sim, &pair->end[side]);
}

static void read_all(struct sim *sim, struct endpoint *end)
{
    program_read_all(sim, end);
}

static void connect_all(struct sim *sim)
{
    for (int from = 0; from < 2; from++)
        for (int port = 0; port < 2; port++)
            program_connect_to(sim, from, !from, (uint32_t)(PORT_BASE + port),
                               port == 0 ? IDC_STREAM : IDC_SEQPACKET);
}

static void run_exchange(struct exchange *exchange)
{
    static void (*script[][2])(struct sim * sim, struct endpoint * end) = {
        {NULL, NULL}, /* the connections come about */
        {program_write, program_write},
        {program_write, read_all},
        {read_all, program_write},
        {program_end, read_all},
        {NULL, program_write},
        {read_all, program_close},
        {program_close, NULL},
    };
    struct sim *sim = exchange->sim;
    listen_everywhere(sim);
    run_until_quiet(exchange); /* they learn of the permission */
    connect_all(sim);
    for (size_t i = 0; i < sizeof(script) / sizeof(script[0]); i++) {
        programs_act(sim, script[i]);
        run_until_quiet(exchange);
    }
}

/* All as if nothing had been: new connections, one of each kind. */
static void connect_again(struct exchange *exchange)
{
    struct sim *sim = exchange->sim;
    struct pair *pair;
    int open = 0;
    sim_settle(sim);
    if (exchange->loss == LOSS_PERMISSION)
        world_set_policy(sim->world, sim->domains[0].domid, sim->domains[1].domid, "in=* out=*");
    sim_settle(sim);
    LIST_FOREACH (pair, &sim->pairs, list)
        for (int side = 0; side < 2; side++)
            if (pair->end[side].open)
                program_close(sim, &pair->end[side]);
    sim_settle(sim);
    program_free_finished(sim);
    connect_all(sim);
    sim_settle(sim);
    LIST_FOREACH (pair, &sim->pairs, list)
        open += pair->end[0].open && pair->end[1].open;
    CHECK(sim, open == 4, "%d of 4 connections afterwards", open);
}

/* Returns how many steps there were. */
static uint64_t losses_do_run(struct sim *sim, enum loss loss, uint64_t at)
{
    struct exchange exchange = {.sim = sim, .loss = loss, .at = at};
    sim_begin(sim, SEED, 2);
    sim->steps = (unsigned long)at; /* for the message of a failure */
    run_exchange(&exchange);
    CHECK(sim, at != NEVER || (sim->count.clean == 8 && sim->count.bytes > 1000),
          "%lu clean ends without a loss, %lu bytes", sim->count.clean, sim->count.bytes);
    connect_again(&exchange);
    sim_end(sim);
    return exchange.step;
}

void losses_run(struct sim *sim)
{
    uint64_t steps = losses_do_run(sim, LOSS_CHANNEL, NEVER);
    for (int loss = 0; loss < LOSS_COUNT; loss++)
        for (uint64_t at = 0; at < steps; at++)
            losses_do_run(sim, (enum loss)loss, at);
    printf(
        "sim: %llu times the same exchange, with each of %d losses after each of its %llu steps\n",
        (unsigned long long)(steps * LOSS_COUNT + 1), LOSS_COUNT, (unsigned long long)steps);
    memset(&sim->count, 0, sizeof(sim->count));
}
