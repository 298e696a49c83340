/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "channels/room.h"

#include <event2/event.h>

#include "channels/clock.h"
#include "channels/side.h"

/* A writer that sends so soon after the byte was let go has waited for that. */
#define GUESS_MS 100
/* A timer's event asks for so long, and then lets others do something for so long. */
#define ASK_MS 2
#define PAUSE_MS 10
/* A buffer that has room beside any block that is held: these are 64 KiB, and somewhat more where
 * pages are large. */
#define ROOMY_BUFFER (4 * 96 * 1024)

/* The first is for silence; a writer that had room is asked about after the others. Where the
 * kernel does not tell, the byte is let go after the one of SILENCE. */
static const unsigned room_waits[ROOM_LISTS] = {10, 1000, 10000};
#define SILENCE 1

static uint32_t room_now_ms(void)
{
    return (uint32_t)channels_now_ms();
}

static void list_set_timer(struct room_list *list, uint32_t ms)
{
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};
    event_add(&list->timer, &wait);
}

void room_leave(struct rooms *rooms, struct room *room)
{
    if (room->list != 0)
        TAILQ_REMOVE(&rooms->lists[room->list - 1].members, room, place);
    room->list = 0;
}

static void room_enter(struct room *room, struct room_list *list)
{
    room_leave(list->rooms, room);
    if (!evtimer_pending(&list->timer, NULL))
        list_set_timer(list, list->wait_ms);
    room->list = (uint8_t)(list - list->rooms->lists + 1);
    room->since = room_now_ms();
    TAILQ_INSERT_TAIL(&list->members, room, place);
}

static bool room_is_sure(const struct room *room)
{
    return !room->side->held || room->side->block <= UNIX_DIAG_BATCH_SURE;
}

static void room_let_go(struct room *room)
{
    side_let_go(room->side);
    room->side->block = 0;
    room->tight = true;
}

/* The kernel does not tell. */
static void room_guess(struct room *room)
{
    room_let_go(room);
    room->guessed = room_now_ms() | 1; /* not 0 */
}

/* False: the kernel does not tell. */
static bool room_measure(const struct rooms *rooms, struct room *room,
                         struct unix_diag_memory *memory)
{
    if (room->peer == 0) {
        int64_t peer = unix_diag_peer(&rooms->diag, room->side->in);
        room->peer = peer > 0 ? (uint32_t)peer : 0;
    }
    return room->peer != 0 && unix_diag_memory(&rooms->diag, room->peer, memory) == 0;
}

/* What the kernel tells. True: the writer has room, but it is worth while to ask again. */
static bool room_judge(struct room *room, const struct unix_diag_memory *memory)
{
    if (!unix_diag_writable(memory)) {
        /* What it has sent since is charged as well, and will be read; then this is asked again. */
        if (!side_has_more(room->side))
            room_let_go(room);
        return false;
    }
    room->measured = true;
    room->tight = room->tight && memory->send_buffer < ROOMY_BUFFER;
    if (memory->charged > UNIX_DIAG_CHARGE_SURE)
        return true;
    room->side->block = 0;
    return false;
}

/* The side has brought nothing for as long as the list waits. */
static void room_ask(struct rooms *rooms, struct room *room, struct room_list *list)
{
    struct unix_diag_memory memory;
    struct room_list *silence = &rooms->lists[SILENCE], *next = list + 1;
    if (room_measure(rooms, room, &memory)) {
        if (room_judge(room, &memory) && next < rooms->lists + ROOM_LISTS)
            room_enter(room, next);
    } else if (list < silence) {
        room_enter(room, silence);
    } else {
        room_guess(room);
    }
}

static void room_look_tight(struct rooms *rooms, struct room *room)
{
    struct unix_diag_memory memory;
    uint32_t now = room_now_ms();
    if (now == rooms->asked) {
        room_let_go(room);
        return;
    }
    rooms->asked = now;
    if (!room_measure(rooms, room, &memory))
        room_guess(room);
    else if (room_judge(room, &memory))
        room_enter(room, &rooms->lists[1]);
}

void room_look(struct rooms *rooms, struct room *room)
{
    if (!room->side->news)
        return;
    room->side->news = false;
    if (room->guessed != 0)
        room->tight = room_now_ms() + 1 - room->guessed < GUESS_MS;
    room->guessed = 0;
    room_leave(rooms, room);
    if (room_is_sure(room))
        return;
    if (room->tight)
        room_look_tight(rooms, room);
    else
        room_enter(room, &rooms->lists[room->measured ? 1 : 0]);
}

static void room_timer(evutil_socket_t fd, short what, void *argument)
{
    struct room_list *list = argument;
    uint32_t begin = room_now_ms(), now = begin;
    struct room *room;
    (void)fd;
    (void)what;
    while ((room = TAILQ_FIRST(&list->members)) != NULL && now - room->since >= list->wait_ms) {
        if (now - begin > ASK_MS) {
            list_set_timer(list, PAUSE_MS);
            return;
        }
        room_leave(list->rooms, room);
        if (!room_is_sure(room))
            room_ask(list->rooms, room, list);
        now = room_now_ms();
    }
    if (room != NULL)
        list_set_timer(list, room->since + list->wait_ms - now);
}

void rooms_begin(struct rooms *rooms, struct event_base *base)
{
    unix_diag_open(&rooms->diag);
    rooms->asked = 0;
    for (unsigned i = 0; i < ROOM_LISTS; i++) {
        struct room_list *list = &rooms->lists[i];
        list->wait_ms = room_waits[i];
        list->rooms = rooms;
        TAILQ_INIT(&list->members);
        evtimer_assign(&list->timer, base, room_timer, list);
    }
}

void rooms_end(struct rooms *rooms)
{
    for (unsigned i = 0; i < ROOM_LISTS; i++)
        event_del(&rooms->lists[i].timer);
    unix_diag_close(&rooms->diag);
}
