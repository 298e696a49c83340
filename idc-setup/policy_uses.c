/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_uses.c - see policy_uses.h. */
#include "idc-setup/policy_uses.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "idc-setup/explain_sides.h"

#define USES_NUMBER_MAX 999999999999999999u
#define USES_PAUSE_MAX_MS 32
/* of an answer (docs/xenstore.md) */
#define USES_PARTS_MAX 8
#define USES_LINES_MAX 512

/* What one domain says of one kind of its connections. */
struct uses_claim {
    struct policy_use use; /* without the numbers */
    bool by_from;
    int64_t count;
};

struct uses_asking {
    struct policy_uses *uses;
    const struct policy_world *world;
    struct setup_store *store;
    uint64_t number;
    struct uses_claim *claims;
    size_t count, room;
    sigset_t signals, before; /* that end the program; what was blocked before */
    int signal;               /* that has come; 0: none */
};

/* ---- an answer, which may be any text ---- */

/* The next number, up to most, and the byte behind it. */
static bool uses_number(const char **text, char end, uint64_t most, uint64_t *number)
{
    const char *at = *text;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (*number > most / 10)
            return false;
        *number = 10 * *number + (uint64_t)(*at - '0');
    }
    if (at == *text || *at != end || *number > most)
        return false;
    *text = at + 1;
    return true;
}

static bool uses_word(const char **text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0)
        return false;
    *text += length;
    return true;
}

/* The line's last member, and perhaps a name behind it. */
static bool uses_count(const char **text, struct uses_claim *claim)
{
    uint64_t count;
    const char *at = *text;
    if (uses_number(&at, '\n', UINT32_MAX, &count)) {
        *text = at;
        claim->count = (int64_t)count;
        return true;
    }
    if (!uses_number(text, ' ', UINT32_MAX, &count))
        return false;
    size_t length = strcspn(*text, "\n");
    if ((*text)[length] != '\n' || length > USES_NAME_MAX || !service_name_valid(*text, length))
        return false;
    memcpy(claim->use.name, *text, length);
    claim->use.name[length] = '\0';
    *text += length + 1;
    claim->count = (int64_t)count;
    return true;
}

static bool uses_line(const char **text, int domid, struct uses_claim *claim)
{
    uint64_t peer, port, uid;
    *claim = (struct uses_claim){0};
    if (!uses_number(text, ' ', SETUP_DOMID_MAX, &peer))
        return false;
    claim->by_from = uses_word(text, "out ");
    if (!claim->by_from && !uses_word(text, "in "))
        return false;
    if (!uses_number(text, ' ', UINT32_MAX, &port))
        return false;
    claim->use.type = uses_word(text, "stream ") ? RULE_TYPE_STREAM : RULE_TYPE_SEQPACKET;
    if (claim->use.type == RULE_TYPE_SEQPACKET && !uses_word(text, "seqpacket "))
        return false;
    if (!uses_number(text, ' ', UINT32_MAX, &uid) || !uses_count(text, claim))
        return false;
    claim->use.from = claim->by_from ? domid : (int)peer;
    claim->use.to = claim->by_from ? (int)peer : domid;
    claim->use.port = (uint32_t)port;
    claim->use.uid = (uint32_t)uid;
    claim->use.name_known = !claim->by_from;
    return true;
}

static int uses_add(struct uses_asking *asking, const struct uses_claim *claim)
{
    if (asking->count == asking->room) {
        size_t room = asking->room == 0 ? 64 : 2 * asking->room;
        struct uses_claim *claims = reallocarray(asking->claims, room, sizeof(*claims));
        if (claims == NULL)
            return -ENOMEM;
        asking->claims = claims;
        asking->room = room;
    }
    asking->claims[asking->count++] = *claim;
    return 0;
}

/* A connection of no domain that is there, or of one with itself, is passed over. */
static int uses_take_lines(struct uses_asking *asking, int domid, const char *text, size_t *lines)
{
    struct uses_claim claim;
    const struct policy_world *world = asking->world;
    while (*text != '\0') {
        if (!uses_line(&text, domid, &claim) || ++*lines > USES_LINES_MAX)
            return -EBADMSG;
        int peer = claim.by_from ? claim.use.to : claim.use.from;
        if (peer == domid || policy_world_find(world, peer) == world->domain_count)
            continue;
        int result = uses_add(asking, &claim);
        if (result != 0)
            return result;
    }
    return 0;
}

/* One part. -ENOENT: it is not there, or is no answer to this question. */
static int uses_read_part(struct uses_asking *asking, struct policy_uses_domain *domain,
                          unsigned part, uint64_t *parts, size_t *lines)
{
    char path[SETUP_NODE_MAX], value[SETUP_VALUE_MAX + 1];
    uint64_t number, which;
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc/%d/use/%u", domain->domid,
             domain->domid, part);
    int length = asking->store->ops->get(asking->store, path, value);
    if (length < 0)
        return length == -ENOMEM || length == -EBADMSG ? length : -ENOENT;
    const char *text = value;
    if (!uses_number(&text, ' ', USES_NUMBER_MAX, &number))
        return -EBADMSG;
    if (number != asking->number)
        return -ENOENT;
    if (!uses_number(&text, ' ', USES_PARTS_MAX, &which) ||
        !uses_number(&text, ' ', USES_PARTS_MAX, parts) ||
        !uses_number(&text, '\n', USES_NUMBER_MAX, &domain->left) || which != part || *parts == 0)
        return -EBADMSG;
    return uses_take_lines(asking, domain->domid, text, lines);
}

