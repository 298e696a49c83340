/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who of other domains has how many of the connections that a user here may have
 * (USER_CONNECTIONS). A service would otherwise be closed to all by one remote user that keeps
 * connections. As with quota.h, whoever has some may take no more than is left. A domain may have
 * as many as it leaves to others, and a user of it as many as that domain could still have. So one
 * domain gets at most half, and one user a third. Of a small limit there are no parts: SHARE_FREE
 * are for whoever comes first. A domain can lie about its users, but is itself what Xen says.
 */
#include "link_mgr/hub/hub_private.h"

#define SHARE_FREE 8

enum { SHARE_DOMAIN, SHARE_USER };

void hub_shares_init(struct hub *hub)
{
    static const struct quota_limit limits[QUOTA_KINDS] = {
        [SHARE_DOMAIN] = {QUOTA_NO_LIMIT, QUOTA_NO_LIMIT},
        [SHARE_USER] = {QUOTA_NO_LIMIT, QUOTA_NO_LIMIT}};
    quota_init(&hub->shares, limits, false);
}

void hub_shares_end(struct hub *hub)
{
    quota_end(&hub->shares);
}

/* Domids are less than 2^15. */
static uint64_t share_domain(uint32_t uid, const struct conn *conn)
{
    return (uint64_t)uid << 32 | (uint32_t)conn->peer->domid << 1;
}

/* It is odd. Two users may have the same number, by a chance of one to 2^63. */
static uint64_t share_user(uint32_t uid, const struct conn *conn)
{
    uint64_t number = share_domain(uid, conn) + conn->uid * 0x9e3779b97f4a7c15u;
    number = (number ^ number >> 32) * 0xd6e8feb86659fd93u;
    return (number ^ number >> 32) | 1;
}

/* May there be one more of them, which is already counted for the user here? */
static bool share_may_take(const struct hub *hub, uint32_t uid, const struct conn *conn)
{
    const struct quota *users = hub->users;
    uint64_t most = users->limits[USER_CONNECTIONS].each;
    uint64_t all = quota_held(users, uid, USER_CONNECTIONS);
    uint64_t of_domain = quota_held(&hub->shares, share_domain(uid, conn), SHARE_DOMAIN) + 1;
    uint64_t of_user = quota_held(&hub->shares, share_user(uid, conn), SHARE_USER) + 1;
    if (uid == 0 || uid == users->own || most == QUOTA_NO_LIMIT)
        return true;
    uint64_t left = most - all + 1;
    bool domain_may = of_domain <= SHARE_FREE || of_domain <= left;
    return domain_may && (of_user <= SHARE_FREE || of_user + of_domain <= left + 1);
}

bool hub_share_take(struct hub *hub, uint32_t uid, const struct conn *conn)
{
    uint64_t domain = share_domain(uid, conn);
    if (!share_may_take(hub, uid, conn) || !quota_take(&hub->shares, domain, SHARE_DOMAIN, 1))
        return false;
    if (quota_take(&hub->shares, share_user(uid, conn), SHARE_USER, 1))
        return true;
    quota_give(&hub->shares, domain, SHARE_DOMAIN, 1);
    return false;
}

void hub_share_give(struct hub *hub, uint32_t uid, const struct conn *conn)
{
    quota_give(&hub->shares, share_domain(uid, conn), SHARE_DOMAIN, 1);
    quota_give(&hub->shares, share_user(uid, conn), SHARE_USER, 1);
}
