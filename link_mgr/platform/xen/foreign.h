/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * foreign.h - another domain's pages, mapped by grant references.
 *
 * Theory of operation
 *
 * When a PV guest is saved to a file, page tables that map foreign pages are left out. After
 * restore such a table is empty, and everything else that it mapped is gone too, perhaps the
 * program's code. So foreign pages get address space of their own, in whole page tables' worth (2
 * MiB). (libxengnttab leaves the address to the kernel, which puts them beside the shared
 * libraries.) Touching them after a restore is a fault (SIGBUS), and the event loop may well do so
 * before it knows of the restore. The handler of that signal puts zeroed memory in their place and
 * notes that the pages are lost. So the access goes on and finds nonsense.
 *
 * The first page mapped may have a byte that the kernel clears, and a port that it notifies, when
 * the mapping ends, however it ends. After a restore the kernel can't reach that byte any more, so
 * it must be told to forget it first.
 */
#ifndef IDC_XEN_FOREIGN_H
#define IDC_XEN_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct foreign {
    LIST_ENTRY(foreign) all;
    int fd; /* /dev/xen/gntdev; 0: not open */
    uint8_t *region;
    size_t size, used;
    volatile bool lost; /* the domain was restored, and there is zeroed memory now */
};

/* Installs the signal handler, which leaves all other faults to what was there before. */
void xen_foreign_handle_faults(void);

/* These return 0 or a negative errno. xen_foreign_open makes room for so many pages. *foreign stays
 * where it is until xen_foreign_close. */
int xen_foreign_open(struct foreign *foreign, size_t pages);
int xen_foreign_map(struct foreign *foreign, int domid, const uint32_t *references, uint32_t count,
                    int protection, void **where);
/* Sets what the kernel does at the end, for the first page that was mapped. */
int xen_foreign_notify_at_end(struct foreign *foreign, uint32_t offset, uint32_t port);
void xen_foreign_forget_notification(struct foreign *foreign);
/* Unmaps all. */
void xen_foreign_close(struct foreign *foreign);

#endif
