/* SPDX-License-Identifier: GPL-2.0-or-later */
/* advice.h - what can be done about a connect that failed, for the end of its line. */
#ifndef IDC_ADVICE_H
#define IDC_ADVICE_H

#include "tools/command.h"

#define ADVICE_MAX 1024

/* Makes " (WHAT TO DO)" or "; WHAT TO DO: COMMAND", or "". type: of the connect; why: what
 * idc_last_error said. link_mgr may be asked, which takes ten seconds at most if it hangs. */
void advice_make(const struct target *target, int type, int error, const char *why,
                 char advice[ADVICE_MAX]);

#endif
