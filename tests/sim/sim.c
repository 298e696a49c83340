/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steps, episodes and the command line of the simulation; sim.h has the theory. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

#define EPISODE_STEPS 4000

bool sim_verbose;

/* ---- random numbers: xorshift64* (Vigna, 2016) ---- */

uint64_t sim_random(struct sim *sim)
{
    sim->random ^= sim->random >> 12;
    sim->random ^= sim->random << 25;
    sim->random ^= sim->random >> 27;
    return sim->random * 2685821657736338717ull;
}

uint32_t sim_below(struct sim *sim, uint32_t limit)
{
    return (uint32_t)((sim_random(sim) >> 32) * limit >> 32);
}

bool sim_chance(struct sim *sim, uint32_t one_in)
{
    return sim_below(sim, one_in) == 0;
}

noreturn void sim_fail(const struct sim *sim, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "sim: seed %llu, step %lu: ", (unsigned long long)sim->seed, sim->steps);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nsim: again with: sim --seed %llu --steps 1 --verbose\n",
            (unsigned long long)sim->seed);
    abort();
}

/* ---- domains ---- */

void sim_start_domain(struct sim *sim, struct domain *domain)
{
    domain->platform = world_open(sim->world, domain->domid);
    domain->host =
        (struct host){.ctx = domain, .ops = &sim_platform_ops, .platform = domain->platform};
    program_fill_host(&domain->host);
    domain->core = core_new(&domain->host, &sim->config);
    domain->busy = true;
    domain->runs++;
    memset(domain->listeners, 0, sizeof(domain->listeners));
    memset(domain->permitted, 0, sizeof(domain->permitted));
}

/* Abandons what still waits; a program's process ends with its daemon, as far as its connections
 * go. */
static void forget_waiting(struct sim *sim, const struct domain *domain)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list) {
        if (!pair->waiting || pair->domain[0] != domain->index)
            continue;
        pair->waiting = false;
        pair->failed = pair->excused = true;
        conn_abandon(pair->conn);
        pair->conn = NULL;
    }
}

void sim_stop_domain(struct sim *sim, struct domain *domain, bool crash)
{
    program_excuse(sim, domain->domid, -1);
    forget_waiting(sim, domain);
    domain->crashing = crash;
    if (crash)
        world_crash(domain->platform);
    for (int i = 0; i < PORTS; i++)
        if (domain->listeners[i])
            core_unlisten(domain->core, domain->listeners[i]);
    core_free(domain->core);
    if (!crash)
        world_crash(domain->platform);
    free(domain->platform);
    domain->core = NULL;
    domain->crashing = false;
}

void sim_turn(struct sim *sim, struct domain *domain)
{
    if (!domain->core)
        return;
    program_deliver_events(sim, domain);
    domain->busy = core_turn(domain->core);
}

/* ---- steps ---- */

static struct domain *pick_domain(struct sim *sim)
{
    return &sim->domains[sim_below(sim, (uint32_t)sim->domain_count)];
}

static void step_listen(struct sim *sim, struct domain *domain)
{
    struct listener *clash;
    uint32_t i = sim_below(sim, PORTS);
    struct pair *pair;
    if (!domain->core)
        return;
    if (!domain->listeners[i]) {
        if (listener_add(&domain->core->listeners, PORT_BASE + i, "", &domain->listeners[i],
                         &clash) != 0)
            sim_fail(sim, "a port that is free can't be listened on");
        domain->listeners[i]->type = sim_chance(sim, 3) ? IDC_SEQPACKET : IDC_STREAM;
        domain->listeners[i]->backlog = 1 + (int)sim_below(sim, 8);
        domain->listeners[i]->uid = SIM_LISTENER_UID(domain->index, PORT_BASE + i);
    } else if (sim_chance(sim, 20)) {
        LIST_FOREACH (pair, &sim->pairs, list)
            if (pair->domain[1] == domain->index && pair->port[1] == PORT_BASE + i)
                pair->excused = true;
        core_unlisten(domain->core, domain->listeners[i]);
        domain->listeners[i] = NULL;
    }
}

/* Each domain has the same rules about all others. They stand before the policy nodes, and some end
 * connections. */
