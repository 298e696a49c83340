/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json_value.h - values of XML-RPC as JSON. (xmlrpc-c's own writer overruns a buffer at a control
 * character.) */
#ifndef IDC_TOOLS_JSON_VALUE_H
#define IDC_TOOLS_JSON_VALUE_H

#include <stdio.h>
#include <xmlrpc-c/base.h>

/* Data are a text in base64. Texts are as in common/json.h. */
void json_value(FILE *out, xmlrpc_value *value);

#endif
