/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * program_name.h - what a process calls itself, for people.
 *
 * It is read from /proc/PID/comm when it is shown, never before. A process may give itself any name
 * (prctl(2), PR_SET_NAME), and a pid may be given to another process when its own has ended. So a
 * name is a hint, and nothing is decided by it.
 */
#ifndef IDC_PROGRAM_NAME_H
#define IDC_PROGRAM_NAME_H

/* The kernel keeps 15 bytes, and \xNN takes four (common/shown.h). */
#define PROGRAM_NAME_MAX (4 * 15 + 1)

/* "" if it is not known: the process has ended, or /proc does not show it to us. */
void program_name(int pid, char name[PROGRAM_NAME_MAX]);

#endif