static void sim_new_rules(struct sim *sim)
{
    /* before and after the bandwidth */
    static const char *const forms[][2] = {
        {"rule 1 allow * bandwidth=", " at=a:1\n"},
        {"rule 1 allow * type=stream bandwidth=",
         " at=a:1\nrule 2 allow * bandwidth=50000 at=a:2\n"},
        {"rule 1 allow 102-105 bandwidth=", " at=a:1\nrule 2 allow * at=a:3\n"},
        {"rule 1 deny 101 at=a:4\nrule 2 allow * bandwidth=", " at=a:1\n"}};
    const unsigned long long bandwidth = 50000ull << sim_below(sim, 12);
    const unsigned form = sim_below(sim, 4);
    const char *list = form > 0 ? "1,2" : "1";
    sim->generation++;
    for (int i = 0; i < sim->domain_count; i++) {
        char text[1024];
        int length = snprintf(text, sizeof(text), "version 1\ncommands 9\n");
        length += snprintf(text + length, sizeof(text) - (size_t)length, "%s%llu%s", forms[form][0],
                           bandwidth, forms[form][1]);
        for (int k = 0; k < sim->domain_count; k++)
            if (k != i)
                length += snprintf(text + length, sizeof(text) - (size_t)length,
                                   "peer %d out=%s in=%s\n", k * DOMID_STEP, list, list);
        snprintf(text + length, sizeof(text) - (size_t)length, "end\n");
        program_excuse(sim, i * DOMID_STEP, -1);
        world_set_rules(sim->world, i * DOMID_STEP, sim->generation, text);
    }
}

static void step_policy(struct sim *sim)
{
    static const char *const values[] = {"in=* out=*",       "in=* out=*", "in=100-102 out=*",
                                         "in=* out=100,103", "",           NULL};
    struct domain *from = pick_domain(sim), *to = pick_domain(sim);
    if (from == to)
        return;
    if (sim->ruled) {
        sim_new_rules(sim);
        sim->count.revokes++;
        return;
    }
    program_excuse(sim, from->domid, to->domid);
    world_set_policy(sim->world, from->domid, to->domid, values[sim_below(sim, 6)]);
    sim->count.revokes++;
}

static void step_fault(struct sim *sim)
{
    struct domain *domain = pick_domain(sim);
    if (sim_chance(sim, 3)) {
        sim->count.breaks += world_break(sim->world);
    } else if (sim_chance(sim, 2)) {
        step_policy(sim);
    } else if (!domain->core) {
        sim_start_domain(sim, domain);
    } else {
        sim->count.kills++;
        sim_stop_domain(sim, domain, !sim_chance(sim, 3));
        if (sim_chance(sim, 2))
            sim_start_domain(sim, domain);
    }
}

static void step_time(struct sim *sim)
{
    sim->now += sim_chance(sim, 30) ? 6000 : sim_below(sim, 20);
}

static void sim_step(struct sim *sim)
{
    struct domain *domain = pick_domain(sim);
    struct endpoint *end;
    uint32_t what = sim_below(sim, 1000);
    sim->steps++;
    if (what < 30 && sim->pair_count < 40)
        program_connect(sim);
    else if (what < 400 && (end = program_pick(sim)))
        program_act(sim, end);
    else if (what < 800)
        sim_turn(sim, domain);
    else if (what < 880 && domain->core)
        world_deliver_channel(domain->platform, domain->core);
    else if (what < 950 && domain->core)
        world_deliver_store(domain->platform, domain->core);
    else if (what < 975)
        step_listen(sim, domain);
    else if (what < 995)
        step_time(sim);
    else if (what < 997)
        program_abandon(sim);
    else if (sim_chance(sim, 4))
        step_fault(sim);
    check_invariants(sim);
}

/* ---- quiet ---- */

static bool settle_once(struct sim *sim)
{
    struct pair *pair;
    bool any = false;
    for (int i = 0; i < sim->domain_count; i++) {
        struct domain *domain = &sim->domains[i];
        if (!domain->core)
            continue;
        while (world_deliver_store(domain->platform, domain->core))
            any = true;
        if (world_deliver_channel(domain->platform, domain->core))
            any = true;
        unsigned long bytes = sim->count.bytes;
        sim_turn(sim, domain);
        any |= domain->busy || sim->count.bytes != bytes;
    }
    LIST_FOREACH (pair, &sim->pairs, list)
        for (int side = 0; side < 2; side++)
            any |= pair->end[side].open && program_read_all(sim, &pair->end[side]);
    return any;
}

/* No later than this, a core of the ruled wants its turn. */
static uint64_t sim_next_turn(const struct sim *sim, uint64_t limit)
{
    for (int i = 0; i < sim->domain_count && sim->ruled; i++)
        if (sim->domains[i].core && core_deadline(sim->domains[i].core) < limit)
            limit = core_deadline(sim->domains[i].core);
    return limit > sim->now ? limit : sim->now + 1;
}

static void sim_settle_now(struct sim *sim)
{
    /* Twice quiet: what the turn of a domain has sent may be for one whose turn was before. */
    for (int rounds = 0, quiet = 0; quiet < 2; rounds++) {
        CHECK(sim, rounds < 100000, "never quiet");
        quiet = settle_once(sim) ? 0 : quiet + 1;
    }
    check_invariants(sim);
}

