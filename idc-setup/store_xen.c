/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules in Xenstore, through libxenstore.
 *
 * All changes of a run are one transaction. It also reads the rules that they depend on, and checks
 * that the domains exist. So a domain that ends meanwhile makes the transaction fail, and no node
 * is made for it. A transaction that conflicts with another one is repeated. The permissions of the
 * directories `idc` and `idc/policy` are set each time. A node that dom0 makes inherits the
 * permissions of its parent, which may be the domain's own.
 */
#ifdef IDC_WITH_XEN

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include "idc-setup/setup_store.h"

#define TRANSACTION_TRIES 100

struct xen_store {
    struct setup_store base;
    struct xs_handle *xs;
    xs_transaction_t reading; /* XBT_NULL, or the transaction that is being planned */
};

static struct xs_handle *xs_of(struct setup_store *store)
{
    return ((struct xen_store *)store)->xs;
}

static int xen_open(struct setup_store **opened, const char *directory, bool make,
                    char why[SETUP_WHY_MAX])
{
    (void)directory;
    (void)make;
    struct xen_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        snprintf(why, SETUP_WHY_MAX, "out of memory");
        return -ENOMEM;
    }
    store->base.ops = &setup_store_xen;
    store->xs = xs_open(0);
    if (store->xs == NULL) {
        int error = errno != 0 ? errno : EIO;
        snprintf(why, SETUP_WHY_MAX, "cannot reach xenstored: %s; run idc-setup as root in dom0",
                 strerror(error));
        free(store);
        return -error;
    }
    *opened = &store->base;
    return 0;
}

static void xen_close(struct setup_store *store)
{
    xs_close(xs_of(store));
    free(store);
}

static int xen_read(struct setup_store *store, int domid, int peer, char value[SETUP_VALUE_MAX + 1])
{
    char path[SETUP_PATH_MAX];
    unsigned length;
    setup_path(domid, peer, path);
    char *text = xs_read(xs_of(store), ((struct xen_store *)store)->reading, path, &length);
    if (text == NULL)
        return -errno;
    bool good = length <= SETUP_VALUE_MAX && memchr(text, '\0', length) == NULL;
    if (good) {
        memcpy(value, text, length);
        value[length] = '\0';
    }
    free(text);
    return good ? (int)length : -EBADMSG;
}

/* ---- changing ---- */

static int store_xen_explain(int error, const char *path, char why[SETUP_WHY_MAX])
{
    if (error == EACCES || error == EPERM)
        snprintf(why, SETUP_WHY_MAX, "may not write %s; run idc-setup as root in dom0", path);
    else
        snprintf(why, SETUP_WHY_MAX, "cannot write %s: %s", path, strerror(error));
    return -error;
}

/* The owner is domain 0; nobody else except the domain has access, and it may read. */
static bool set_permissions(struct xs_handle *xs, xs_transaction_t t, const char *path, int domid)
{
    struct xs_permissions permissions[2] = {{.id = 0, .perms = XS_PERM_NONE},
                                            {.id = (unsigned)domid, .perms = XS_PERM_READ}};
    return xs_set_permissions(xs, t, path, permissions, domid == 0 ? 1 : 2);
}

static int make_directories(struct xs_handle *xs, xs_transaction_t t, int domid,
                            char why[SETUP_WHY_MAX])
{
    static const char *const names[] = {"/idc", "/idc/policy"};
    char path[SETUP_PATH_MAX];
    unsigned length;
    snprintf(path, sizeof(path), "/local/domain/%d", domid);
    char *domain = xs_read(xs, t, path, &length);
    if (domain == NULL && errno == ENOENT) {
        snprintf(why, SETUP_WHY_MAX, "there is no domain %d; 'xl list' shows those that run",
                 domid);
        return -ENOENT;
    }
    if (domain == NULL)
        return store_xen_explain(errno, path, why);
    free(domain);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "/local/domain/%d%s", domid, names[i]);
        if (!xs_mkdir(xs, t, path) || !set_permissions(xs, t, path, domid))
            return store_xen_explain(errno, path, why);
    }
    return 0;
}

