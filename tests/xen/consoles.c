/* SPDX-License-Identifier: GPL-2.0-or-later */
/* consoles.c - see consoles.h. */
#include "tests/xen/consoles.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/io/console.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#define SYSRQ '\x0f'

struct console {
    struct console *next;
    int domid;
    uint16_t target;
    struct xencons_interface *page;
    xenevtchn_handle *events;
    evtchn_port_t port;
    struct buffer in;  /* from the guest, not parsed yet */
    struct buffer out; /* to the guest, not in its ring yet */
};

static struct console *consoles; /* the newest first */
static struct xs_handle *store;
static xengnttab_handle *grants;

/* Returns a number below the domain's directory, or -1. */
static long read_number(int domid, const char *leaf)
{
    char path[80], *value;
    long number = -1;

    snprintf(path, sizeof(path), "/local/domain/%d/%s", domid, leaf);
    value = xs_read(store, XBT_NULL, path, NULL);
    if (value)
        number = strtol(value, NULL, 10);
    free(value);
    return number;
}

/* The N of a guest named gN, or 0. */
static uint16_t target_of(int domid)
{
    char path[80], *name;
    unsigned target = 0;

    snprintf(path, sizeof(path), "/local/domain/%d/name", domid);
    name = xs_read(store, XBT_NULL, path, NULL);
    if (!name || sscanf(name, "g%u", &target) != 1 || target > UINT16_MAX)
        target = 0;
    free(name);
    return (uint16_t)target;
}

/* Moves what the guest wrote into console->in. */
static bool take_output(struct console *console)
{
    struct xencons_interface *page = console->page;
    XENCONS_RING_IDX cons = page->out_cons,
                     prod = __atomic_load_n(&page->out_prod, __ATOMIC_ACQUIRE);

    if (cons == prod || prod - cons > sizeof(page->out))
        return false;
    for (; cons != prod; cons++)
        buffer_append(&console->in, &page->out[MASK_XENCONS_IDX(cons, page->out)], 1);
    __atomic_store_n(&page->out_cons, cons, __ATOMIC_SEQ_CST);
    return true;
}

/* Moves what waits for the guest into its ring, as much as fits. Linux takes a ^O from a console
 * for the beginning of a SysRq, and two for one, so it is doubled. */
static bool give_input(struct console *console)
{
    struct xencons_interface *page = console->page;
    XENCONS_RING_IDX prod = page->in_prod, cons = __atomic_load_n(&page->in_cons, __ATOMIC_ACQUIRE);
    bool moved = false;

    while (buffer_used(&console->out) && prod - cons < sizeof(page->in) - 1) {
        char byte = (char)console->out.bytes[console->out.start];

        page->in[MASK_XENCONS_IDX(prod++, page->in)] = byte;
        if (byte == SYSRQ)
            page->in[MASK_XENCONS_IDX(prod++, page->in)] = byte;
        buffer_drop(&console->out, 1);
        moved = true;
    }
    __atomic_store_n(&page->in_prod, prod, __ATOMIC_SEQ_CST);
    return moved;
}

static void consoles_parse(struct console *console)
{
    struct frame_header header;
    const uint8_t *payload;
    size_t text;

    while (frame_next(&console->in, &text, &header, &payload)) {
        if (text) {
            size_t piece = text < FRAME_PAYLOAD_MAX ? text : FRAME_PAYLOAD_MAX;

            agent_tell(console->target, FRAME_CONSOLE, console->in.bytes + console->in.start,
                       piece);
            buffer_drop(&console->in, piece);
        } else {
            agent_forward(console->target, &header, payload);
            buffer_drop(&console->in, sizeof(header) + header.length);
        }
    }
}

static void consoles_exchange(struct console *console)
{
    bool took = take_output(console), gave = give_input(console);

    if (took || gave)
        xenevtchn_notify(console->events, console->port);
    consoles_parse(console);
}

/* Also undoes what attach did half. */
static void consoles_detach(struct console *console)
{
    int32_t domid = console->domid;

    if (console->page) {
        take_output(console);
        consoles_parse(console);
        xengnttab_unmap(grants, console->page, 1);
        agent_tell(console->target, FRAME_DETACHED, &domid, sizeof(domid));
    }
    if (console->events)
        xenevtchn_close(console->events);
    buffer_free(&console->in);
    buffer_free(&console->out);
    free(console);
}

static bool consoles_bind(struct console *console, long remote)
{
    xenevtchn_port_or_error_t port;

    console->events = xenevtchn_open(NULL, 0);
    if (!console->events)
        return false;
    fcntl(xenevtchn_fd(console->events), F_SETFL, O_NONBLOCK);
    port = xenevtchn_bind_interdomain(console->events, (uint32_t)console->domid,
                                      (evtchn_port_t)remote);
    if (port < 0)
        return false;
    console->port = (evtchn_port_t)port;
    return true;
}