/* All events arrive, all programs read, and time passes until nothing more happens. */
void sim_settle(struct sim *sim)
{
    for (int i = 0; i < 8; i++) {
        uint64_t limit = sim->now + (sim->ruled ? 3000000 : 3000);
        sim_settle_now(sim);
        for (int looks = 0; sim->now < limit; looks++) {
            CHECK(sim, looks < 1000000, "woken again and again");
            sim->now = sim_next_turn(sim, limit);
            sim_settle_now(sim);
        }
    }
}

static void close_all(struct sim *sim)
{
    struct pair *pair;
    LIST_FOREACH (pair, &sim->pairs, list)
        for (int side = 0; side < 2; side++)
            if (pair->end[side].open)
                program_close(sim, &pair->end[side]);
}

/* ---- episodes ---- */

void sim_begin(struct sim *sim, uint64_t seed, int domains)
{
    *sim = (struct sim){
        .seed = seed, .random = seed * 0x9E3779B97F4A7C15ull + 1, .now = 1000, .count = sim->count};
    for (int i = 0; i < 10; i++)
        sim_random(sim);
    LIST_INIT(&sim->pairs);
    sim->world = world_new(sim);
    sim->config = (struct core_config){.ring_size = 4096u << sim_below(sim, 4),
                                       .memory_ceiling = 1u << 20,
                                       .idle_ms = 1 + sim_below(sim, 3000)};
    sim->domain_count = domains > 0 ? domains : 2 + (int)sim_below(sim, DOMAINS_MAX - 1);
    for (int i = 0; i < sim->domain_count; i++) {
        sim->domains[i] = (struct domain){.sim = sim, .index = i, .domid = i * DOMID_STEP};
        for (int k = 0; k < i; k++) {
            world_set_policy(sim->world, i * DOMID_STEP, k * DOMID_STEP, "in=* out=*");
            world_set_policy(sim->world, k * DOMID_STEP, i * DOMID_STEP, "in=* out=*");
        }
    }
    sim->ruled = domains == 0 && sim_chance(sim, 2);
    if (sim->ruled)
        sim_new_rules(sim);
    for (int i = 0; i < sim->domain_count; i++)
        sim_start_domain(sim, &sim->domains[i]);
}

void sim_end(struct sim *sim)
{
    sim_settle(sim);
    check_quiet(sim);
    close_all(sim);
    sim_settle(sim);
    sim->steps = 0;
    program_free_finished(sim);
    check_empty(sim);
    for (int i = 0; i < sim->domain_count; i++)
        if (sim->domains[i].core)
            sim_stop_domain(sim, &sim->domains[i], false);
    for (int i = 0; i < sim->domain_count; i++) /* clean up after those that stayed killed */
        if (sim->domains[i].runs > 0)
            sim_start_domain(sim, &sim->domains[i]);
    for (int i = 0; i < sim->domain_count; i++)
        sim_stop_domain(sim, &sim->domains[i], false);
    CHECK(sim, world_nodes(sim->world) == 0, "%u store nodes are left", world_nodes(sim->world));
    world_free(sim->world);
}

static unsigned long sim_episode(struct sim *sim, uint64_t seed)
{
    sim_begin(sim, seed, 0);
    while (sim->steps < EPISODE_STEPS) {
        sim_step(sim);
        if (sim->steps % 1000 == 0) {
            sim_settle(sim);
            check_quiet(sim);
            program_free_finished(sim);
        }
    }
    sim_end(sim);
    return EPISODE_STEPS;
}

static void sim_report(const struct sim *sim, unsigned long steps, unsigned long episodes)
{
    printf("sim: %lu steps in %lu episodes: %lu connects, %lu connected, %lu clean ends, %lu "
           "resets, %lu MB, %lu messages, "
           "%lu kills, %lu breaks, %lu policy changes: all invariants held\n",
           steps, episodes, sim->count.connects, sim->count.connected, sim->count.clean,
           sim->count.resets, sim->count.bytes / 1000000, sim->count.messages, sim->count.kills,
           sim->count.breaks, sim->count.revokes);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"steps", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    static struct sim sim;
    unsigned long steps = 1000000, done = 0, episodes = 0;
    uint64_t seed = (uint64_t)time(NULL) * 1000;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'n')
            steps = strtoul(optarg, NULL, 10);
        else if (option == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (option == 'v')
            sim_verbose = true;
        else
            return 2;
    }
    printf("sim: first seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    losses_run(&sim);
    while (done < steps) {
        done += sim_episode(&sim, seed++);
        episodes++;
    }
    sim_report(&sim, done, episodes);
    return 0;
}
