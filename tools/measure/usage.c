/* SPDX-License-Identifier: GPL-2.0-or-later */
/* usage.c - the resources that processes have used: CPU time by their clocks, the rest from
 * /proc/PID. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/measure/measure.h"

void watch_add(struct watch *watch, pid_t pid)
{
    if (watch->count < MEASURE_WATCH_MAX)
        watch->pids[watch->count++] = pid;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Adds the numbers behind the names in a file of lines "Name: NUMBER ...". */
static void add_from(const char *path, uint64_t unit, const char *const *names,
                     uint64_t *const *values, int count)
{
    char line[256];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');
        unsigned long long number;
        for (int i = 0; colon && i < count; i++)
            if ((size_t)(colon - line) == strlen(names[i]) &&
                strncmp(line, names[i], strlen(names[i])) == 0 &&
                sscanf(colon + 1, "%20llu", &number) == 1)
                *values[i] += number * unit;
    }
    fclose(file);
}

static void add_process(pid_t pid, struct measure_usage *usage)
{
    static const char *const in_status[] = {"VmRSS", "RssAnon"},
                             *const switches[] = {"voluntary_ctxt_switches"},
                             *const in_smaps[] = {"Pss"};
    char path[64];
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) == 0)
        usage->watched_cpu_ns += clock_ns(clock);
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    add_from(path, 1024, in_status, (uint64_t *[]){&usage->resident, &usage->anonymous}, 2);
    add_from(path, 1, switches, (uint64_t *[]){&usage->switches}, 1);
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    add_from(path, 1024, in_smaps, (uint64_t *[]){&usage->proportional}, 1);
}

void watch_read(const struct watch *watch, struct measure_usage *usage)
{
    *usage = (struct measure_usage){.magic = MEASURE_MAGIC};
    for (int i = 0; i < watch->count; i++)
        add_process(watch->pids[i], usage);
    usage->own_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}
