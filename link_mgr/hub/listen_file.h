/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listen_file.h - reads the file of idc-listen(5).
 *
 * Who can write the file decides who may listen. So it is believed only if it belongs to root or to
 * link_mgr's user, and nobody else may write it. The same holds for its directory and for all above
 * that, where others could put another file in its place; a sticky bit keeps them from it. The file
 * is no symbolic link. Those on the way to it are followed first, and then it is opened and checked
 * where it really is.
 *
 * A file that is just being written must not be put in force. So it is read again if it has changed
 * meanwhile, its last line needs a newline, and it needs a rule.
 *
 * Names are looked up in /etc/passwd and /etc/group only. The C library would ask other sources
 * too, some over a network, and link_mgr would wait for them. It has also given up the system calls
 * that they need (base/confine.h).
 */
#ifndef IDC_LISTEN_FILE_H
#define IDC_LISTEN_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "link_mgr/hub/listen_rules.h"

#define LISTEN_WHY_MAX 4608 /* a path has up to 4096 bytes */

struct listen_file {
    const char *path;
    bool must_exist; /* otherwise there are no rules if it is missing */
};

/* 0: *rules are the rules of the file; NULL: there is no file. *is_public: everybody may read it.
 * Negative errno: why says what is wrong, "FILE:LINE:COLUMN: what" if it is in the text. */
int listen_file_read(const struct listen_file *file, struct listen_rules **rules, bool *is_public,
                     char why[LISTEN_WHY_MAX]);

#endif
