/* SPDX-License-Identifier: GPL-2.0-or-later */
/* judge.h has the contract. */
#include "link_mgr/core/judge.h"

#include "link_mgr/core/core.h"

static bool judge_is_own(const struct core *core, uint32_t domid)
{
    return domid == (uint32_t)core->domid;
}

bool judge_allows(const struct core *core, const struct judge_question *question)
{
    if (judge_is_own(core, question->domid))
        return true;
    const struct peer *peer =
        question->domid < IDC_DOMID_SELF ? core->by_domid[question->domid] : NULL;
    if (!peer || !peer->allowed)
        return false;
    return question->direction == JUDGE_IN
               ? policy_allows_in(&peer->policy, question->port, question->name)
               : policy_allows_out(&peer->policy, question->port, question->name);
}

/* The listener's program may have closed it, and the host will notice only later. */
static bool judge_hears(const struct core *core, struct listener *listener, bool offer)
{
    return listener->backlog > 0 && core->host->listening(core->host, listener, offer);
}

bool judge_shows(const struct core *core, uint32_t domid, struct listener *listener)
{
    const struct judge_question question = {.direction = JUDGE_IN,
                                            .domid = domid,
                                            .port = listener->port,
                                            .name = listener->name,
                                            .type = listener->type};
    return judge_allows(core, &question) && judge_hears(core, listener, false);
}

static struct listener *judge_find(struct core *core, const struct judge_question *question)
{
    struct listener *listener = question->name[0]
                                    ? listener_by_name(&core->listeners, question->name)
                                    : listener_by_port(&core->listeners, question->port);
    bool hidden = listener && listener->local_only && !judge_is_own(core, question->domid);
    return hidden ? NULL : listener;
}

enum reason judge_admits(struct core *core, const struct judge_question *question,
                         struct listener **listener)
{
    struct listener *found = judge_find(core, question);
    struct judge_question full = *question;
    if (found) {
        full.port = found->port;
        full.name = found->name;
    }
    *listener = found;
    if (!judge_allows(core, &full))
        return REASON_POLICY;
    if (!found || !judge_hears(core, found, true))
        return REASON_NO_LISTENER;
    if (found->type != question->type)
        return REASON_WRONG_TYPE;
    if (found->waiting >= found->backlog)
        return REASON_BACKLOG_FULL;
    return REASON_OK;
}
