/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostile: a peer that lies.
 *
 *     hostile list                                      prints the lies: NAME|STAGE|TEXT, TEXT
 *                                                       being what the victim's
 * log must say hostile once  --domid D --victim V [...] LIE      makes a link, tells the lie,
 *                            prints "ended" or "alive"
 *     hostile serve --domid D --victim V [...] LIE      does so each time the victim wants a link,
 *     until standard input
 * ends hostile answer --domid D --victim V [...] STATUS  a peer that answers each request with that
 *     reason; -1: never
 *     hostile hold  --domid D --victim V [...]          makes a link and a connection to port 80,
 *                   prints "connected",
 * and does nothing, whatever happens, until standard input ends
 *
 * [...] is --platform local|xen (local) and --store DIR ($IDC_STORE). Everything before the lie is
 * honest (hostile_link.c).
 */
#include "tests/programs/hostile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENDED_MS 60000 /* never used up when all is well */

static struct {
    const char *platform, *store;
    int domid, victim;
} options = {.platform = "local", .domid = -1, .victim = -1};

static uint8_t payload[WIRE_FRAME_MAX];

/* ---- the honest part ---- */

static void say_hello(struct hostile *h)
{
    uint8_t hello[WIRE_HELLO];
    struct wire_frame frame = {.type = WIRE_TYPE_HELLO, .length = sizeof(hello)};
    wire_put_hello(hello, &h->hello);
    hostile_frame(h, &frame, hello);
    if (!hostile_receive(h, &frame, payload) || frame.type != WIRE_TYPE_HELLO)
        hostile_die("the victim does not say HELLO");
    /* It has also taken ours: what the lie does to the indexes is then done to a quiet ring. */
    while (ring_space(&h->rings.out) < (int64_t)h->rings.out.size)
        if (hostile_ended(h, 1))
            hostile_die("the victim has ended the link");
}

static void await_type(struct hostile *h, enum wire_type type, struct wire_frame *frame)
{
    do
        if (!hostile_receive(h, frame, payload))
            hostile_die("the victim has ended the link");
    while (frame->type != (uint8_t)type);
}

static void hostile_request(struct hostile *h, uint32_t id, uint32_t port, enum idc_type type)
{
    uint8_t bytes[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    struct wire_connect_req req = {
        .id = id, .source_port = 5, .port = port, .uid = 4711, .type = type};
    uint32_t length = wire_put_connect_req(bytes, &req);
    hostile_frame(
        h, &(struct wire_frame){.type = WIRE_TYPE_CONNECT_REQ, .length = length, .credit = 4096},
        bytes);
}

static void connect_victim(struct scene *scene, uint32_t id, uint32_t port, enum idc_type type)
{
    struct wire_frame frame;
    struct wire_connect_rsp rsp;
    hostile_request(scene->h, id, port, type);
    do
        await_type(scene->h, WIRE_TYPE_CONNECT_RSP, &frame);
    while (frame.connection != id);
    if (wire_get_connect_rsp(payload, frame.length, &rsp) || rsp.status != 0)
        hostile_die("the victim does not accept");
    scene->id = rsp.id;
    scene->credit = frame.credit;
}

static void await_request(struct scene *scene)
{
    struct wire_frame frame;
    await_type(scene->h, WIRE_TYPE_CONNECT_REQ, &frame);
    scene->id = wire_get_u32(payload);
    scene->credit = frame.credit;
}

static void set_stage(struct scene *scene, enum stage stage)
{
    if (stage >= STAGE_UP)
        say_hello(scene->h);
    if (stage == STAGE_STREAM)
        connect_victim(scene, HOSTILE_OWN_ID, 80, IDC_STREAM);
    else if (stage == STAGE_MESSAGES)
        connect_victim(scene, HOSTILE_OWN_ID, 81, IDC_SEQPACKET);
    else if (stage == STAGE_REQUESTED)
        await_request(scene);
}

/* ---- the parts ---- */

static void hostile_say(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
}

static bool told_to_end(int wait_ms)
{
    struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;
    return poll(&pollfd, 1, wait_ms) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void hostile_play(struct hostile *h, const struct lie *lie, bool wanted)
{
    struct scene scene = {.h = h};
    hostile_connect(h, wanted);
    set_stage(&scene, lie->stage);
    if (lie->tell)
        lie->tell(&scene);
    if (lie->text) {
        hostile_say(hostile_ended(h, ENDED_MS) ? "ended" : "alive");
    } else {
        connect_victim(&scene, HOSTILE_OWN_ID + 1, 80, IDC_STREAM);
        hostile_say("alive");
    }
    hostile_drop(h);
}

static void answer_all(struct hostile *h, int status)
{
    struct wire_frame frame;
    uint8_t bytes[WIRE_CONNECT_RSP];
    hostile_connect(h, true);
    say_hello(h);
    for (;;) {
        while (ring_ready(&h->rings.in) == 0 && !hostile_ended(h, 20))
            if (told_to_end(0))
                return;
        if (!hostile_receive(h, &frame, payload))
            return;
        if (frame.type != WIRE_TYPE_CONNECT_REQ || status < 0)
            continue;
        wire_put_connect_rsp(bytes, &(struct wire_connect_rsp){.status = (uint32_t)status});
        hostile_frame(h,
                      &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                           .length = sizeof(bytes),
                                           .connection = wire_get_u32(payload)},
                      bytes);
    }
}

static void hostile_hold(struct hostile *h)
{
    struct scene scene = {.h = h};
    hostile_connect(h, false);
    say_hello(h);
    connect_victim(&scene, HOSTILE_OWN_ID, 80, IDC_STREAM);
    hostile_say("connected");
    while (!told_to_end(1000))
        continue;
}

static const struct lie *find_lie(const char *name)
{
    for (int i = 0; i < lie_count; i++)
        if (strcmp(lies[i].name, name) == 0)
            return &lies[i];
    hostile_die("no such lie (see hostile list)");
}

static void hostile_list(void)
{
    for (int i = 0; i < lie_count; i++)
        printf("%s|%d|%s\n", lies[i].name, (int)lies[i].stage, lies[i].text ? lies[i].text : "");
}

static const char *hostile_parse(int argc, char **argv)
{
    const char *what = "";
    options.store = getenv("IDC_STORE");
    for (int i = 2; i < argc; i++) {
        bool more = i + 1 < argc;
        if (more && strcmp(argv[i], "--platform") == 0)
            options.platform = argv[++i];
        else if (more && strcmp(argv[i], "--store") == 0)
            options.store = argv[++i];
        else if (more && strcmp(argv[i], "--domid") == 0)
            options.domid = atoi(argv[++i]);
        else if (more && strcmp(argv[i], "--victim") == 0)
            options.victim = atoi(argv[++i]);
        else
            what = argv[i];
    }
    return what;
}

int main(int argc, char **argv)
{
    struct hostile h;
    const char *mode = argc > 1 ? argv[1] : "";
    const char *what = hostile_parse(argc, argv);
    if (strcmp(mode, "list") == 0) {
        hostile_list();
        return 0;
    }
    hostile_open(&h, options.platform, options.store, options.domid, options.victim);
    hostile_say("ready");
    if (strcmp(mode, "once") == 0)
        hostile_play(&h, find_lie(what), find_lie(what)->stage == STAGE_REQUESTED);
    while (strcmp(mode, "serve") == 0 && !told_to_end(0))
        hostile_play(&h, find_lie(what), true);
    if (strcmp(mode, "answer") == 0)
        answer_all(&h, atoi(what));
    if (strcmp(mode, "hold") == 0)
        hostile_hold(&h);
    hostile_close(&h);
    return 0;
}
