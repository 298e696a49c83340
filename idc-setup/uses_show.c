/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uses_show.c - see uses_show.h. */
#include "idc-setup/uses_show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/fail.h"
#include "common/json.h"
#include "common/shown.h"

/* ---- one ---- */

static void uses_print_domain(FILE *out, const struct policy_world *world, int domid)
{
    size_t i = policy_world_find(world, domid);
    const bool known = i < world->domain_count && world->domains[i].name != NULL;
    if (known)
        shown_print(out, world->domains[i].name);
    else
        fputs("domain", out);
    fprintf(out, known ? " (%d)" : " %d", domid);
}

static void uses_print_says(FILE *out, int64_t says)
{
    if (says < 0)
        fputs("nothing", out);
    else
        fprintf(out, "%" PRId64, says);
}

/* Whose word the number is. Domain 0's needs no mention, nor does what both say. */
static void uses_print_source(FILE *out, const struct policy_use *use)
{
    if (use->from_says == use->to_says || (use->from == 0 && use->from_says >= 0) ||
        (use->to == 0 && use->to_says >= 0))
        return;
    fprintf(out, "; domain %d says ", use->from);
    uses_print_says(out, use->from_says);
    fprintf(out, ", domain %d says ", use->to);
    uses_print_says(out, use->to_says);
}

void uses_print_one(FILE *out, const struct policy_world *world, const struct policy_use *use)
{
    fprintf(out, "%" PRId64 " connection%s from ", use->count, use->count == 1 ? "" : "s");
    uses_print_domain(out, world, use->from);
    fputs(" to ", out);
    uses_print_domain(out, world, use->to);
    fprintf(out, ", port %" PRIu32, use->port);
    if (use->name[0] != '\0')
        fprintf(out, " (%s)", use->name); /* it was read as a service name */
    uses_print_source(out, use);
}

void uses_print_unknown(FILE *out, const char *before, const struct policy_uses *uses,
                        const struct policy_world *world)
{
    for (size_t i = 0; i < uses->domain_count; i++) {
        const struct policy_uses_domain *domain = &uses->domains[i];
        bool silent = domain->answer == USES_SILENT, wrong = domain->answer == USES_WRONG;
        if (!silent && !wrong && domain->left == 0)
            continue;
        fputs(before, out);
        uses_print_domain(out, world, domain->domid);
        if (domain->left > 0)
            fprintf(out, " has %" PRIu64 " more connections, of which nothing is known\n",
                    domain->left);
        else
            fprintf(out, " %s which connections it has\n",
                    silent ? "has not said in time" : "says what can't be read, and not");
    }
}

/* ---- all ---- */

static int uses_show_judge(struct uses_show *show, const struct policy_rules *rules)
{
    int result = 0;
    show->verdicts = calloc(show->uses.count + 1, sizeof(*show->verdicts));
    if (show->verdicts == NULL)
        return -ENOMEM;
    for (size_t i = 0; result == 0 && i < show->uses.count; i++)
        result =
            policy_uses_judge(&show->uses.list[i], rules, rules->state.store, &show->verdicts[i]);
    return result;
}

int uses_show_make(struct uses_show *show, struct policy_rules *rules)
{
    *show = (struct uses_show){.world = &rules->world};
    int error = policy_uses_ask(&show->uses, &rules->world, &rules->state, USES_WAIT_MS);
    if (error == 0)
        error = uses_show_judge(show, rules);
    if (error != 0)
        uses_show_free(show);
    return error == 0 ? 0 : policy_fail(SETUP_STATUS_FAILED, "out of memory");
}

void uses_show_free(struct uses_show *show)
{
    policy_uses_free(&show->uses);
    free(show->verdicts);
    show->verdicts = NULL;
}

static bool uses_is_beside(const struct policy_use *one, const struct policy_use *other)
{
    return one->from == other->from && one->to == other->to && one->port == other->port;
}

static int64_t uses_plus(int64_t one, int64_t other)
{
    return one < 0 ? one : one + other;
}

