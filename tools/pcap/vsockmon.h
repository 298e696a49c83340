/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsockmon.h - a captured frame as what the kernel's vsockmon device shows of AF_VSOCK
 * (linux/vsockmon.h): its header, and behind it, as between a guest and its host on KVM, that of
 * virtio-vsock (linux/virtio_vsock.h). docs/capture.md has the table of what becomes what.
 */
#ifndef IDC_VSOCKMON_H
#define IDC_VSOCKMON_H

#include <stdint.h>

#include "common/capture.h"

#define VSOCKMON_HEADER 32u
#define VSOCKMON_VIRTIO 44u
#define VSOCKMON_MAX (VSOCKMON_HEADER + VSOCKMON_VIRTIO)

/* Returns the length of the headers. own_domid: of the domain that captures. */
uint32_t vsockmon_header(const struct capture_record *record, uint32_t own_domid,
                         uint8_t out[VSOCKMON_MAX]);

#endif
