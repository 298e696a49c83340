/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json.h - texts in JSON, which the commands print. */
#ifndef IDC_JSON_H
#define IDC_JSON_H

#include <stdio.h>

/* NULL is null. A byte beyond ASCII is written as the character of that number, so the output is
 * always valid JSON. */
void json_string(FILE *out, const char *text);

#endif
