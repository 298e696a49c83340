/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link.pml - how a link comes about and ends, for spin.
 *
 * Theory of operation
 *
 * Two domains, of which HIGH offers and LOW attaches. In each, link_mgr starts, may be killed or told
 * to end at any step, and may start once more: INCARNATIONS in all. Programs wish for a connection,
 * WISHES in each domain. A connection is a CONNECT_req and its answer here; connection.pml has the
 * rest. The store and the channels are shared variables. Each node of the store that changes leaves a
 * mark for its reader, which reads it at some later time, each by itself. A change that is overtaken
 * by the next is never seen.
 *
 * A side's variables and transitions have the names that they have in link_mgr/core/peer*.c. Time
 * passes when both have done all that there was to do. Besides, EARLY timers in all may go off before
 * that, as on a machine that is too slow. Pauses after links that ended soon are left out: more links
 * than here are free of them. It is Xen's platform, which can't tell whether a link_mgr runs in the
 * other domain.
 *
 * What is checked, with mistakes that make spin find it (-DBREAK_...):
 *   - each wish ends                                             BREAK_WANT, BREAK_BYE
 *   - it ends with a connection if nothing failed meanwhile      BREAK_GREETING, BREAK_OLD_NEWS
 *   - a request reaches the link_mgr for which it was meant      BREAK_MEANT
 *   - both sides are in one link, or in none, when all has settled       BREAK_DEATH
 *   - nothing is left in the store or of the channels after an idle link BREAK_RETRACT
 */
#ifndef INCARNATIONS
#define INCARNATIONS 2
#endif
#ifndef WISHES
#define WISHES 1
#endif
#ifndef EARLY
#define EARLY 1
#endif
#define CHANNELS 4
#define RING 4 /* frames */
#define TIMERS_MAX 12 /* that may go off after the last fault: more would be for ever */

#define HIGH 0
#define LOW 1
#define other(d) (1 - (d))

mtype:state = { DOWN, WAITING, OFFERING, ATTACHING, GREETING, UP, BACKOFF };
mtype:frame = { HELLO, CONNECT_REQ, CONNECT_RSP, BYE_IDLE, BYE_SHUTDOWN };

/* ---- the store ---- */

typedef Nodes {
    byte alive; /* of each domain */
};
Nodes node[2];
byte want_epoch, want_number; /* LOW's */
byte offer_epoch, offer_generation, offer_reader, offer_channel; /* HIGH's; the last: its link/ */

typedef News {
    bool alive, rendezvous; /* the reader has not seen the latest */
};
News news[2]; /* by reader */

/* ---- channels ---- */

typedef Channel {
    bool open[2];
    bool attached;
};
Channel channel[CHANNELS + 1];
/* By channel and receiver: 2 * channel + receiver. HELLO: epoch, generation, wish. CONNECT_REQ: the
 * epoch of the link_mgr for which it is meant. */
chan ring[2 * (CHANNELS + 1)] = [RING] of { mtype:frame, byte, byte, byte };

/* ---- link_mgr ---- */

typedef Peer {
    byte epoch; /* our own; 0: not running */
    byte generation_last, wish_last;
    mtype:state state;
    bool wake;

    bool known_alive, known_rendezvous;
    byte alive, epoch_seen;
    byte wish_epoch, wish_number, answered;                      /* HIGH: what `want` says */
    byte offer_epoch, offer_generation, offer_reader;            /* LOW: what `offer` says */
    byte attached, attached_epoch, want_number;
    bool want_published, silent;

    byte channel; /* 0: none */
    byte generation, met; /* of the link; the epoch of the other side that we take it to be with */
    bool link, up, hello_sent, end_proposed;
    byte their_wish;
    byte waiting, requests, sent; /* wishes: without a link; in the link; asked */
    byte answers; /* that are owed */
    bool excuse;                  /* something failed since a wish began */
};
Peer peer[2];

byte started[2], wished[2];
byte early, timers;
bool checked; /* that all is right while nothing happens */

