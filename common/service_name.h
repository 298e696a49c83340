/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * service_name.h - what may be a service name: 1..IDC_SERVICE_MAX of A-Z a-z 0-9 . _ - with at
 * least one letter. The letter distinguishes a name from a port, or a range of ports.
 */
#ifndef IDC_SERVICE_NAME_H
#define IDC_SERVICE_NAME_H

#include <stdbool.h>
#include <stddef.h>

bool service_name_valid(const char *name, size_t len);

#endif
