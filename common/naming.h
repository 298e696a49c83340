/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * naming.h - the text by which a program or a person names a domain (docs/rpc.md, "Naming a
 * domain"). It is read in one place, so libidc, link_mgr and the commands agree on odd cases. Files
 * of rules have more than this: quotes, globs and groups (policy/domain.h).
 *
 *      text         means
 *      NAME         the domain that is called so
 *      name:NAME    the same, for a name that would be taken for something else
 *      uuid:UUID    the domain with this UUID
 *      N, domid:N   the domain with this domid, 0 to 32751; 32752 is self
 *      dom0         domain 0
 *      self         the own domain
 *      any          the domain that a route chooses, for a connect to a service by name
 *
 * Words are in the case that is shown. Names are bytes: what looks the same in other bytes is
 * another name. Nothing here asks which domains there are.
 */
#ifndef IDC_NAMING_H
#define IDC_NAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAMING_NAME_MAX 255                   /* bytes of a domain's name */
#define NAMING_TEXT_MAX (NAMING_NAME_MAX + 5) /* with "name:" before it */
#define NAMING_DOMID_MAX 32751                /* 0x7FEF: the last one before Xen's special ones */
#define NAMING_UUID_SIZE 16
#define NAMING_UUID_TEXT 36 /* 8-4-4-4-12 digits */

enum naming_kind { NAMING_DOMID, NAMING_NAME, NAMING_UUID, NAMING_SELF, NAMING_ANY };

struct naming {
    enum naming_kind kind;
    uint32_t domid;                 /* NAMING_DOMID */
    uint8_t uuid[NAMING_UUID_SIZE]; /* NAMING_UUID */
    char name[NAMING_NAME_MAX + 1]; /* NAMING_NAME */
};

/* NULL, or a constant text that says what is wrong. */
const char *naming_parse(struct naming *naming, const char *text);
/* May a domain be called so? NULL, or what is wrong. */
const char *naming_check_name(const char *name);
/* A UUID of exactly len bytes, in digits of either case. False: it is none. */
bool naming_read_uuid(const char *text, size_t len, uint8_t uuid[NAMING_UUID_SIZE]);
/* In lower case. */
void naming_write_uuid(const uint8_t uuid[NAMING_UUID_SIZE], char text[NAMING_UUID_TEXT + 1]);

#endif
