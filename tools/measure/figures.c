/* SPDX-License-Identifier: GPL-2.0-or-later */
/* figures.c - results, and what they are computed from. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/measure/internal.h"

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct figure *figures_find(const struct figures *figures, const char *name)
{
    for (int i = 0; i < figures->count; i++)
        if (strcmp(figures->all[i].name, name) == 0)
            return (struct figure *)&figures->all[i];
    return NULL;
}

void figures_set(struct figures *figures, const char *name, double value)
{
    struct figure *figure = figures_find(figures, name);
    if (figure == NULL && figures->count < FIGURES_MAX)
        figure = &figures->all[figures->count++];
    if (figure)
        *figure = (struct figure){.name = name, .value = value};
}

double figures_get(const struct figures *figures, const char *name)
{
    const struct figure *figure = figures_find(figures, name);
    return figure ? figure->value : 0;
}

void figures_print(const struct figures *figures, FILE *to)
{
    for (int i = 0; i < figures->count; i++)
        fprintf(to, ", \"%s\": %.10g", figures->all[i].name, figures->all[i].value);
}

static int figures_compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

void set_times(struct figures *figures, uint64_t *samples, uint64_t count, const char *p50,
               const char *p99, const char *mean)
{
    double sum = 0;
    if (count == 0)
        return;
    qsort(samples, count, sizeof(*samples), figures_compare);
    for (uint64_t i = 0; i < count; i++)
        sum += (double)samples[i];
    uint64_t middle = count / 2, late = count - 1 - count / 100;
    figures_set(figures, p50, (double)samples[middle]);
    figures_set(figures, p99, (double)samples[late]);
    figures_set(figures, mean, sum / (double)count);
}
