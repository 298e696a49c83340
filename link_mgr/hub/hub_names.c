/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hub_names.c - which domain is meant by a name, a UUID or `any` (docs/rpc.md, "Naming a domain").
 *
 * All that is known here is what the toolstack has told this domain (core/names.h). So a name of a
 * domain that this one may not know is answered as one that nobody has. A name is looked up for
 * each attempt of a connect. A domain that was started again under another domid is found by the
 * next one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/text_cut.h"
#include "link_mgr/core/names.h"
#include "link_mgr/hub/hub_private.h"

#define SHOWN_NAME 64  /* bytes of a name in a message */
#define SHOWN_LIST 200 /* ... and of a list of names or domids */

static bool names_fits(const struct naming *naming, const struct names_domain *domain)
{
    uint8_t uuid[NAMING_UUID_SIZE];
    if (naming->kind == NAMING_NAME)
        return domain->name && strcmp(domain->name, naming->name) == 0;
    return domain->uuid && naming_read_uuid(domain->uuid, strlen(domain->uuid), uuid) &&
           memcmp(uuid, naming->uuid, NAMING_UUID_SIZE) == 0;
}

/* A name, cut to what a message has room for. */
static const char *names_shown(const char *name, char text[SHOWN_NAME + 1])
{
    text_mark_cut(text, SHOWN_NAME + 1, snprintf(text, SHOWN_NAME + 1, "%s", name));
    return text;
}

static const char *names_text(const struct naming *naming, char text[SHOWN_NAME + 1])
{
    char uuid[NAMING_UUID_TEXT + 1];
    if (naming->kind == NAMING_NAME)
        return names_shown(naming->name, text);
    naming_write_uuid(naming->uuid, uuid);
    snprintf(text, SHOWN_NAME + 1, "uuid:%s", uuid);
    return text;
}

/* ---- lists for messages ---- */

struct names_list {
    char text[SHOWN_LIST];
    unsigned count, left_out;
};

static void names_list_add(struct names_list *list, const char *item)
{
    size_t at = strlen(list->text);
    bool room = at + strlen(item) + 3 < sizeof(list->text) && list->left_out == 0;
    if (room)
        snprintf(list->text + at, sizeof(list->text) - at, "%s%s", at > 0 ? ", " : "", item);
    list->left_out += !room;
    list->count++;
}

static int names_unknown(const struct core *core, const struct naming *naming,
                         char why[HUB_WHY_MAX])
{
    struct names_list known = {.count = 0};
    struct names_domain domain;
    char shown[SHOWN_NAME + 1];
    for (unsigned at = 0; names_next(core, &at, &domain);)
        if (domain.name && known.left_out == 0) /* after that, more would not be shown */
            names_list_add(&known, names_shown(domain.name, shown));
    int length = snprintf(why, HUB_WHY_MAX, "%s: this domain is told of no such domain",
                          names_text(naming, shown));
    if (known.count > 0)
        length += snprintf(why + length, (size_t)(HUB_WHY_MAX - length), " (it knows %s%s)",
                           known.text, known.left_out > 0 ? " and others" : "");
    if (length < HUB_WHY_MAX)
        snprintf(why + length, (size_t)(HUB_WHY_MAX - length),
                 ", or may not know of it: in dom0, idc-setup explain tells");
    return -EHOSTUNREACH;
}

static int names_ambiguous(const struct naming *naming, const struct names_list *domids,
                           char why[HUB_WHY_MAX])
{
    char shown[SHOWN_NAME + 1];
    snprintf(why, HUB_WHY_MAX,
             "%s: there are %u such domains, with the domids %s%s; domid:N or uuid:UUID tells them "
             "apart",
             names_text(naming, shown), domids->count, domids->text,
             domids->left_out > 0 ? " and others" : "");
    return -ENOTUNIQ;
}

/* ---- looking up ---- */

