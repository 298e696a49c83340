/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fail.h - failures of idc-setup: one line on stderr, and an exit status. */
#ifndef IDC_SETUP_FAIL_H
#define IDC_SETUP_FAIL_H

#define SETUP_STATUS_FAILED 1
#define SETUP_STATUS_USAGE 2 /* the command line is wrong, or a policy file */

/* Returns status. A line about the command line says where help is: help is the word before --help,
 * or "". */
int setup_complain(const char *help, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define setup_fail(...) setup_complain("", __VA_ARGS__)
#define policy_fail(...) setup_complain(" check", __VA_ARGS__)
/* A line that begins with "note: ". */
void setup_note(const char *text);

#endif
