/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzer: values of policy nodes. What is accepted is formatted, parsed again, and must mean the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[POLICY_VALUE_MAX + 1], first[16384], second[16384];
    static struct policy policy, again;
    if (size > POLICY_VALUE_MAX || memchr(data, 0, size))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (policy_parse(&policy, text, NULL)) {
        if (policy_allows_in(&policy, 80, "x") || policy_allows_out(&policy, 80, "x"))
            abort();
        return 0;
    }
    if (policy_format(&policy, first, sizeof(first)) < 0 || strlen(first) > POLICY_VALUE_MAX)
        return 0;
    if (policy_parse(&again, first, NULL) || policy_format(&again, second, sizeof(second)) < 0 ||
        strcmp(first, second))
        abort();
    return 0;
}
