/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * text_cut.h - texts that people read, in places of a fixed size. Each place is large enough for
 * what is meant for it. If a text does not fit all the same (with a path of 4,096 bytes, for
 * example), a mark shows that it was cut.
 */
#ifndef IDC_TEXT_CUT_H
#define IDC_TEXT_CUT_H

#include <stddef.h>
#include <string.h>

#define TEXT_CUT_MARK "..."

/* length is what snprintf(text, size, ...) returned. */
static inline void text_mark_cut(char *text, size_t size, int length)
{
    if (length >= 0 && (size_t)length >= size && size >= sizeof(TEXT_CUT_MARK))
        memcpy(text + size - sizeof(TEXT_CUT_MARK), TEXT_CUT_MARK, sizeof(TEXT_CUT_MARK));
}

#endif
