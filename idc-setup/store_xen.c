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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include "idc-setup/setup_store.h"

#define TRANSACTION_TRIES 100

struct xen_store {
    struct setup_store base;
    struct xs_handle *xs;
    xs_transaction_t reading; /* XBT_NULL, or the transaction that is being planned or made */
    int prepared;             /* the domid whose directories this transaction has made, or -1 */
    uint8_t watched[SETUP_DOMID_MAX / 8 + 1]; /* domains whose names are watched */
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

static int store_xen_take(char *text, unsigned length, char value[SETUP_VALUE_MAX + 1])
{
    bool good = length <= SETUP_VALUE_MAX && memchr(text, '\0', length) == NULL;
    if (good) {
        memcpy(value, text, length);
        value[length] = '\0';
    }
    free(text);
    return good ? (int)length : -EBADMSG;
}

static int xen_read(struct setup_store *store, int domid, int peer, char value[SETUP_VALUE_MAX + 1])
{
    char path[SETUP_PATH_MAX];
    unsigned length;
    setup_path(domid, peer, path);
    char *text = xs_read(xs_of(store), ((struct xen_store *)store)->reading, path, &length);
    return text == NULL ? -errno : store_xen_take(text, length, value);
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

/* ---- domains, and what is published ---- */

static int xen_begin(struct setup_store *store)
{
    struct xen_store *xen = (struct xen_store *)store;
    xen->reading = xs_transaction_start(xen->xs);
    xen->prepared = -1;
    return xen->reading == XBT_NULL ? -errno : 0;
}

static int xen_end(struct setup_store *store, bool keep)
{
    struct xen_store *xen = (struct xen_store *)store;
    xs_transaction_t t = xen->reading;
    xen->reading = XBT_NULL;
    xen->prepared = -1;
    return xs_transaction_end(xen->xs, t, !keep) || !keep ? 0 : -errno;
}

static int xen_get(struct setup_store *store, const char *path, char value[SETUP_VALUE_MAX + 1])
{
    const struct xen_store *xen = (const struct xen_store *)store;
    unsigned length;
    char *text = xs_read(xen->xs, xen->reading, path, &length);
    return text == NULL ? -errno : store_xen_take(text, length, value);
}

/* The directories above a node get their permissions once in a transaction. */
static int store_xen_prepare(struct xen_store *xen, int domid)
{
    char path[SETUP_NODE_MAX], why[SETUP_WHY_MAX];
    if (xen->prepared == domid)
        return 0;
    int result = make_directories(xen->xs, xen->reading, domid, why);
    if (result != 0)
        return result == -ENOENT ? -ESRCH : result;
    snprintf(path, sizeof(path), "/local/domain/%d/idc/policy/rules", domid);
    if (!xs_mkdir(xen->xs, xen->reading, path) ||
        !set_permissions(xen->xs, xen->reading, path, domid))
        return -errno;
    xen->prepared = xen->reading == XBT_NULL ? -1 : domid;
    return 0;
}

static int xen_put(struct setup_store *store, int domid, const char *path, const char *value)
{
    struct xen_store *xen = (struct xen_store *)store;
    char above[SETUP_NODE_MAX];
    int result = store_xen_prepare(xen, domid);
    if (result != 0)
        return result;
    snprintf(above, sizeof(above), "%s", path);
    *strrchr(above, '/') = '\0';
    if (strcmp(strrchr(path, '/'), "/0") == 0 &&
        (!xs_mkdir(xen->xs, xen->reading, above) ||
         !set_permissions(xen->xs, xen->reading, above, domid)))
        return -errno;
    return xs_write(xen->xs, xen->reading, path, value, (unsigned)strlen(value)) &&
                   set_permissions(xen->xs, xen->reading, path, domid)
               ? 0
               : -errno;
}

static int xen_drop(struct setup_store *store, const char *path)
{
    const struct xen_store *xen = (const struct xen_store *)store;
    return xs_rm(xen->xs, xen->reading, path) || errno == ENOENT ? 0 : -errno;
}

static int xen_below(struct setup_store *store, const char *path, setup_visit_name *visit,
                     void *arg)
{
    const struct xen_store *xen = (const struct xen_store *)store;
    unsigned count = 0;
    int result = 0;
    char **names = xs_directory(xen->xs, xen->reading, path, &count);
    if (names == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (unsigned i = 0; i < count && result == 0; i++)
        result = visit(arg, names[i]);
    free(names);
    return result;
}

static int xen_domains(struct setup_store *store, setup_visit_domain *visit, void *arg)
{
    const struct xen_store *xen = (const struct xen_store *)store;
    unsigned count = 0;
    int result = 0;
    char **names = xs_directory(xen->xs, xen->reading, "/local/domain", &count);
    if (names == NULL)
        return errno == ENOENT ? 0 : -errno;
    for (unsigned i = 0; i < count && result == 0; i++) {
        int domid = setup_parse_domid(names[i]);
        result = domid < 0 ? 0 : visit(arg, domid);
    }
    free(names);
    return result;
}

/* ---- watching ---- */

#define WATCH_NAME "name"

/* A watch tells of everything below its path, and below a domain there is much that is nothing to
 * us. So only the name of each domain is watched. */
static int store_xen_watch_name(void *arg, int domid)
{
    struct xen_store *xen = arg;
    char path[SETUP_NODE_MAX];
    uint8_t bit = (uint8_t)(1u << (domid % 8));
    if ((xen->watched[domid / 8] & bit) != 0)
        return 0;
    snprintf(path, sizeof(path), "/local/domain/%d/name", domid);
    if (!xs_watch(xen->xs, path, WATCH_NAME))
        return -errno;
    xen->watched[domid / 8] |= bit;
    return 0;
}

static int xen_watch(struct setup_store *store)
{
    struct xen_store *xen = (struct xen_store *)store;
    if (!xs_watch(xen->xs, "@introduceDomain", "domains") ||
        !xs_watch(xen->xs, "@releaseDomain", "domains"))
        return -errno;
    int result = xen_domains(store, store_xen_watch_name, xen);
    return result != 0 ? result : xs_fileno(xen->xs);
}

static int xen_watched(struct setup_store *store)
{
    struct xen_store *xen = (struct xen_store *)store;
    char **event;
    int changed = 0;
    errno = 0;
    while ((event = xs_check_watch(xen->xs)) != NULL) {
        free(event);
        changed = 1;
    }
    if (errno != EAGAIN && errno != 0)
        return -ENODEV;
    int result = changed != 0 ? xen_domains(store, store_xen_watch_name, xen) : 0;
    return result != 0 ? result : changed;
}

const struct setup_store_ops setup_store_xen = {
    .name = "xen",
    .open = xen_open,
    .close = xen_close,
    .read = xen_read,
    .apply = xen_apply,
    .walk = xen_walk,
    .transactions = true,
    .begin = xen_begin,
    .end = xen_end,
    .get = xen_get,
    .put = xen_put,
    .drop = xen_drop,
    .below = xen_below,
    .domains = xen_domains,
    .watch = xen_watch,
    .watched = xen_watched,
};

#endif
