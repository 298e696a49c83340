/* SPDX-License-Identifier: GPL-2.0-or-later */
/* advice.h - what can be done about a connect that failed, for the end of its line on stderr. */
#ifndef IDC_ADVICE_H
#define IDC_ADVICE_H

#include "tools/command.h"

/* Prints " (WHAT TO DO)" or "; WHAT TO DO: COMMAND", or nothing. type: of the connect; why: what
 * idc_last_error said. */
void advice_print(const struct target *target, int type, int error, const char *why);

#endif
