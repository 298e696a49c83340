/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * setup_store.h - where idc-setup keeps the rules: in Xenstore, or in the directory of the local
 * platform.
 *
 * A rule is the node /local/domain/DOMID/idc/policy/PEER (docs/xenstore.md): what DOMID may do with
 * PEER. Nodes are made with owner domain 0 and are readable by DOMID.
 *
 * An implementation embeds struct setup_store at the beginning of its own. Errors are negative
 * errno values; those with a why also have one line of explanation that says what to do.
 */
#ifndef IDC_SETUP_STORE_H
#define IDC_SETUP_STORE_H

#include <stdbool.h>
#include <stddef.h>

#define SETUP_DOMID_MAX 32751 /* 0x7FEF: the last domid before Xen's special ones */
#define SETUP_PATH_MAX 64
#define SETUP_NODE_MAX 128   /* of a path that is published */
#define SETUP_VALUE_MAX 4095 /* of a value that is read */
/* of a value that is written: in a message to xenstored it shares 4096 bytes with its path */
#define SETUP_WRITE_MAX 4000
#define SETUP_WHY_MAX 4608 /* a path has up to 4096 bytes */

struct setup_store;

struct setup_change {
    int domid, peer;
    const char *value; /* NULL: the rule is removed */
};

/* A change to make. A value that depends on what is there is made by plan, which may read the store
 * and writes into the changes. No other idc-setup changes the store from then on until it is done.
 * It may be asked again, when something has come between. 0, or negative errno and a why. */
struct setup_work {
    struct setup_change *changes;
    size_t count;
    int (*plan)(struct setup_store *store, void *arg, char why[SETUP_WHY_MAX]); /* or NULL */
    void *arg;
};

typedef int setup_visit(void *arg, int domid, int peer);
typedef int setup_visit_domain(void *arg, int domid);
typedef int setup_visit_name(void *arg, const char *name);

struct setup_store_ops {
    const char *name;
    /* directory is for the local platform. make: the directory is made if only its parent exists.
     */
    int (*open)(struct setup_store **store, const char *directory, bool make,
                char why[SETUP_WHY_MAX]);
    void (*close)(struct setup_store *store);
    /* Length of the rule's value, NUL-terminated. -ENOENT: there is none. -EBADMSG: it is not text,
     * or too long. */
    int (*read)(struct setup_store *store, int domid, int peer, char value[SETUP_VALUE_MAX + 1]);
    /* Makes all changes or none. If changes could not be undone, why says what is left. The changes
     * of one domid must be neighbours. Removing a rule that does not exist is no error. On Xen,
     * setting a rule for a domain that does not exist is an error. */
    int (*apply)(struct setup_store *store, const struct setup_work *work, char why[SETUP_WHY_MAX]);
    /* Calls visit for each rule, in no order, until it returns other than 0, which is then the
     * result. */
    int (*walk)(struct setup_store *store, setup_visit *visit, void *arg);

    /* What follows is for domains as they are, and for what is published to them (publish.h). */

    /* All that is done from begin to end is one transaction, where transactions is set. keep: it is
     * to take effect. -EAGAIN: somebody else came between, and all of it has to be done again. */
    bool transactions;
    int (*begin)(struct setup_store *store);
    int (*end)(struct setup_store *store, bool keep);
    /* As read, by path. */
    int (*get)(struct setup_store *store, const char *path, char value[SETUP_VALUE_MAX + 1]);
    /* Writes a node below the domain's policy, which belongs to domain 0 and which the domain may
     * read. -ESRCH: there is no such domain. */
    int (*put)(struct setup_store *store, int domid, const char *path, const char *value);
    /* Removes the node, if it is there, and all below it. */
    int (*drop)(struct setup_store *store, const char *path);
    /* Calls visit with the first word of what is below path; a word may come several times. */
    int (*below)(struct setup_store *store, const char *path, setup_visit_name *visit, void *arg);
    /* Calls visit with each domain that there is, in no order. */
    int (*domains)(struct setup_store *store, setup_visit_domain *visit, void *arg);
    /* A descriptor that becomes readable when domains come, go, or are renamed, at the latest. It
     * is the store's. */
    int (*watch)(struct setup_store *store);
    /* Takes what it has to tell. 1: look again; 0: nothing has changed; -ENODEV: the store is lost.
     */
    int (*watched)(struct setup_store *store);
};

struct setup_store {
    const struct setup_store_ops *ops;
};

extern const struct setup_store_ops setup_store_local;
#ifdef IDC_WITH_XEN
extern const struct setup_store_ops setup_store_xen;
#endif

/* Path of a rule's node. */
void setup_path(int domid, int peer, char path[SETUP_PATH_MAX]);
/* The domid that the whole text is, or -1. */
int setup_parse_domid(const char *text);

#endif
