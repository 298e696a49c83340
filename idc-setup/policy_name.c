/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policy_name.c - what a domain of the local platform is called. On Xen the toolstack says that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "idc-setup/fail.h"
#include "idc-setup/policy_change.h"

static int name_set(struct setup_store *store, int domid, const char *node, const char *value)
{
    char path[SETUP_NODE_MAX];
    snprintf(path, sizeof(path), "/local/domain/%d/%s", domid, node);
    int error =
        value == NULL ? store->ops->drop(store, path) : store->ops->put(store, domid, path, value);
    return error == 0
               ? 0
               : policy_fail(SETUP_STATUS_FAILED, "cannot write %s: %s", path, strerror(-error));
}

static int name_check(int domid, char **arguments)
{
    char name[DOMAIN_NAME_MAX + 1], term[DOMAIN_NAME_MAX + 8];
    struct ruleset_domain domain;
    struct problem problem;
    if (domid < 0)
        return policy_fail(SETUP_STATUS_USAGE, "\"%s\" is not a DOMID, 0 to %d", arguments[0],
                           SETUP_DOMID_MAX);
    if (arguments[1] == NULL)
        return 0;
    if (arguments[1][0] == '\0' || strlen(arguments[1]) > DOMAIN_NAME_MAX)
        return policy_fail(SETUP_STATUS_USAGE, "a name has 1 to %d bytes", DOMAIN_NAME_MAX);
    for (const char *at = arguments[1]; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return policy_fail(SETUP_STATUS_USAGE, "a name has no control characters");
    if (arguments[2] == NULL)
        return 0;
    snprintf(term, sizeof(term), "uuid:%.64s", arguments[2]);
    return domain_parse_asked(term, name, &domain, &problem)
               ? 0
               : policy_fail(SETUP_STATUS_USAGE, "%s; %s", problem.text, problem.hint);
}

int policy_name(struct policy_options *options, char **arguments)
{
    int domid = setup_parse_domid(arguments[0]);
    int status = name_check(domid, arguments);
    if (status == 0)
        status = setup_platform_choose(&options->platform);
    if (status != 0)
        return status;
    if (options->platform.ops != &setup_store_local)
        return policy_fail(SETUP_STATUS_FAILED, "names are xl's business on Xen: xl rename");
    struct policy_state state;
    status = policy_state_open(&state, &options->platform, true);
    if (status != 0)
        return status;
    if (arguments[1] != NULL && arguments[2] != NULL)
        status = name_set(state.store, domid, "uuid", arguments[2]);
    else if (arguments[1] == NULL)
        status = name_set(state.store, domid, "uuid", NULL);
    if (status == 0)
        status = name_set(state.store, domid, "name", arguments[1]);
    policy_state_close(&state);
    if (status != 0)
        return status;
    struct policy_rules rules;
    status = policy_publish_again(&options->platform, &rules);
    if (status == 0)
        policy_rules_free(&rules);
    return status;
}
