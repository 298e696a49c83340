/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: what domains answer when idc-setup asks which connections they have. A guest may write
 * anything there.
 *
 * The input is nodes, with a byte 0xff between them: a letter for the domain (a to d), a digit for
 * the part, and the node's value. A value that begins with # has the number that was asked in its
 * place. Domains without a node are not asked.
 *
 * Of an answer that can't be read nothing is known. What is known is of domains that are there, and
 * printable, and can be judged. Written as link_mgr writes it, it is read as the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/uses_show.h"
#include "policy/compile.h"

#define DOMAIN_COUNT 4
#define PARTS 8
#define NUMBER_MAX 999999999999999999u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ruleset_domain domains[DOMAIN_COUNT] = {
    {.domid = 0, .name = "Domain-0", .complete = true},
    {.domid = 3, .name = "web", .complete = true},
    {.domid = 7, .complete = true},
    {.domid = 32751, .name = "last", .complete = true},
};

static const char rules_text[] = "deny web * 81\n"
                                 "allow * dom0 *\n"
                                 "allow web * org.example.* uid=0-33\n"
                                 "allow domid:7 web 1000-2000 type=stream\n";

struct fuzz_node {
    bool there;
    size_t length;
    char value[SETUP_VALUE_MAX + 1];
};

static struct fuzz_store {
    struct setup_store store;
    struct fuzz_node nodes[DOMAIN_COUNT][PARTS];
    char asked[DOMAIN_COUNT][SETUP_VALUE_MAX + 1]; /* "": not, or no longer */
} fuzz;

static void fuzz_require(bool good)
{
    if (!good)
        abort();
}

/* ---- the store ---- */

/* The index of the domain in a path. */
static size_t fuzz_domain(const char *path)
{
    int domid = -1;
    fuzz_require(sscanf(path, "/local/domain/%d/", &domid) == 1);
    for (size_t i = 0; i < DOMAIN_COUNT; i++)
        if (domains[i].domid == domid)
            return i;
    abort();
}

static bool fuzz_is_ask(const char *path)
{
    const char *end = strstr(path, "/idc/policy/ask");
    return end != NULL && strcmp(end, "/idc/policy/ask") == 0;
}

static int fuzz_get(struct setup_store *store, const char *path, char value[SETUP_VALUE_MAX + 1])
{
    (void)store;
    const size_t domain = fuzz_domain(path);
    const char *name = strstr(path, "/use/");
    fuzz_require(name != NULL && name[5] >= '0' && name[5] < '0' + PARTS && name[6] == '\0');
    const struct fuzz_node *node = &fuzz.nodes[domain][name[5] - '0'];
    const bool asked = node->length > 0 && node->value[0] == '#';
    if (!node->there)
        return -ENOENT;
    if (memchr(node->value, '\0', node->length) != NULL)
        return -EBADMSG;
    int length = snprintf(value, SETUP_VALUE_MAX + 1, "%s%s", asked ? fuzz.asked[domain] : "",
                          node->value + asked);
    return length <= SETUP_VALUE_MAX ? length : -EBADMSG;
}

static int fuzz_put(struct setup_store *store, int domid, const char *path, const char *value)
{
    (void)store;
    const size_t domain = fuzz_domain(path);
    fuzz_require(fuzz_is_ask(path) && domains[domain].domid == domid);
    snprintf(fuzz.asked[domain], sizeof(fuzz.asked[domain]), "%s", value);
    return 0;
}

static int fuzz_drop(struct setup_store *store, const char *path)
{
    (void)store;
    fuzz_require(fuzz_is_ask(path));
    fuzz.asked[fuzz_domain(path)][0] = '\0';
    return 0;
}

static int fuzz_below(struct setup_store *store, const char *path, setup_visit_name *visit,
                      void *arg)
{
    (void)store;
    const size_t domain = fuzz_domain(path);
    for (size_t part = 0; part < PARTS; part++)
        if (fuzz.nodes[domain][part].there)
            return visit(arg, "use");
    return 0;
}

/* A policy node: only domain 0 and web have one. */
static int fuzz_read(struct setup_store *store, int domid, int peer,
                     char value[SETUP_VALUE_MAX + 1])
{
    (void)store;
    if ((domid != 0 || peer != 3) && (domid != 3 || peer != 0))
        return -ENOENT;
    strcpy(value, "in=22 out=22");
    return (int)strlen(value);
}