static int make_change(struct xs_handle *xs, xs_transaction_t t, const struct setup_change *change,
                       char why[SETUP_WHY_MAX])
{
    char path[SETUP_PATH_MAX];
    setup_path(change->domid, change->peer, path);
    if (change->value == NULL)
        return xs_rm(xs, t, path) || errno == ENOENT ? 0 : store_xen_explain(errno, path, why);
    if (!xs_write(xs, t, path, change->value, (unsigned)strlen(change->value)) ||
        !set_permissions(xs, t, path, change->domid))
        return store_xen_explain(errno, path, why);
    return 0;
}

static int make_changes(struct xs_handle *xs, xs_transaction_t t,
                        const struct setup_change *changes, size_t count, char why[SETUP_WHY_MAX])
{
    int result = 0, last = -1;
    for (size_t i = 0; i < count && result == 0; i++) {
        if (changes[i].value != NULL && changes[i].domid != last)
            result = make_directories(xs, t, changes[i].domid, why);
        last = changes[i].value != NULL ? changes[i].domid : last;
        if (result == 0)
            result = make_change(xs, t, &changes[i], why);
    }
    return result;
}

static int plan_and_make(struct setup_store *store, xs_transaction_t t,
                         const struct setup_work *work, char why[SETUP_WHY_MAX])
{
    struct xen_store *xen = (struct xen_store *)store;
    xen->reading = t;
    int result = work->plan != NULL ? work->plan(store, work->arg, why) : 0;
    xen->reading = XBT_NULL;
    return result != 0 ? result : make_changes(xen->xs, t, work->changes, work->count, why);
}

/* -EAGAIN: to be repeated. */
static int try_once(struct setup_store *store, const struct setup_work *work,
                    char why[SETUP_WHY_MAX])
{
    struct xs_handle *xs = xs_of(store);
    xs_transaction_t t = xs_transaction_start(xs);
    if (t == XBT_NULL) {
        int error = errno;
        snprintf(why, SETUP_WHY_MAX, "cannot begin a transaction of Xenstore: %s", strerror(error));
        return -error;
    }
    int result = plan_and_make(store, t, work, why);
    if (result != 0) {
        xs_transaction_end(xs, t, true);
        return result;
    }
    if (xs_transaction_end(xs, t, false))
        return 0;
    result = -errno;
    snprintf(why, SETUP_WHY_MAX, "cannot commit to Xenstore: %s; run idc-setup again",
             strerror(-result));
    return result;
}

static int xen_apply(struct setup_store *store, const struct setup_work *work,
                     char why[SETUP_WHY_MAX])
{
    int result = -EAGAIN;
    for (int i = 0; i < TRANSACTION_TRIES && result == -EAGAIN; i++)
        result = try_once(store, work, why);
    return result;
}

/* ---- walking ---- */

static int walk_peers(struct xs_handle *xs, int domid, setup_visit *visit, void *arg)
{
    char path[SETUP_PATH_MAX];
    unsigned count = 0;
    int result = 0;
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy", domid);
    char **names = xs_directory(xs, XBT_NULL, path, &count);
    if (names == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (unsigned i = 0; i < count && result == 0; i++) {
        int peer = setup_parse_domid(names[i]);
        result = peer < 0 ? 0 : visit(arg, domid, peer);
    }
    free(names);
    return result;
}

static int xen_walk(struct setup_store *store, setup_visit *visit, void *arg)
{
    unsigned count = 0;
    int result = 0;
    char **names = xs_directory(xs_of(store), XBT_NULL, "/local/domain", &count);
    if (names == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (unsigned i = 0; i < count && result == 0; i++) {
        int domid = setup_parse_domid(names[i]);
        result = domid < 0 ? 0 : walk_peers(xs_of(store), domid, visit, arg);
    }
    free(names);
    return result;
}

const struct setup_store_ops setup_store_xen = {
    .name = "xen",
    .open = xen_open,
    .close = xen_close,
    .read = xen_read,
    .apply = xen_apply,
    .walk = xen_walk,
};

#endif