static int names_look_up(const struct core *core, const struct naming *naming, uint32_t *domid,
                         char why[HUB_WHY_MAX])
{
    struct names_list found = {.count = 0};
    struct names_domain domain;
    char number[16];
    for (unsigned at = 0; names_next(core, &at, &domain);) {
        if (!names_fits(naming, &domain))
            continue;
        snprintf(number, sizeof(number), "%u", domain.domid);
        names_list_add(&found, number);
        *domid = domain.domid;
    }
    if (found.count == 1)
        return 0;
    return found.count == 0 ? names_unknown(core, naming, why)
                            : names_ambiguous(naming, &found, why);
}

int hub_resolve(struct hub *hub, const struct naming *naming, uint32_t *domid,
                char why[HUB_WHY_MAX])
{
    switch (naming->kind) {
    case NAMING_DOMID:
        *domid = naming->domid;
        return 0;
    case NAMING_SELF:
        *domid = (uint32_t)hub->core->domid;
        return 0;
    case NAMING_ANY:
        snprintf(why, HUB_WHY_MAX, "any is no domain: which one serves depends on the service");
        return -EINVAL;
    default:
        return names_look_up(hub->core, naming, domid, why);
    }
}

static const char *names_or_none(const char *text)
{
    return text ? text : "";
}

struct hub_domain hub_domain_of(const struct hub *hub, uint32_t domid)
{
    struct names_domain domain;
    for (unsigned at = 0; names_next(hub->core, &at, &domain);)
        if (domain.domid == domid)
            return (struct hub_domain){names_or_none(domain.name), names_or_none(domain.uuid)};
    return (struct hub_domain){"", ""};
}

/* ---- connects ---- */

bool hub_is_open_ended(const struct hub_connect *request)
{
    enum naming_kind kind = request->to.kind;
    return kind == NAMING_ANY || (request->wait && (kind == NAMING_NAME || kind == NAMING_UUID));
}

const char *hub_called(const struct hub_pending *pending, char text[HUB_CALLED_MAX])
{
    const struct hub_connect *request = &pending->request;
    const struct hub_route *route = &pending->route;
    char shown[SHOWN_NAME + 1];
    const char *name = hub_domain_of(pending->hub, request->domid).name;
    switch (request->to.kind) {
    case NAMING_NAME:
    case NAMING_UUID:
        snprintf(text, HUB_CALLED_MAX, "domain %s (%u)", names_text(&request->to, shown),
                 request->domid);
        break;
    case NAMING_ANY:
        names_shown(name, shown);
        snprintf(text, HUB_CALLED_MAX, "domain %s%s%u%s, number %u of %u by the route", shown,
                 name[0] ? " (" : "", request->domid, name[0] ? ")" : "", route->next,
                 route->count);
        break;
    default:
        snprintf(text, HUB_CALLED_MAX, "domain %u", request->domid);
    }
    return text;
}

/* The next domain of the route, or the first one of the route as it is now. */
static int names_next_of_route(struct hub *hub, struct hub_pending *pending)
{
    struct hub_route *route = &pending->route;
    struct hub_connect *request = &pending->request;
    if (route->next == route->count) {
        route->count = names_route(hub->core, request->name, route->domids);
        route->next = 0;
    }
    if (route->count == 0) {
        snprintf(pending->why, sizeof(pending->why),
                 "any, service %s: this domain is told of no route for it", request->name);
        return -EHOSTUNREACH;
    }
    request->domid = route->domids[route->next++];
    return 0;
}

bool hub_find_domain(struct hub *hub, struct hub_pending *pending)
{
    struct hub_connect *request = &pending->request;
    int error = 0;
    if (request->to.kind == NAMING_ANY)
        error = names_next_of_route(hub, pending);
    else if (request->to.kind != NAMING_DOMID)
        error = hub_resolve(hub, &request->to, &request->domid, pending->why);
    if (error && !hub_try_again(pending, REASON_OK, error, pending->why))
        hub_answer_known(pending, error);
    return error == 0;
}