static const struct setup_store_ops fuzz_ops = {
    .name = "fuzz",
    .read = fuzz_read,
    .get = fuzz_get,
    .put = fuzz_put,
    .drop = fuzz_drop,
    .below = fuzz_below,
};

/* ---- what is known ---- */

static bool fuzz_name_valid(const struct policy_use *use)
{
    const size_t length = strnlen(use->name, sizeof(use->name));
    return length < sizeof(use->name) && (length == 0 || service_name_valid(use->name, length));
}

static bool fuzz_answered(const struct policy_uses *uses, int domid)
{
    for (size_t i = 0; i < uses->domain_count; i++)
        if (uses->domains[i].domid == domid)
            return uses->domains[i].answer == USES_ANSWERED;
    abort();
}

static void fuzz_check_use(const struct policy_uses *uses, const struct policy_use *use)
{
    fuzz_require(use->from != use->to && use->count > 0 && fuzz_name_valid(use));
    fuzz_require(use->count == use->from_says || use->count == use->to_says);
    fuzz_require((use->from_says >= 0) == fuzz_answered(uses, use->from));
    fuzz_require((use->to_says >= 0) == fuzz_answered(uses, use->to));
    if (use->from == 0 && use->from_says >= 0)
        fuzz_require(use->count == use->from_says);
    if (use->to == 0 && use->to_says >= 0)
        fuzz_require(use->count == use->to_says);
}

static void fuzz_check(const struct policy_uses *uses)
{
    fuzz_require(uses->domain_count == DOMAIN_COUNT);
    for (size_t i = 0; i < DOMAIN_COUNT; i++) {
        const struct policy_uses_domain *domain = &uses->domains[i];
        fuzz_require(domain->domid == domains[i].domid && domain->left <= NUMBER_MAX);
        fuzz_require(domain->answer == USES_ANSWERED || domain->left == 0);
        fuzz_require(fuzz.asked[i][0] == '\0');
    }
    for (size_t i = 0; i < uses->count; i++)
        fuzz_check_use(uses, &uses->list[i]);
}

/* ---- what is shown ---- */

static void fuzz_check_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        fuzz_require(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
}

static void fuzz_show(struct uses_show *show, struct policy_rules *rules)
{
    char *text = NULL;
    size_t length = 0;
    show->verdicts = calloc(show->uses.count + 1, sizeof(*show->verdicts));
    FILE *out = open_memstream(&text, &length);
    fuzz_require(show->verdicts != NULL && out != NULL);
    for (size_t i = 0; i < show->uses.count; i++)
        fuzz_require(
            policy_uses_judge(&show->uses.list[i], rules, &fuzz.store, &show->verdicts[i]) == 0);
    for (size_t rule = 0; rule < rules->ruleset->rule_count; rule++)
        uses_show_rule(out, show, rule);
    uses_show_node(out, show, 0, 3);
    uses_show_rest(out, show);
    uses_show_json(out, show);
    fuzz_require(fclose(out) == 0);
    fuzz_check_text(text, length);
    free(text);
}

/* ---- written again ---- */

/* False: there is no room. */
static bool fuzz_add_line(size_t domain, const char *line)
{
    const size_t length = strlen(line);
    for (size_t part = 0; part < PARTS; part++) {
        struct fuzz_node *node = &fuzz.nodes[domain][part];
        if (node->length + length + 32 > SETUP_VALUE_MAX)
            continue;
        memcpy(node->value + node->length, line, length + 1);
        node->length += length;
        node->there = true;
        return true;
    }
    return false;
}

static bool fuzz_write_side(const struct policy_use *use, bool out)
{
    char line[160], path[SETUP_NODE_MAX];
    const int64_t count = out ? use->from_says : use->to_says;
    if (count <= 0)
        return true;
    snprintf(path, sizeof(path), "/local/domain/%d/", out ? use->from : use->to);
    snprintf(line, sizeof(line), "%d %s %u %s %u %" PRId64 "%s%s\n", out ? use->to : use->from,
             out ? "out" : "in", use->port, use->type == RULE_TYPE_STREAM ? "stream" : "seqpacket",
             use->uid, count, use->name[0] == '\0' ? "" : " ", use->name);
    return count <= UINT32_MAX && fuzz_add_line(fuzz_domain(path), line);
}