#define me peer[d]
#define running(d) (peer[d].epoch != 0)
#define known (me.known_alive && me.known_rendezvous)
#define to_me ring[2 * me.channel + d]
#define to_other ring[2 * me.channel + other(d)]
#define conn_count (me.waiting + me.requests + me.sent + me.answers)
#define channel_dead (me.channel != 0 && channel[me.channel].attached && \
                      !channel[me.channel].open[other(d)])
#define gone (me.silent)

inline fault() {
    peer[0].excuse = true; peer[1].excuse = true; timers = 0
}

inline fail_waiting() {
    assert(me.waiting == 0 || me.excuse);
    me.waiting = 0
}

inline stop_wanting() {
    if
    :: me.want_published ->
        want_epoch = 0; want_number = 0; news[HIGH].rendezvous = true; me.want_published = false
    :: else
    fi
}

inline close_channel() {
    channel[me.channel].open[d] = false;
    do /* nobody reads what is in there for us any more */
    :: (len(to_me) > 0) -> to_me ? _, _, _, _
    :: else -> break
    od;
    if /* the pages are free again when both sides are gone */
    :: !channel[me.channel].open[0] && !channel[me.channel].open[1] ->
        channel[me.channel].attached = false;
        do
        :: (len(to_other) > 0) -> to_other ? _, _, _, _
        :: else -> break
        od
    :: else -> peer[other(d)].wake = true
    fi
}

/* kept: what was not sent waits for the next link. */
inline drop_link(kept) {
    stop_wanting();
    if
    :: me.channel != 0 ->
        if
        :: d == HIGH ->
#ifndef BREAK_RETRACT
            offer_epoch = 0; offer_generation = 0; offer_reader = 0; offer_channel = 0;
#endif
            news[LOW].rendezvous = true
        :: else
        fi;
        assert(me.sent == 0 || me.excuse);
        if
        :: kept -> me.waiting = me.waiting + me.requests
        :: else -> assert(me.requests == 0 || me.excuse)
        fi;
        me.requests = 0; me.sent = 0; me.answers = 0;
        close_channel();
        me.channel = 0; me.generation = 0; me.met = 0; me.link = false; me.up = false;
        me.hello_sent = false; me.end_proposed = false; me.their_wish = 0;
        me.state = DOWN; me.wake = true
    :: else
    fi
}

inline protocol_error() {
    if
    :: channel_dead -> me.silent = true; drop_link(true)
    :: else -> drop_link(false); fail_waiting(); me.state = BACKOFF
    fi
}

inline setup_failed() {
    drop_link(true);
    if
    :: gone -> fail_waiting()
    :: else
    fi;
    me.state = BACKOFF
}

/* ---- peer_setup.c ---- */

inline make_offer() {
    if
    :: !channel[1].open[0] && !channel[1].open[1] -> me.channel = 1
    :: else ->
        if
        :: !channel[2].open[0] && !channel[2].open[1] -> me.channel = 2
        :: else ->
            if
            :: !channel[3].open[0] && !channel[3].open[1] -> me.channel = 3
            :: else -> me.channel = 4; assert(!channel[4].open[0] && !channel[4].open[1])
            fi
        fi
    fi;
    channel[me.channel].open[HIGH] = true;
    me.generation_last++; me.generation = me.generation_last; me.met = me.alive;
    me.state = OFFERING;
    offer_epoch = me.epoch; offer_generation = me.generation; offer_reader = me.alive;
    offer_channel = me.channel; news[LOW].rendezvous = true
}

inline attach() {
    me.attached_epoch = me.offer_epoch; me.attached = me.offer_generation;
    me.generation = me.offer_generation;
    stop_wanting();
    if /* whatever channel the store names by now */
    :: offer_channel != 0 && channel[offer_channel].open[HIGH] && !channel[offer_channel].attached ->
        me.channel = offer_channel; me.met = me.offer_epoch;
        channel[me.channel].attached = true; channel[me.channel].open[LOW] = true;
        peer[HIGH].wake = true;
        me.state = ATTACHING; me.wake = true
    :: else -> me.generation = 0; setup_failed()
    fi
}

