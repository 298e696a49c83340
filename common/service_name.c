/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/service_name.h"

#include "idc.h"

/* This does not use isalpha, since the answer must not depend on the program's locale. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_allowed(char c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool service_name_valid(const char *name, size_t len)
{
    bool letter = false;
    for (size_t i = 0; i < len; i++) {
        if (!is_allowed(name[i]))
            return false;
        letter = letter || is_letter(name[i]);
    }
    return len <= IDC_SERVICE_MAX && letter;
}
