/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * own_error.h - failures of link_mgr's own system calls, as programs see them. When the daemon has
 * no descriptor or memory left, a program gets ENOBUFS. EMFILE or ENOMEM would mean the program's
 * own descriptors or memory.
 */
#ifndef IDC_OWN_ERROR_H
#define IDC_OWN_ERROR_H

/* The errno for the program, with the same sign. */
int own_error(int error);
/* The text for an errno of either sign. */
const char *own_error_text(int error);

#endif
