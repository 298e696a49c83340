/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json.h - texts in JSON that idc-setup prints. */
#ifndef IDC_SETUP_JSON_H
#define IDC_SETUP_JSON_H

#include <stdio.h>

/* NULL is null. A byte beyond ASCII is written as the character of that number, so the output is
 * always valid JSON. */
void json_string(FILE *out, const char *text);

#endif