inline want() {
    me.wish_last++; me.want_number = me.wish_last;
    me.want_published = true; me.state = WAITING;
    want_epoch = me.epoch; want_number = me.want_number; news[HIGH].rendezvous = true
}

inline check_epoch() {
    if
    :: me.epoch_seen != me.alive ->
        if
        :: me.epoch_seen != 0 ->
            drop_link(true);
            me.answered = 0
        :: else
        fi;
        me.epoch_seen = me.alive; me.silent = false
    :: else
    fi
}

#define for_me (me.offer_reader == me.epoch)
#define wished_for (d == HIGH && me.wish_epoch == me.alive && me.wish_number > me.answered)
#define offered (d == LOW && me.offer_epoch != 0 && me.offer_epoch == me.alive && for_me && \
                 (me.attached_epoch != me.alive || me.offer_generation > me.attached))

inline evaluate() {
    if
    :: known && me.state != BACKOFF ->
        check_epoch();
        if
        :: me.alive == 0 ->
            stop_wanting(); fail_waiting();
            if
            :: me.state == WAITING -> me.state = DOWN
            :: else
            fi
        :: me.alive != 0 && wished_for ->
            me.silent = false;
            if
#ifdef BREAK_GREETING
            :: me.state == GREETING -> drop_link(true)
#endif
            :: me.state == UP -> drop_link(true)
            :: else
            fi;
            if /* or HELLO will tell whether the offer that is open answers it */
            :: me.channel == 0 -> me.answered = me.wish_number; make_offer()
            :: else
            fi
        :: me.alive != 0 && !wished_for && offered ->
            me.silent = false;
            drop_link(true);
            attach()
        :: else ->
            if
            :: me.waiting > 0 && me.channel == 0 && !me.want_published ->
                if
                :: d == HIGH -> make_offer()
#ifdef BREAK_WANT
                :: d == LOW && me.wish_last == 0 -> want()
                :: d == LOW && me.wish_last > 0
#else
                :: else -> want()
#endif
                fi
            :: else
            fi
        fi
    :: else
    fi
}

/* ---- link*.c ---- */

inline on_hello() {
    if
    :: me.up -> protocol_error()
#ifdef BREAK_MEANT
    :: false ->
#else
    :: !me.up && (b != me.generation || a != (d == HIGH -> me.epoch : me.attached_epoch)) ->
#endif
#ifdef BREAK_OLD_NEWS
        protocol_error()
#else
        setup_failed() /* LOW's news were old */
#endif
    :: else ->
        me.up = true; me.silent = false; me.their_wish = c;
        if
        :: c > me.answered -> me.answered = c
        :: else
        fi;
        me.state = UP;
        me.requests = me.requests + me.waiting; me.waiting = 0
    fi
}

inline receive() {
    to_me ? type, a, b, c;
    if
    :: type == HELLO -> on_hello()
    :: type != HELLO && !me.up -> protocol_error()
    :: type == CONNECT_REQ && me.up ->
        assert(a == me.epoch);
        me.end_proposed = false;
        me.answers++
    :: type == CONNECT_RSP && me.up ->
        assert(me.sent > 0);
        me.sent--
    :: type == BYE_IDLE && me.up ->
        if
#ifdef BREAK_BYE
        :: false
#else
        :: conn_count > 0 /* ignored */
#endif
        :: else -> drop_link(true)
        fi
    :: type == BYE_SHUTDOWN && me.up -> drop_link(true)
    fi;
    type = HELLO; a = 0; b = 0; c = 0
}

