/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * advice.c - see advice.h.
 *
 * After a refusal by policy it is a command for the toolstack's domain, which is right as it is
 * printed. It opens what was asked for and nothing else, and takes nothing away:
 *
 *   nothing allows it              idc-setup allow FROM TO WHAT
 *   a rule does, for other users   the same, with the uid of this one
 *   a rule denies it               idc-setup explain FROM TO WHAT
 *   `any`                          idc-setup explain FROM any SERVICE
 *
 * `allow` is for one direction, and its rule stands before all others. So it helps whether or not
 * there are other rules, or policy nodes. It would also help against a rule that denies. But
 * somebody wrote that on purpose. So we don't advise to get round it: explain tells how to change
 * it.
 *
 * Domains are named by their domids. Several may have one name, and of those a domain knows only
 * the ones that its rules join it with. So a command with a name could open more than that.
 */
#include "tools/advice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libidc/internal.h"

#define ADVICE_MS 10000
/* The words of link_mgr's explanation (judge_explain.c). With others, allow is advised. */
#define ADVICE_DENIES " denies it"
#define ADVICE_OTHER_UIDS " allows it to uid "

#define ADVICE_ANY "any"

typedef char advice_domain[16];

/* ---- domains ---- */

static bool advice_ask(const struct compact_writer *call, struct libidc_answer *answer)
{
    return libidc_call(libidc_socket_path(command_socket), call, ADVICE_MS, answer, NULL) == 0;
}

static bool advice_resolve(const char *text, struct libidc_answer *answer)
{
    struct compact_writer call;
    compact_begin(&call, COMPACT_CALL, "idc.resolve");
    compact_put_text(&call, "domain", text);
    return advice_ask(&call, answer);
}

/* The domain of an answer of link_mgr. */
static bool advice_domid(const struct libidc_answer *answer, advice_domain out)
{
    int64_t domid = libidc_answer_int(answer, "domid", -1);
    if (domid == 0)
        snprintf(out, sizeof(advice_domain), "dom0");
    else
        snprintf(out, sizeof(advice_domain), "%d", (int)domid);
    return domid >= 0;
}

static bool advice_own(advice_domain out)
{
    struct compact_writer call;
    struct libidc_answer answer;
    compact_begin(&call, COMPACT_CALL, "idc.domid");
    return advice_ask(&call, &answer) && advice_domid(&answer, out);
}

static bool advice_target(const char *text, advice_domain out)
{
    struct libidc_answer answer;
    if (strcmp(text, ADVICE_ANY) == 0) {
        snprintf(out, sizeof(advice_domain), ADVICE_ANY);
        return true;
    }
    return advice_resolve(text, &answer) && advice_domid(&answer, out);
}

/* ---- commands ---- */

static void advice_permission(const struct target *target, int type, const char *why,
                              char advice[ADVICE_MAX])
{
    char port[16], uid[24];
    advice_domain from, to;
    /* what follows may overwrite why */
    const bool denied = strstr(why, ADVICE_DENIES) != NULL;
    const bool others = strstr(why, ADVICE_OTHER_UIDS) != NULL;
    if (access(libidc_socket_path(command_socket), W_OK) != 0 || !advice_own(from) ||
        !advice_target(target->domain, to))
        return;
    snprintf(port, sizeof(port), "%u", target->port);
    const char *what = target->port != 0 ? port : target->service;
    if (denied || strcmp(to, ADVICE_ANY) == 0) {
        snprintf(advice, ADVICE_MAX,
                 "; how to allow it is told, where the toolstack runs, by: "
                 "idc-setup explain --uid %u%s %s %s %s",
                 (unsigned)geteuid(), type == IDC_SEQPACKET ? " --type seqpacket" : "", from, to,
                 what);
        return;
    }
    snprintf(uid, sizeof(uid), " uid=%u", (unsigned)geteuid());
    snprintf(advice, ADVICE_MAX,
             "; to allow it, where the toolstack runs: idc-setup allow %s %s %s%s", from, to, what,
             others ? uid : "");
}

void advice_make(const struct target *target, int type, int error, const char *why,
                 char advice[ADVICE_MAX])
{
    advice[0] = '\0';
    switch (error) {
    case EACCES:
        advice_permission(target, type, why, advice);
        break;
    case ECONNREFUSED:
        if (target->start) {
            snprintf(advice, ADVICE_MAX, " (to start it there: %s)", target->start);
            break;
        }
        __attribute__((fallthrough));
    case EPROTOTYPE:
        if (target->port != IDC_PORT_MANAGER && strcmp(target->domain, ADVICE_ANY) != 0 &&
            access(libidc_socket_path(command_socket), F_OK) == 0)
            snprintf(advice, ADVICE_MAX, " (what it offers: idc services %s)", target->domain);
        break;
    default:
        break;
    }
}