/* Puts a first line before each part. */
static void fuzz_finish_nodes(const struct policy_uses *uses)
{
    char value[SETUP_VALUE_MAX + 1];
    for (size_t domain = 0; domain < DOMAIN_COUNT; domain++) {
        unsigned parts = 1;
        if (uses->domains[domain].answer != USES_ANSWERED)
            continue;
        while (parts < PARTS && fuzz.nodes[domain][parts].there)
            parts++;
        for (unsigned part = 0; part < parts; part++) {
            struct fuzz_node *node = &fuzz.nodes[domain][part];
            int length = snprintf(value, sizeof(value), "# %u %u %" PRIu64 "\n%s", part, parts,
                                  uses->domains[domain].left, node->value);
            fuzz_require(length <= SETUP_VALUE_MAX);
            strcpy(node->value, value);
            node->length = (size_t)length;
            node->there = true;
        }
    }
}

static bool fuzz_write(const struct policy_uses *uses)
{
    memset(fuzz.nodes, 0, sizeof(fuzz.nodes));
    for (size_t i = 0; i < uses->count; i++)
        if (!fuzz_write_side(&uses->list[i], true) || !fuzz_write_side(&uses->list[i], false))
            return false;
    fuzz_finish_nodes(uses);
    return true;
}

static bool fuzz_is_same(const struct policy_use *one, const struct policy_use *other)
{
    return one->from == other->from && one->to == other->to && one->port == other->port &&
           one->uid == other->uid && one->type == other->type && one->count == other->count &&
           one->from_says == other->from_says && one->to_says == other->to_says &&
           strcmp(one->name, other->name) == 0;
}

static void fuzz_again(const struct policy_uses *uses, const struct policy_world *world,
                       struct policy_state *state)
{
    struct policy_uses again;
    if (!fuzz_write(uses))
        return;
    fuzz_require(policy_uses_ask(&again, world, state, 0) == 0 && again.count == uses->count);
    fuzz_check(&again);
    for (size_t i = 0; i < uses->count; i++)
        fuzz_require(fuzz_is_same(&uses->list[i], &again.list[i]));
    policy_uses_free(&again);
}

/* ---- the input ---- */

static void fuzz_take_node(const uint8_t *data, size_t size)
{
    if (size < 2 || size - 2 > SETUP_VALUE_MAX)
        return;
    struct fuzz_node *node = &fuzz.nodes[data[0] % DOMAIN_COUNT][data[1] % PARTS];
    node->there = true;
    node->length = size - 2;
    memcpy(node->value, data + 2, node->length);
    node->value[node->length] = '\0';
}

static void fuzz_take(const uint8_t *data, size_t size)
{
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.store.ops = &fuzz_ops;
    while (size > 0) {
        const uint8_t *end = memchr(data, 0xff, size);
        const size_t length = end == NULL ? size : (size_t)(end - data);
        fuzz_take_node(data, length);
        data += length;
        size -= length;
        data += size > 0;
        size -= size > 0;
    }
}

static void fuzz_report(void *arg, const char *file, const struct problem *problem)
{
    (void)arg, (void)file, (void)problem;
    abort();
}

static struct ruleset *fuzz_rules(void)
{
    static struct ruleset *ruleset;
    const struct ruleset_reporter reporter = {.report = fuzz_report};
    if (ruleset != NULL)
        return ruleset;
    ruleset = ruleset_new();
    fuzz_require(ruleset != NULL);
    ruleset_add(ruleset, "f", rules_text, sizeof(rules_text) - 1, &reporter);
    ruleset_finish(ruleset, &reporter);
    return ruleset;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy_rules rules = {.ruleset = fuzz_rules(), .commands = 1};
    struct policy_state state = {.store = &fuzz.store, .lock = -1, .directory = "/nonexistent"};
    rules.world = (struct policy_world){
        .ruleset = rules.ruleset, .domains = domains, .domain_count = DOMAIN_COUNT};
    struct uses_show show = {.world = &rules.world};
    fuzz_take(data, size);
    fuzz_require(policy_uses_ask(&show.uses, &rules.world, &state, 0) == 0);
    fuzz_check(&show.uses);
    fuzz_show(&show, &rules);
    fuzz_again(&show.uses, &rules.world, &state);
    uses_show_free(&show);
    return 0;
}