/* The next uses from *at on that the verdict is for: of one pair and port, added up. */
static bool uses_next(const struct uses_show *show, size_t *at, const struct use_verdict *wanted,
                      struct policy_use *sum)
{
    bool found = false;
    for (; *at < show->uses.count; ++*at) {
        const struct policy_use *use = &show->uses.list[*at];
        const struct use_verdict *verdict = &show->verdicts[*at];
        if (verdict->allowed != wanted->allowed || verdict->by_node != wanted->by_node ||
            (wanted->allowed && !wanted->by_node && verdict->rule != wanted->rule))
            continue;
        if (found && !uses_is_beside(sum, use))
            return true;
        if (!found) {
            *sum = *use;
            found = true;
            continue;
        }
        sum->count += use->count;
        sum->from_says = uses_plus(sum->from_says, use->from_says);
        sum->to_says = uses_plus(sum->to_says, use->to_says);
    }
    return found;
}

static void uses_show_wanted(FILE *out, const struct uses_show *show, const char *before,
                             const struct use_verdict *wanted, int from, int to)
{
    struct policy_use sum = {0};
    for (size_t at = 0; uses_next(show, &at, wanted, &sum);) {
        if (from >= 0 && (sum.from != from || sum.to != to))
            continue;
        fputs(before, out);
        uses_print_one(out, show->world, &sum);
        fputc('\n', out);
    }
}

void uses_show_rule(FILE *out, const struct uses_show *show, size_t rule)
{
    const struct use_verdict wanted = {.allowed = true, .rule = rule};
    uses_show_wanted(out, show, "      now: ", &wanted, -1, -1);
}

void uses_show_node(FILE *out, const struct uses_show *show, int domid, int peer)
{
    const struct use_verdict wanted = {.allowed = true, .by_node = true};
    uses_show_wanted(out, show, "      now: ", &wanted, domid, peer);
}

void uses_show_rest(FILE *out, const struct uses_show *show)
{
    const struct use_verdict wanted = {.allowed = false};
    uses_show_wanted(out, show, "no rule: ", &wanted, -1, -1);
    uses_print_unknown(out, "not known: ", &show->uses, show->world);
}

int64_t uses_show_between(const struct uses_show *show, int from, int to)
{
    int64_t count = 0;
    for (size_t i = 0; i < show->uses.count; i++)
        if (show->uses.list[i].from == from && show->uses.list[i].to == to)
            count += show->uses.list[i].count;
    return count;
}

/* ---- for programs ---- */

static void uses_json_says(FILE *out, const char *name, int64_t says)
{
    if (says < 0)
        fprintf(out, ", \"%s\": null", name);
    else
        fprintf(out, ", \"%s\": %" PRId64, name, says);
}

static void uses_json_one(FILE *out, const struct policy_use *use,
                          const struct use_verdict *verdict)
{
    if (verdict->allowed && !verdict->by_node)
        fprintf(out, "{\"rule\": %zu", verdict->rule + 1);
    else
        fputs("{\"rule\": null", out);
    fprintf(out, ", \"by_node\": %s, \"from\": %d, \"to\": %d, \"port\": %" PRIu32 ", \"name\": ",
            verdict->by_node ? "true" : "false", use->from, use->to, use->port);
    json_string(out, use->name[0] == '\0' ? NULL : use->name);
    fprintf(out, ", \"type\": \"%s\", \"uid\": %" PRIu32 ", \"connections\": %" PRId64,
            use->type == RULE_TYPE_STREAM ? "stream" : "seqpacket", use->uid, use->count);
    uses_json_says(out, "from_says", use->from_says);
    uses_json_says(out, "to_says", use->to_says);
    fputc('}', out);
}

void uses_show_json(FILE *out, const struct uses_show *show)
{
    const char *before = "";
    fputs(", \"uses\": [", out);
    for (size_t i = 0; i < show->uses.count; i++) {
        fputs(i == 0 ? "\n  " : ",\n  ", out);
        uses_json_one(out, &show->uses.list[i], &show->verdicts[i]);
    }
    fputs("], \"not_known\": [", out);
    for (size_t i = 0; i < show->uses.domain_count; i++) {
        const struct policy_uses_domain *domain = &show->uses.domains[i];
        if (domain->answer != USES_SILENT && domain->answer != USES_WRONG && domain->left == 0)
            continue;
        fprintf(out, "%s{\"domid\": %d, \"connections\": ", before, domain->domid);
        if (domain->left > 0)
            fprintf(out, "%" PRIu64 "}", domain->left);
        else
            fputs("null}", out);
        before = ", ";
    }
    fputc(']', out);
}