inline send() {
    if
    :: !me.hello_sent ->
        me.hello_sent = true;
        if
        :: d == HIGH -> to_other ! HELLO, me.epoch, me.generation, 0
        :: else -> to_other ! HELLO, me.attached_epoch, me.generation, me.want_number
        fi
    :: else
    fi;
    do
    :: me.up && me.answers > 0 && (len(to_other) < RING) ->
        me.answers--;
        to_other ! CONNECT_RSP, 0, 0, 0
    :: me.up && me.answers == 0 && me.requests > 0 && !me.end_proposed && (len(to_other) < RING) ->
        me.requests--; me.sent++;
        to_other ! CONNECT_REQ, me.met, 0, 0
    :: else -> break
    od
}

inline channel_died() {
    if
    :: me.state != UP -> setup_failed()
    :: me.state == UP && me.end_proposed -> drop_link(true)
#ifndef BREAK_DEATH
    :: else -> me.silent = true; drop_link(true)
#else
    :: else
#endif
    fi
}

/* ---- turns ---- */

inline turn() {
    me.wake = false;
    if
    :: me.channel != 0 && !me.link && channel[me.channel].attached ->
        me.link = true; me.state = GREETING
    :: else
    fi;
    if
    :: me.link ->
        do
        :: me.link && (len(to_me) > 0) -> receive()
        :: break
        od;
        if
        :: me.link -> send(); peer[other(d)].wake = running(other(d))
        :: else
        fi;
        me.wake = me.wake || (me.link && (len(to_me) > 0))
    :: else
    fi;
    if
    :: channel_dead && !(me.link && (len(to_me) > 0)) -> channel_died()
    :: else
    fi;
    evaluate()
}

/* What a deadline brings. */
#define timer_runs (me.state == WAITING || me.state == OFFERING || me.state == ATTACHING || \
                    me.state == GREETING || me.state == BACKOFF || \
                    (me.state == UP && conn_count == 0))

inline expired() {
    if
    :: me.state == BACKOFF -> me.state = DOWN
    :: me.state == UP && me.end_proposed -> drop_link(true)
    :: me.state == UP && !me.end_proposed ->
        if
        :: (len(to_other) < RING) -> to_other ! BYE_IDLE, 0, 0, 0; me.end_proposed = true;
            peer[other(d)].wake = true
        :: else
        fi
    :: else ->
        drop_link(true);
        if
        :: gone -> me.silent = true; fail_waiting()
        :: else
        fi;
        me.state = DOWN
    fi;
    me.wake = true
}

inline start() {
    started[d]++;
    me.epoch = started[d]; me.state = DOWN;
    /* its predecessor's nodes go first */
    if
    :: d == HIGH -> offer_epoch = 0; offer_generation = 0; offer_reader = 0; offer_channel = 0
    :: else -> want_epoch = 0; want_number = 0
    fi;
    node[d].alive = me.epoch;
    news[other(d)].alive = true; news[other(d)].rendezvous = true;
    news[d].alive = true; news[d].rendezvous = true
}

/* What is left of a process that is gone. */
inline forget() {
    me.epoch = 0; me.generation_last = 0; me.wish_last = 0; me.state = DOWN; me.wake = false;
    me.known_alive = false; me.known_rendezvous = false; me.alive = 0; me.epoch_seen = 0;
    me.wish_epoch = 0; me.wish_number = 0; me.answered = 0;
    me.offer_epoch = 0; me.offer_generation = 0; me.offer_reader = 0;
    me.attached = 0; me.attached_epoch = 0; me.want_number = 0;
    me.want_published = false; me.silent = false;
    me.channel = 0; me.generation = 0; me.met = 0; me.link = false; me.up = false;
    me.hello_sent = false; me.end_proposed = false; me.their_wish = 0;
    me.waiting = 0; me.requests = 0; me.sent = 0; me.answers = 0;
    me.excuse = false;
    news[d].alive = false; news[d].rendezvous = false
}

inline kill() {
    fault();
    if
    :: me.channel != 0 -> close_channel()
    :: else
    fi;
    forget()
}

inline end_well() {
    fault();
    if
    :: me.link && me.hello_sent && (len(to_other) < RING) -> to_other ! BYE_SHUTDOWN, 0, 0, 0
    :: else
    fi;
    drop_link(true);
    node[d].alive = 0; news[other(d)].alive = true;
    forget()
}