/* -ENOENT: it has not answered yet. */
static int uses_read(struct uses_asking *asking, struct policy_uses_domain *domain)
{
    uint64_t parts = 1, same = 0;
    size_t lines = 0, before = asking->count;
    int result = uses_read_part(asking, domain, 0, &parts, &lines);
    for (unsigned part = 1; result == 0 && part < parts; part++) {
        result = uses_read_part(asking, domain, part, &same, &lines);
        if (result == -ENOENT || (result == 0 && same != parts))
            result = -EBADMSG; /* the first part was written last */
    }
    if (result == 0) {
        domain->answer = USES_ANSWERED;
        return 0;
    }
    asking->count = before;
    domain->left = 0;
    if (result == -EBADMSG)
        domain->answer = USES_WRONG;
    return result;
}

/* ---- signals ---- */

/* A signal that ends the program waits until the question is taken back. One that is ignored stays
 * so. SIGQUIT still ends it at once, should the store itself hang. */
static void uses_hold_signals(struct uses_asking *asking)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;
    sigemptyset(&asking->signals);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&asking->signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &asking->signals, &asking->before);
}

/* Waits. True: a signal has come. */
static bool uses_pause(struct uses_asking *asking, long ms)
{
    const struct timespec time = {.tv_nsec = ms * 1000000};
    int signal = sigtimedwait(&asking->signals, NULL, &time);
    asking->signal = signal > 0 ? signal : 0;
    return signal > 0;
}

static void uses_let_signals(const struct uses_asking *asking)
{
    sigprocmask(SIG_SETMASK, &asking->before, NULL);
    if (asking->signal != 0)
        raise(asking->signal);
}

/* ---- asking ---- */

static int uses_found(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
    return 1;
}

static void uses_ask_path(int domid, char path[SETUP_NODE_MAX])
{
    snprintf(path, SETUP_NODE_MAX, "/local/domain/%d/idc/policy/ask", domid);
}

static void uses_ask_one(struct uses_asking *asking, struct policy_uses_domain *domain)
{
    char path[SETUP_NODE_MAX], number[32];
    bool there = false;
    snprintf(path, sizeof(path), "/local/domain/%d/data/idc", domain->domid);
    asking->store->ops->below(asking->store, path, uses_found, &there);
    if (!there)
        return;
    domain->answer = USES_SILENT;
    uses_ask_path(domain->domid, path);
    snprintf(number, sizeof(number), "%" PRIu64, asking->number);
    asking->store->ops->put(asking->store, domain->domid, path, number);
}

static int uses_read_all(struct uses_asking *asking, bool *silent)
{
    *silent = false;
    for (size_t i = 0; i < asking->uses->domain_count; i++) {
        struct policy_uses_domain *domain = &asking->uses->domains[i];
        if (domain->answer == USES_SILENT && uses_read(asking, domain) == -ENOMEM)
            return -ENOMEM;
        *silent = *silent || domain->answer == USES_SILENT;
    }
    return 0;
}

static uint64_t uses_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int uses_wait(struct uses_asking *asking, unsigned wait_ms)
{
    const uint64_t until = uses_now_ms() + wait_ms;
    bool silent;
    for (long pause = 1;; pause = pause < USES_PAUSE_MAX_MS ? 2 * pause : pause) {
        int result = uses_read_all(asking, &silent);
        if (result != 0 || !silent || uses_now_ms() >= until || uses_pause(asking, pause))
            return result;
    }
}

static void uses_end_asking(struct uses_asking *asking)
{
    char path[SETUP_NODE_MAX];
    for (size_t i = 0; i < asking->uses->domain_count; i++)
        if (asking->uses->domains[i].answer != USES_NOT_ASKED) {
            uses_ask_path(asking->uses->domains[i].domid, path);
            asking->store->ops->drop(asking->store, path);
        }
}

/* ---- what both sides say ---- */

static int uses_compare(const void *a, const void *b)
{
    const struct policy_use *one = &((const struct uses_claim *)a)->use;
    const struct policy_use *other = &((const struct uses_claim *)b)->use;
    if (one->from != other->from)
        return one->from < other->from ? -1 : 1;
    if (one->to != other->to)
        return one->to < other->to ? -1 : 1;
    if (one->port != other->port)
        return one->port < other->port ? -1 : 1;
    if (one->uid != other->uid)
        return one->uid < other->uid ? -1 : 1;
    return (one->type > other->type) - (one->type < other->type);
}

static int64_t uses_said_nothing(const struct policy_uses *uses, int domid)
{
    size_t i = 0;
    while (i < uses->domain_count && uses->domains[i].domid != domid)
        i++;
    return i < uses->domain_count && uses->domains[i].answer == USES_ANSWERED ? 0 : -1;
}

