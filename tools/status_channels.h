/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status_channels.h - idc status --channels: asks idc channels (channels/report.h) for its
 * channels, and prints a table or JSON. */
#ifndef IDC_STATUS_CHANNELS_H
#define IDC_STATUS_CHANNELS_H

#include "tools/command.h"

/* path: of the socket, or NULL: where idc channels has it by itself. Returns the exit status. */
int status_channels(const struct command *command, const char *path, bool json,
                    uint32_t timeout_ms);

#endif