proctype Link_mgr(bit d) {
    mtype:frame type = HELLO;
    byte a, b, c;
end:
    do
    :: atomic { !running(d) && started[d] < INCARNATIONS -> fault(); start() }
    :: atomic { running(d) && news[d].alive ->
                news[d].alive = false; me.known_alive = true; me.alive = node[other(d)].alive;
                me.wake = true }
    :: atomic { running(d) && news[d].rendezvous ->
                news[d].rendezvous = false; me.known_rendezvous = true; me.wake = true;
                if
                :: d == HIGH -> me.wish_epoch = want_epoch; me.wish_number = want_number
                :: else -> me.offer_epoch = offer_epoch; me.offer_generation = offer_generation;
                    me.offer_reader = offer_reader
                fi }
    :: atomic { running(d) && me.wake -> turn() }
    :: atomic { running(d) -> kill() }
    :: atomic { running(d) -> end_well() }
    :: atomic { running(d) && wished[d] < WISHES ->
                wished[d]++;
                me.excuse = (me.excuse && conn_count > 0) || !running(other(d)) ||
                            news[d].alive || !known || me.silent || channel_dead;
                if
                :: me.state == UP -> me.requests++
                :: else -> me.waiting++
                fi;
                me.wake = true }
    :: atomic { running(d) && timer_runs && early < EARLY -> early++; fault(); expired() }
    :: atomic { running(d) && me.state == UP && conn_count == 0 && !me.end_proposed -> expired() }
    od
}

inline settled(d) {
    assert(!running(d) || (me.channel == 0 && conn_count == 0));
    assert(!running(d) || (!channel[1].open[d] && !channel[2].open[d] && !channel[3].open[d] &&
                           !channel[4].open[d]))
}

#define both_running (running(HIGH) && running(LOW))
#define is_up(d) (peer[d].state == UP)
#define has_timer(d) (running(d) && peer[d].state != DOWN && \
                      (peer[d].state != UP || peer[d].waiting + peer[d].requests + peer[d].sent + peer[d].answers == 0))
/* Its own limit ends a wish for which there is nobody. */
#define in_vain(d) (running(d) && !running(other(d)) && peer[d].waiting > 0)

/* Programs and faults apart, nothing can happen before time passes. */
#define rests(d) (!running(d) || (!peer[d].wake && !news[d].alive && !news[d].rendezvous))
#define all_rest (rests(HIGH) && rests(LOW))
#define any_timer (has_timer(HIGH) || has_timer(LOW) || in_vain(HIGH) || in_vain(LOW))

#define in_backoff(d) (running(d) && peer[d].state == BACKOFF)

inline goes_off(domain) {
    d = domain;
    if
    :: in_vain(d) -> me.waiting = 0
    :: !in_vain(d) && has_timer(d) && (!pauses || in_backoff(d)) -> expired()
    :: else
    fi
}

proctype Time() {
    bit d;
    bool pauses;
end:
    do
    :: atomic { all_rest && any_timer ->
        assert(!both_running || is_up(HIGH) == is_up(LOW));
        assert(!both_running || !is_up(HIGH) || peer[HIGH].channel == peer[LOW].channel);
        timers++;
        assert(timers < TIMERS_MAX);
        pauses = in_backoff(HIGH) || in_backoff(LOW); /* a pause is shorter than other limits */
        goes_off(HIGH); goes_off(LOW);
        d = HIGH; pauses = false }
    :: atomic { all_rest && !any_timer && !checked ->
        checked = true;
        d = HIGH; settled(d); d = LOW; settled(d); d = HIGH;
        assert(!running(HIGH) || offer_epoch == 0);
        assert(!running(LOW) || want_epoch == 0) }
    :: atomic { checked && !all_rest -> checked = false }
    od
}

init {
    atomic {
        peer[0].state = DOWN; peer[1].state = DOWN;
        run Link_mgr(0); run Link_mgr(1); run Time()
    }
}
