/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* naming.c - see naming.h. */
#include "common/naming.h"

#include <stdio.h>
#include <string.h>

#define NAMING_DOMID_SELF 32752 /* IDC_DOMID_SELF, 0x7FF0 */

static bool naming_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool naming_all_digits(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* ---- UUIDs ---- */

static int naming_hex(char c)
{
    if (naming_is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool naming_is_dash(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool naming_read_uuid(const char *text, size_t len, uint8_t uuid[NAMING_UUID_SIZE])
{
    size_t digits = 0;
    memset(uuid, 0, NAMING_UUID_SIZE);
    if (len != NAMING_UUID_TEXT)
        return false;
    for (size_t i = 0; i < len; i++) {
        int digit = naming_hex(text[i]);
        if (naming_is_dash(i) ? text[i] != '-' : digit < 0)
            return false;
        if (naming_is_dash(i))
            continue;
        uuid[digits / 2] = (uint8_t)(uuid[digits / 2] * 16 + digit);
        digits++;
    }
    return true;
}

void naming_write_uuid(const uint8_t uuid[NAMING_UUID_SIZE], char text[NAMING_UUID_TEXT + 1])
{
    static const char hex[] = "0123456789abcdef";
    size_t digits = 0;
    for (size_t i = 0; i < NAMING_UUID_TEXT; i++) {
        uint8_t byte = uuid[digits / 2];
        text[i] = '-';
        if (naming_is_dash(i))
            continue;
        text[i] = hex[digits % 2 == 0 ? byte >> 4 : byte & 15];
        digits++;
    }
    text[NAMING_UUID_TEXT] = '\0';
}

/* ---- the forms ---- */

const char *naming_check_name(const char *name)
{
    size_t len = strnlen(name, NAMING_NAME_MAX + 1);
    if (len == 0)
        return "a domain's name is not empty; domain 0 is dom0, the own domain is self";
    if (len > NAMING_NAME_MAX)
        return "a domain's name has at most 255 bytes";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return "a domain's name has no control characters";
    return NULL;
}

static const char *naming_take_name(struct naming *naming, const char *name)
{
    const char *wrong = naming_check_name(name);
    if (wrong != NULL)
        return wrong;
    naming->kind = NAMING_NAME;
    strcpy(naming->name, name);
    return NULL;
}

static const char *naming_take_domid(struct naming *naming, const char *text)
{
    uint32_t number = 0;
    bool good = naming_all_digits(text);
    for (; good && *text != '\0'; text++) {
        number = 10 * number + (uint32_t)(*text - '0');
        good = number <= NAMING_DOMID_SELF;
    }
    if (!good)
        return "a domid is 0 to 32751; a domain that is called so is name:NUMBER";
    naming->kind = number == NAMING_DOMID_SELF ? NAMING_SELF : NAMING_DOMID;
    naming->domid = number;
    return NULL;
}

static const char *naming_take_uuid(struct naming *naming, const char *text)
{
    static const uint8_t none[NAMING_UUID_SIZE];
    naming->kind = NAMING_UUID;
    if (!naming_read_uuid(text, strlen(text), naming->uuid))
        return "a UUID is written as in uuid:00112233-4455-6677-8899-aabbccddeeff";
    if (memcmp(naming->uuid, none, sizeof(none)) == 0)
        return "the UUID of zeros is no domain's; domain 0 is dom0";
    return NULL;
}

static bool naming_begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static const char *naming_take_prefixed(struct naming *naming, const char *text)
{
    const char *rest = strchr(text, ':') + 1;
    if (naming_begins(text, "name:"))
        return naming_take_name(naming, rest);
    if (naming_begins(text, "domid:"))
        return naming_take_domid(naming, rest);
    if (naming_begins(text, "uuid:"))
        return naming_take_uuid(naming, rest);
    return "before the colon stands name, uuid or domid; a name that has a colon is name:NAME";
}

const char *naming_parse(struct naming *naming, const char *text)
{
    *naming = (struct naming){.kind = NAMING_DOMID};
    if (strcmp(text, "dom0") == 0)
        return NULL;
    if (strcmp(text, "self") == 0 || strcmp(text, "any") == 0) {
        naming->kind = text[0] == 's' ? NAMING_SELF : NAMING_ANY;
        return NULL;
    }
    if (naming_all_digits(text))
        return naming_take_domid(naming, text);
    if (strchr(text, ':') != NULL)
        return naming_take_prefixed(naming, text);
    if (text[0] == '@')
        return "a group is many domains; a domain that is called so is name:@NAME";
    if (strpbrk(text, "*?") != NULL)
        return "a glob is many domains; a domain that is called so is name:NAME";
    return naming_take_name(naming, text);
}
