/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostile: a peer that lies, or does what it should not.
 *
 *     hostile list                        prints the lies: NAME|STAGE|TEXT. The victim's log must
 *                                         say TEXT. If it is empty the link goes on
 *     hostile once LIE                    makes a link, tells the lie, prints "ended" or "alive"
 *     hostile serve LIE                   does so each time the victim wants a link, until standard
 *                                         input ends
 *     hostile answer STATUS               answers each request with that reason; -1: never
 *     hostile hold                        makes a link and a connection to port 80, prints
 *                                         "connected", and does nothing, whatever happens, until
 *                                         standard input ends
 *     hostile deed DEED                   makes a link if the deed has one, begins, and prints
 *                                         "begun". It goes on until standard input ends. A line
 *                                         there is a question:
 *         count                           prints "count N": how much it has done
 *         link                            prints "up" or "ended"
 *         finish                          makes an honest connection, over the link that there is
 *                                         or a new one, and prints "alive"
 *     hostile churn HOW COUNT             makes COUNT links, which the victim offers, one after the
 *                                         other, and does not give up their memory: it has that of
 *                                         the latest 60 mapped. (Xen counts up to 128 mappings of a
 *                                         page, and a PV guest maps each twice. So Xen refuses more
 *                                         if the victim uses the same pages again.) Each link lasts
 *                                         a while, so that it is not counted as short. HOW says how
 *                                         it ends: let-go says that we have let go, hold breaks the
 *                                         protocol, and asks for another link at the end. Then
 *                                         prints "made". For the first line of standard input it
 *                                         gives up everything, prints "given up", makes one more
 *                                         link, and prints "welcome"
 *
 * All but list need --domid D --victim V; and --platform local|xen (local), --store DIR
 * ($IDC_STORE). Everything before the lie or deed is honest (hostile_link.c).
 */
#include "tests/programs/hostile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENDED_MS 60000 /* never used up when all is well */
#define CHURN_KEPT 60
#define CHURN_LASTS_MS 150

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
    if (wire_get_connect_rsp(payload, frame.length, 0, &rsp) || rsp.status != 0)
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
        connect_victim(scene, HOSTILE_OWN_ID, HOSTILE_STREAM, IDC_STREAM);
    else if (stage == STAGE_MESSAGES)
        connect_victim(scene, HOSTILE_OWN_ID, HOSTILE_SEQPACKET, IDC_SEQPACKET);
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
    uint8_t bytes[WIRE_CONNECT_RSP_RULE];
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
        wire_put_connect_rsp(bytes, 0, &(struct wire_connect_rsp){.status = (uint32_t)status});
        hostile_frame(h,
                      &(struct wire_frame){.type = WIRE_TYPE_CONNECT_RSP,
                                           .length = WIRE_CONNECT_RSP,
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

/* ---- deeds ---- */

/* Is the link that the deed had still there? */
static bool link_stands(struct hostile *h)
{
    return h->channel && !hostile_ended(h, 1);
}

/* The link that there is, or a new one, carries a connection. */
static void be_honest(struct scene *scene, const struct deed *deed)
{
    if (deed->finish)
        deed->finish(scene);
    if (scene->h->channel && !link_stands(scene->h))
        hostile_drop(scene->h);
    if (!scene->h->channel) {
        hostile_connect(scene->h, false);
        say_hello(scene->h);
    }
    connect_victim(scene, HOSTILE_OWN_ID + 1, HOSTILE_STREAM, IDC_STREAM);
    hostile_say("alive");
}

/* False: standard input has ended. */
static bool answer_question(struct scene *scene, const struct deed *deed)
{
    char line[32];
    if (!fgets(line, sizeof(line), stdin))
        return false;
    if (strcmp(line, "count\n") == 0)
        printf("count %llu\n", (unsigned long long)scene->count);
    else if (strcmp(line, "link\n") == 0)
        hostile_say(link_stands(scene->h) ? "up" : "ended");
    else
        be_honest(scene, deed);
    fflush(stdout);
    return true;
}

static bool is_asked(int wait_ms)
{
    struct pollfd pollfd = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&pollfd, 1, wait_ms) > 0;
}

static void hostile_do(struct hostile *h, const struct deed *deed)
{
    struct scene scene = {.h = h, .next_id = 1000};
    if (deed->stage != STAGE_NONE)
        hostile_connect(h, false);
    set_stage(&scene, deed->stage);
    if (deed->begin)
        deed->begin(&scene);
    hostile_say("begun");
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        bool steps = deed->step && (deed->of_store || !h->dead);
        if (is_asked(steps ? 0 : 50) && !answer_question(&scene, deed))
            return;
        if (steps)
            deed->step(&scene);
    }
}

/* ---- churn ---- */

/* The page that the rings' indexes are in, of a link that the victim has offered. */
static struct ring_page *churn_page(struct hostile *h)
{
    return (struct ring_page *)h->rings.out.shared;
}

static void churn_end(struct hostile *h, bool let_go)
{
    static const struct wire_frame nonsense = {.type = 0};
    hostile_ended(h, CHURN_LASTS_MS);
    if (let_go) {
        __atomic_store_n(&churn_page(h)->cli_live, 0, __ATOMIC_SEQ_CST);
        h->ops->channel_notify(h->channel);
    } else {
        hostile_frame(h, &nonsense, NULL);
    }
    if (!hostile_ended(h, ENDED_MS))
        hostile_die("the victim does not end the link");
}

static void hostile_churn(struct hostile *h, bool let_go, int count)
{
    struct channel *kept[CHURN_KEPT] = {NULL};
    for (int made = 0; made < count; made++) {
        struct channel **place = &kept[made % CHURN_KEPT];
        if (*place)
            h->ops->channel_close(*place);
        hostile_connect(h, false);
        say_hello(h);
        churn_end(h, let_go);
        *place = h->channel;
        h->channel = NULL;
    }
    if (!let_go)
        hostile_want(h);
    hostile_say("made");
    if (getchar() == EOF)
        return;
    for (int i = 0; i < CHURN_KEPT; i++)
        if (kept[i])
            h->ops->channel_close(kept[i]);
    hostile_say("given up");
    hostile_connect(h, false);
    say_hello(h);
    hostile_say("welcome");
}

static const struct deed *find_deed(const char *name)
{
    for (int i = 0; i < deed_count; i++)
        if (strcmp(deeds[i].name, name) == 0)
            return &deeds[i];
    hostile_die("no such deed");
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

static const char *hostile_parse(int argc, char **argv, const char **more_words)
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
        else if (!what[0])
            what = argv[i];
        else
            *more_words = argv[i];
    }
    return what;
}

int main(int argc, char **argv)
{
    struct hostile h;
    const char *mode = argc > 1 ? argv[1] : "";
    const char *count = "0", *what = hostile_parse(argc, argv, &count);
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
    if (strcmp(mode, "deed") == 0)
        hostile_do(&h, find_deed(what));
    if (strcmp(mode, "churn") == 0)
        hostile_churn(&h, strcmp(what, "let-go") == 0, atoi(count));
    hostile_close(&h);
    return 0;
}
