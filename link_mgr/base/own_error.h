/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * own_error.h - failures of link_mgr's own system calls, as programs hear of them: that the daemon
 * has no descriptor or memory left is ENOBUFS for a program, whose own descriptors and memory are
 * not meant.
 */
#ifndef IDC_OWN_ERROR_H
#define IDC_OWN_ERROR_H

/* The errno for the program; the same sign. */
int own_error(int error);
/* What to say of it; of either sign. */
const char *own_error_text(int error);

#endif