static void uses_merge(struct policy_use *use, const struct uses_claim *claim)
{
    int64_t *says = claim->by_from ? &use->from_says : &use->to_says;
    *says += claim->count;
    if (!claim->by_from || !use->name_known) {
        memcpy(use->name, claim->use.name, sizeof(use->name));
        use->name_known = claim->use.name_known;
    }
}

/* Domain 0 is believed. Of two guests that say different things, the one that says more may be
 * right: nothing that may be there is kept back. */
static void uses_settle(struct policy_use *use)
{
    if (use->from == 0 && use->from_says >= 0)
        use->count = use->from_says;
    else if (use->to == 0 && use->to_says >= 0)
        use->count = use->to_says;
    else
        use->count = use->from_says > use->to_says ? use->from_says : use->to_says;
}

static int uses_make(struct uses_asking *asking)
{
    struct policy_uses *uses = asking->uses;
    uses->list = calloc(asking->count + 1, sizeof(*uses->list));
    if (uses->list == NULL)
        return -ENOMEM;
    if (asking->count > 1)
        qsort(asking->claims, asking->count, sizeof(*asking->claims), uses_compare);
    for (size_t i = 0; i < asking->count; i++) {
        if (i == 0 || uses_compare(&asking->claims[i - 1], &asking->claims[i]) != 0) {
            struct policy_use *use = &uses->list[uses->count++];
            *use = asking->claims[i].use;
            use->from_says = uses_said_nothing(uses, use->from);
            use->to_says = uses_said_nothing(uses, use->to);
        }
        uses_merge(&uses->list[uses->count - 1], &asking->claims[i]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < uses->count; i++) {
        uses_settle(&uses->list[i]);
        if (uses->list[i].count > 0)
            uses->list[kept++] = uses->list[i];
    }
    uses->count = kept;
    return 0;
}

static int uses_ask_all(struct uses_asking *asking, unsigned wait_ms)
{
    if (getrandom(&asking->number, sizeof(asking->number), 0) != sizeof(asking->number))
        asking->number = uses_now_ms();
    asking->number = asking->number % USES_NUMBER_MAX + 1;
    uses_hold_signals(asking);
    for (size_t i = 0; i < asking->uses->domain_count; i++) {
        asking->uses->domains[i].domid = asking->world->domains[i].domid;
        uses_ask_one(asking, &asking->uses->domains[i]);
    }
    int result = uses_wait(asking, wait_ms);
    uses_end_asking(asking);
    uses_let_signals(asking);
    return result == 0 ? uses_make(asking) : result;
}

int policy_uses_ask(struct policy_uses *uses, const struct policy_world *world,
                    struct policy_state *state, unsigned wait_ms)
{
    struct uses_asking asking = {.uses = uses, .world = world, .store = state->store};
    bool lock = state->lock < 0 && access(state->directory, F_OK) == 0;
    *uses = (struct policy_uses){.domains = calloc(world->domain_count + 1, sizeof(*uses->domains)),
                                 .domain_count = world->domain_count};
    if (uses->domains == NULL)
        return -ENOMEM;
    bool locked = lock && policy_state_lock(state) == 0;
    int result = uses_ask_all(&asking, wait_ms);
    if (locked)
        policy_state_unlock(state);
    free(asking.claims);
    if (result != 0)
        policy_uses_free(uses);
    return result;
}

void policy_uses_free(struct policy_uses *uses)
{
    free(uses->list);
    free(uses->domains);
    *uses = (struct policy_uses){0};
}

bool policy_uses_any_answer(const struct policy_uses *uses)
{
    for (size_t i = 0; i < uses->domain_count; i++)
        if (uses->domains[i].answer == USES_ANSWERED)
            return true;
    return false;
}

/* ---- by which rule ---- */

int policy_uses_judge(const struct policy_use *use, const struct policy_rules *rules,
                      struct setup_store *store, struct use_verdict *verdict)
{
    const struct policy_world *world = &rules->world;
    size_t from = policy_world_find(world, use->from), to = policy_world_find(world, use->to);
    size_t count = rules->ruleset->rule_count;
    *verdict = (struct use_verdict){.rule = count};
    if (from == world->domain_count || to == world->domain_count)
        return 0;
    const struct ruleset_question question = {
        .from = world->domains[from],
        .to = world->domains[to],
        .port = use->port,
        .name = use->name[0] == '\0' ? NULL : use->name,
        .name_known = use->name_known || use->name[0] != '\0',
        .uid = use->uid,
        .type = use->type,
        .now = time(NULL),
    };
    struct verdict_fit *fits = calloc(count + 1, sizeof(*fits));
    int result = fits == NULL ? -ENOMEM : verdict_fits(rules->ruleset, &question, fits);
    if (result == 0) {
        verdict->rule = verdict_decides(fits, count);
        verdict->by_node = verdict->rule >= rules->commands &&
                           explain_node_allows(store, &question, true) &&
                           explain_node_allows(store, &question, false);
        verdict->allowed = verdict->by_node ||
                           (verdict->rule < count && rules->ruleset->rules[verdict->rule].allow);
    }
    free(fits);
    return result;
}