/* libxl waits for this node, by which xenconsoled tells where a person finds the console. */
static void consoles_announce(int domid)
{
    static const char nowhere[] = "/dev/null";
    char path[80];

    snprintf(path, sizeof(path), "/local/domain/%d/console/tty", domid);
    xs_write(store, XBT_NULL, path, nowhere, sizeof(nowhere) - 1);
}

/* A domain is introduced before its console is made. */
static void watch_port(int domid, bool on)
{
    char path[80];

    snprintf(path, sizeof(path), "/local/domain/%d/console/port", domid);
    if (on)
        xs_watch(store, path, "port");
    else
        xs_unwatch(store, path, "port");
}

static void consoles_attach(int domid, uint16_t target)
{
    struct console *console = calloc(1, sizeof(*console));
    long remote = read_number(domid, "console/port");
    int32_t word = domid;

    watch_port(domid, remote <= 0);
    if (!console || remote <= 0) {
        free(console);
        return;
    }
    console->domid = domid;
    console->target = target;
    if (consoles_bind(console, remote))
        console->page = xengnttab_map_grant_ref(grants, (uint32_t)domid, GNTTAB_RESERVED_CONSOLE,
                                                PROT_READ | PROT_WRITE);
    if (!console->page) {
        static const char complaint[] = "agent: can't attach to the console of a guest\n";

        agent_tell(0, FRAME_LOG, complaint, sizeof(complaint) - 1);
        consoles_detach(console);
        return;
    }
    console->next = consoles;
    consoles = console;
    consoles_announce(domid);
    agent_tell(target, FRAME_ATTACHED, &word, sizeof(word));
    consoles_exchange(console);
}

static bool consoles_known(int domid)
{
    for (struct console *console = consoles; console; console = console->next)
        if (console->domid == domid)
            return true;
    return false;
}

static void detach_dead(void)
{
    struct console **link = &consoles;

    while (*link) {
        struct console *console = *link;

        if (xs_is_domain_introduced(store, (unsigned)console->domid)) {
            link = &console->next;
        } else {
            *link = console->next;
            consoles_detach(console);
        }
    }
}

static void attach_new(void)
{
    unsigned count = 0;
    char **domids = xs_directory(store, XBT_NULL, "/local/domain", &count);

    for (unsigned i = 0; domids && i < count; i++) {
        int domid = atoi(domids[i]);

        if (domid > 0 && !consoles_known(domid) && target_of(domid) &&
            xs_is_domain_introduced(store, (unsigned)domid))
            consoles_attach(domid, target_of(domid));
    }
    free(domids);
}

bool consoles_open(void)
{
    static const char complaint[] = "no Xenstore or no grant device in dom0";

    store = xs_open(0);
    grants = xengnttab_open(NULL, 0);
    if (!store || !grants || !xs_watch(store, "@introduceDomain", "in") ||
        !xs_watch(store, "@releaseDomain", "out")) {
        agent_tell(0, FRAME_LOG, complaint, sizeof(complaint) - 1);
        return false;
    }
    return true;
}

int consoles_poll(struct pollfd *fds, int room)
{
    int count = 0;

    if (room > 0 && store)
        fds[count++] = (struct pollfd){.fd = xs_fileno(store), .events = POLLIN};
    for (struct console *console = consoles; console && count < room; console = console->next)
        fds[count++] = (struct pollfd){.fd = xenevtchn_fd(console->events), .events = POLLIN};
    return count;
}

static void store_changed(void)
{
    bool changed = false;
    char **event;

    while ((event = xs_check_watch(store))) {
        free(event);
        changed = true;
    }
    if (changed) {
        detach_dead();
        attach_new();
    }
}

static void console_event(int fd)
{
    for (struct console *console = consoles; console; console = console->next) {
        if (xenevtchn_fd(console->events) != fd)
            continue;
        if (xenevtchn_pending(console->events) >= 0)
            xenevtchn_unmask(console->events, console->port);
        consoles_exchange(console);
        return;
    }
}

void consoles_ready(const struct pollfd *fds, int count)
{
    bool changed = false;

    for (int i = 0; i < count; i++) {
        if (!fds[i].revents)
            continue;
        if (fds[i].fd == xs_fileno(store))
            changed = true;
        else
            console_event(fds[i].fd);
    }
    if (changed)
        store_changed();
}

void consoles_send(const struct frame_header *header, const uint8_t *payload)
{
    for (struct console *console = consoles; console; console = console->next) {
        if (console->target != header->target)
            continue;
        frame_append(&console->out, 0, header->type, header->id, header->seq, payload,
                     header->length);
        consoles_exchange(console);
        return;
    }
}

void consoles_tell(void)
{
    char text[200];

    for (struct console *console = consoles; console; console = console->next) {
        const struct xencons_interface *page = console->page;
        int length = snprintf(text, sizeof(text),
                              "console of domain %d: out %u of %u taken, in %u of %u taken, "
                              "%zu bytes parsed in part, %zu bytes wait for room\n",
                              console->domid, page->out_cons, page->out_prod, page->in_cons,
                              page->in_prod, buffer_used(&console->in), buffer_used(&console->out));

        agent_tell(0, FRAME_LOG, text, (size_t)length);
    }
}
