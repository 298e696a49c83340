/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print.h - the output of idc-setup --list.
 */
#ifndef IDC_SETUP_PRINT_H
#define IDC_SETUP_PRINT_H

#include <stdio.h>

#include "idc-setup/rules.h"

void print_table(FILE *out, const struct rules *rules);
void print_json(FILE *out, const struct rules *rules, const char *platform);

#endif
