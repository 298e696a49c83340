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

static bool is_digits(const char *item, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((item[i] < '0' || item[i] > '9') && item[i] != '-')
            return false;
    return len > 0 && item[0] != '-';
}

static bool is_wildcard(char c, const char *wildcards)
{
    while (*wildcards != '\0' && *wildcards != c)
        wildcards++;
    return *wildcards != '\0';
}

enum service_item service_item(const char *item, size_t len, const char *wildcards)
{
    char plain[IDC_SERVICE_MAX];
    if (is_digits(item, len))
        return SERVICE_ITEM_PORTS;
    if (len > IDC_SERVICE_MAX)
        return SERVICE_ITEM_WRONG;
    for (size_t i = 0; i < len; i++)
        plain[i] = (char)(is_wildcard(item[i], wildcards) ? '-' : item[i]);
    return service_name_valid(plain, len) ? SERVICE_ITEM_NAME : SERVICE_ITEM_WRONG;
}
