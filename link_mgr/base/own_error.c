/* SPDX-License-Identifier: GPL-2.0-or-later */
/* own_error.c - see own_error.h. */
#include "link_mgr/base/own_error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_mgr/base/numbers.h"

int own_error(int error)
{
    if (abs(error) == EMFILE)
        numbers_lack();
    switch (abs(error)) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return error < 0 ? -ENOBUFS : ENOBUFS;
    default:
        return error;
    }
}

const char *own_error_text(int error)
{
    switch (abs(error)) {
    case EMFILE:
        return "link_mgr has no descriptors left (LimitNOFILE of its service)";
    case ENFILE:
        return "the system has no descriptors left (fs.file-max)";
    case ENOMEM:
    case ENOBUFS:
        return "link_mgr is out of memory";
    default:
        return strerror(abs(error));
    }
}
