/* SPDX-License-Identifier: GPL-2.0-or-later */
/* audit_limit.c - see audit_limit.h. */
#include "link_mgr/hub/audit_limit.h"

#define LINE 1000u /* what a line costs */

/* burst in lines, rate in lines a second. A rule's log=yes asks for lines, and whoever changes
 * rules wants to see what ended by it. Anybody can cause refusals. */
struct audit_pay {
    unsigned burst, rate;
};
static const struct audit_pay pays[AUDIT_KINDS] = {
    [AUDIT_REFUSED] = {20, 2}, [AUDIT_ACCEPTED] = {100, 10}, [AUDIT_REVOKED] = {100, 10}};
static const struct audit_pay pay_of_all = {500, 100};

static void account_fill(struct audit_account *account, const struct audit_pay *pay,
                         uint64_t now_ms)
{
    uint64_t most = (uint64_t)pay->burst * LINE, gain = (now_ms - account->at_ms) * pay->rate;
    if (account->at_ms == 0 || gain >= most - account->worth)
        account->worth = most;
    else
        account->worth += gain;
    account->at_ms = now_ms;
}

static bool account_is_of(const struct audit_account *account, const struct audit_key *key)
{
    return account->key.incoming == key->incoming && account->key.domid == key->domid &&
           account->key.uid == key->uid;
}

/* Nobody misses an account that is full, and has nothing to tell. */
static bool account_is_idle(const struct audit_account *account, const struct audit_pay *pay,
                            uint64_t now_ms)
{
    return account->at_ms == 0 ||
           (account->left_out == 0 && now_ms - account->at_ms >= LINE * pay->burst / pay->rate);
}

static struct audit_account *account_of(struct audit_limit *limit, const struct audit_key *key,
                                        uint64_t now_ms)
{
    uint32_t hash = ((key->domid * 2 + key->incoming) ^ key->uid * 40503u) * 2654435761u;
    struct audit_account *account = &limit->places[key->kind][(hash >> 16) % AUDIT_PLACES];
    if (account->at_ms != 0 && account_is_of(account, key))
        return account;
    if (account_is_idle(account, &pays[key->kind], now_ms)) {
        *account = (struct audit_account){.key = *key};
        return account;
    }
    account = &limit->shared[key->kind][key->incoming];
    account->key = (struct audit_key){.kind = key->kind, .incoming = key->incoming, .shared = true};
    return account;
}

bool audit_limit_admit(struct audit_limit *limit, const struct audit_key *key, uint64_t now_ms)
{
    struct audit_account *account = account_of(limit, key, now_ms);
    account_fill(account, &pays[key->kind], now_ms);
    account_fill(&limit->all, &pay_of_all, now_ms);
    if (account->worth < LINE || limit->all.worth < LINE) {
        account->left_out++;
        limit->untold = true;
        return false;
    }
    account->worth -= LINE;
    limit->all.worth -= LINE;
    return true;
}

struct audit_telling {
    void (*tell)(void *arg, const struct audit_key *key, uint64_t left_out);
    void *arg;
};

static void account_tell(struct audit_account *account, const struct audit_telling *telling)
{
    if (account->left_out > 0)
        telling->tell(telling->arg, &account->key, account->left_out);
    account->left_out = 0;
}

void audit_limit_tell(struct audit_limit *limit,
                      void (*tell)(void *arg, const struct audit_key *key, uint64_t left_out),
                      void *arg)
{
    const struct audit_telling telling = {tell, arg};
    if (!limit->untold)
        return;
    limit->untold = false;
    for (int kind = 0; kind < AUDIT_KINDS; kind++) {
        for (int i = 0; i < AUDIT_PLACES; i++)
            account_tell(&limit->places[kind][i], &telling);
        account_tell(&limit->shared[kind][0], &telling);
        account_tell(&limit->shared[kind][1], &telling);
    }
}
