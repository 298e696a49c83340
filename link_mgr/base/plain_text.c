/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plain_text.c - see plain_text.h. */
#include "link_mgr/base/plain_text.h"

#include <stdbool.h>

/* Whatever the locale is. */
static bool is_plain(unsigned char byte)
{
    return byte >= ' ' && byte <= '~' && byte != '\\';
}

void plain_text(char *out, size_t size, const char *text, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (at + (is_plain(byte) ? 1 : 4) >= size)
            break;
        if (is_plain(byte)) {
            out[at++] = text[i];
            continue;
        }
        out[at++] = '\\';
        out[at++] = 'x';
        out[at++] = digits[byte >> 4];
        out[at++] = digits[byte & 15];
    }
    if (size > 0)
        out[at] = '\0';
}
