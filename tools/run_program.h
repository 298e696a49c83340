/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run_program.h - can libidc-vsock.so serve a program? The program's file shows it, before it is
 * run. */
#ifndef IDC_TOOLS_RUN_PROGRAM_H
#define IDC_TOOLS_RUN_PROGRAM_H

#include <limits.h>

enum run_kind {
    RUN_ORDINARY,
    /* Nothing can be preloaded into these. */
    RUN_NOT_64_BIT,
    RUN_STATIC,
    RUN_SETUID,
    RUN_CAPABLE,
    RUN_OTHER_LIBRARY, /* its loader is not glibc's */
    /* It calls the kernel directly, past any preloaded library. */
    RUN_GO,
    /* It insists that its own library is the first. */
    RUN_ADDRESS_SANITIZER,
};

/* The kind of the program. Of a script it is the interpreter's kind, and the interpreter's path
 * takes the script's place. */
enum run_kind run_kind_of(char path[PATH_MAX]);
/* "is a static program". NULL for RUN_ORDINARY. */
const char *run_kind_text(enum run_kind kind);

#endif
