/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both stores of rules need: the path of a rule, and domids as text.
 */
#include "idc-setup/setup_store.h"

#include <stdio.h>
#include <string.h>

void setup_path(int domid, int peer, char path[SETUP_PATH_MAX])
{
    snprintf(path, SETUP_PATH_MAX, "/local/domain/%d/idc/policy/%d", domid, peer);
}

int setup_parse_domid(const char *text)
{
    int domid = 0;
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length > 5 || text[length] != '\0' || (text[0] == '0' && length > 1))
        return -1;
    for (const char *c = text; *c != '\0'; c++)
        domid = domid * 10 + (*c - '0');
    return domid <= SETUP_DOMID_MAX ? domid : -1;
}
