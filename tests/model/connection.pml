/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * connection.pml - the life and the end of connections on one link, for spin.
 *
 * Theory of operation
 *
 * Two link_mgr and a program on each side. The rings are two bounded queues of frames. Each side has
 * one slot for a connection, and gives its id out again as soon as docs/protocol.md allows. The ids
 * have no generation here: the rule about LAST alone has to keep frames apart. Each connection has a
 * tag that travels in every frame. The two link_mgr never look at it; only assertions do.
 *
 * A side's variables and transitions have the names that they have in link_mgr/core/conn*.c. Whatever
 * may happen at one time is an option of a loop: a frame arrives, an owed frame is sent, bytes move
 * between the socket and the link, a program acts. A byte of a stream stands for any data, and a
 * program sends at most BYTES of them. A socket has room for one. Credit is left out, since it only
 * delays data.
 *
 * What is checked, with the mistake that makes spin find it (-DBREAK_...):
 *   - a frame never reaches another connection than the one it was sent for      BREAK_REUSE
 *   - a frame never arrives in a state in which protocol.md forbids it           BREAK_END_TWICE
 *   - a program is told the clean end of data only after all data                BREAK_DRAIN
 *   - data that nobody can read any more make a reset                            BREAK_LOSS
 *   - each connection ends: nothing waits for ever                               BREAK_ANSWER
 *                                                                                BREAK_LENT
 *
 * A connection that may be revoked at any time never waits for ever. So a search chooses first whether
 * permissions are ever withdrawn, and hangs are looked for where they aren't.
 */
#ifndef CONNECTIONS
#define CONNECTIONS 2
#endif
#ifndef BYTES
#define BYTES 1
#endif
#ifndef RING
#define RING 2 /* frames */
#endif

mtype:frame = { REQ, RSP, DATA, DISCONNECT };
mtype:phase = { FREE, REQUESTED, OPEN, ENDING };
mtype:in = { IN_OPEN, IN_DRAINING, IN_DROPPING, IN_DONE };
mtype:out = { OUT_OPEN, OUT_DROPPING, OUT_DONE };

/* Flags of DISCONNECT, and what a side owes. */
#define NO_MORE_DATA 1
#define NO_MORE_WANTED 2
#define RESET 4
#define LAST 8
#define RESPONSE 16

#define other(s) (1 - (s))

typedef Side {
    mtype:phase phase;
    mtype:in in;
    mtype:out out;
    byte tag;
    byte owed;
    byte refusal; /* tag of a request that has to be refused */
    byte queue;   /* bytes that the program's socket did not take */
    bool lent;    /* a message that the socket took is still in link_mgr's memory */
    bool waits;   /* the program waits for the answer to its connect */
    bool ep;      /* link_mgr has its end of the program's socket */
    bool sent_last, got_last, got_end, got_unwanted, dropped, lost, error_end;

    /* The program and its socket. */
    bool program; /* it holds its end */
    byte to_mgr;  /* bytes in the socket */
    byte to_program;
    byte written;
    bool shut_wr, shut_rd, closed, closed_unread;
    bool no_writes; /* link_mgr reads no more from it */
};

Side side[2];
chan ring[2] = [RING] of { mtype:frame, byte, byte }; /* by receiver: type, flags or status, tag */
byte made;
bool revocable;

/* By tag and side. It outlives what a side knows of the connection. */
typedef Account {
    byte written[2];   /* bytes that the side's program wrote */
    byte delivered[2]; /* bytes that came into its socket */
    bool deaf[2];      /* the side's program said that it reads no more, and went on */
    bool reset;        /* a side has sent RESET, or told its program of one */
};
Account account[CONNECTIONS + 1];

/* ---- the program's socket, as link_mgr sees it ---- */

#define me side[s]

/* What a look at the socket finds when no byte is there. */
#define pull_fails (me.to_mgr == 0 && me.closed_unread)
#define pull_ends (me.to_mgr == 0 && !me.closed_unread && (me.shut_wr || me.closed || me.no_writes))
#define deliverable (me.queue > 0 || me.lent)

#define no_silent_loss(from) \
    (account[me.tag].written[from] == account[me.tag].delivered[other(from)] || \
     account[me.tag].reset || account[me.tag].deaf[other(from)])

/* The last side that knew the connection has forgotten it: its account is closed. */
inline close_account() {
    if
    :: side[other(s)].tag != me.tag ->
        assert(no_silent_loss(0));
        assert(no_silent_loss(1));
        account[me.tag].written[0] = 0; account[me.tag].written[1] = 0;
        account[me.tag].delivered[0] = 0; account[me.tag].delivered[1] = 0;
        account[me.tag].deaf[0] = false; account[me.tag].deaf[1] = false;
        account[me.tag].reset = false
    :: else
    fi
}

inline forget_side() {
    close_account();
    me.phase = FREE; me.in = IN_OPEN; me.out = OUT_OPEN;
    me.tag = 0; me.owed = 0; me.queue = 0; me.lent = false; me.waits = false; me.ep = false;
    me.sent_last = false; me.got_last = false; me.got_end = false; me.got_unwanted = false;
    me.dropped = false; me.lost = false; me.error_end = false;
    me.program = false; me.to_mgr = 0; me.to_program = 0; me.written = 0;
    me.shut_wr = false; me.shut_rd = false; me.closed = false; me.closed_unread = false;
    me.no_writes = false;
}

inline begin(new_tag) {
    me.tag = new_tag; me.in = IN_OPEN; me.out = OUT_OPEN;
}

/* ---- conn.c ---- */

inline settle() {
    if
#ifdef BREAK_REUSE
    :: me.phase == ENDING && me.sent_last -> forget_side()
#else
    :: me.phase == ENDING && me.sent_last && me.got_last -> forget_side()
#endif
    :: else
    fi
}

/* bad: the program learns of a reset. */
inline close_program(bad) {
    me.queue = 0; me.lent = false;
    account[me.tag].reset = account[me.tag].reset || (bad && me.ep);
    me.ep = false
}

inline check_end() {
    if
    :: me.phase == OPEN && me.in == IN_DONE && me.out == OUT_DONE ->
        me.phase = ENDING;
        close_program(me.lost);
        me.owed = me.owed | LAST
    :: else
    fi
}

inline reset_conn() {
    close_program(true);
    me.in = IN_DONE; me.out = OUT_DONE;
    if
    :: me.phase == OPEN ->
        me.phase = ENDING;
        me.owed = (me.owed & RESPONSE) | RESET | LAST;
        account[me.tag].reset = true
    :: else
    fi
}

inline finish_in() {
    me.in = IN_DONE;
    if
    :: me.error_end -> close_program(true)
    :: else ->
        assert(!me.ep || me.shut_rd || me.closed || me.dropped ||
               account[me.tag].delivered[s] == account[me.tag].written[other(s)]);
        check_end()
    fi
}

inline broken() {
    me.phase = ENDING; me.out = OUT_DONE; me.owed = me.owed & LAST;
    if
    :: me.ep && (me.in == IN_OPEN || me.in == IN_DRAINING) && deliverable ->
        me.no_writes = true; me.in = IN_DRAINING; me.error_end = true
    :: else -> me.in = IN_DONE; close_program(true)
    fi
}

/* ---- conn_in.c ---- */

inline reader_gone(by_close) {
    me.queue = 0; me.lent = false; me.dropped = true;
    if
    :: by_close && me.out == OUT_DONE && me.phase == OPEN -> reset_conn()
    :: else ->
        if
        :: me.error_end || me.got_end -> finish_in()
        :: else -> me.in = IN_DROPPING; me.owed = me.owed | NO_MORE_WANTED
        fi
    fi
}

inline drained() {
    if
    :: me.in == IN_DRAINING && !deliverable -> finish_in()
    :: else
    fi
}

inline deliver() {
    if
    :: me.closed -> reader_gone(true)
    :: !me.closed && me.shut_rd -> reader_gone(false)
    :: else ->
        me.queue--; me.to_program++;
        account[me.tag].delivered[s] = account[me.tag].delivered[s] + 1;
        if
        :: me.lent = true
        :: true
        fi;
        drained()
    fi
}

/* The program has taken the lent message, and link_mgr sees it. */
inline take_back() {
    me.lent = false;
    drained()
}

inline on_data() {
    assert(me.phase == OPEN || me.phase == ENDING);
    assert(!me.got_end && !me.got_last);
    if
    :: me.in != IN_OPEN || me.phase != OPEN ->
        me.dropped = true;
        if
#ifdef BREAK_LOSS
        :: false
#else
        :: me.phase == OPEN && !me.ep -> reset_conn()
#endif
        :: else
        fi
    :: else ->
        if
        :: !deliverable && me.closed -> reader_gone(true)
        :: !deliverable && !me.closed && me.shut_rd -> reader_gone(false)
        :: else -> me.queue++
        fi
    fi
}

/* ---- conn_out.c ---- */

inline program_closed() {
    if
    :: me.dropped || me.queue > 0 -> reset_conn()
    :: else ->
        if
        :: me.in == IN_DONE
#ifndef BREAK_LENT
        :: me.in == IN_DRAINING -> finish_in()
#endif
        :: else ->
#ifdef BREAK_END_TWICE
            me.owed = me.owed | NO_MORE_DATA;
#endif
            me.owed = me.owed | NO_MORE_WANTED; me.in = IN_DROPPING;
            close_program(me.lost)
        fi
    fi
}

inline program_ended() {
    me.out = OUT_DONE; me.owed = me.owed | NO_MORE_DATA;
    if
    :: me.closed -> program_closed()
    :: else
    fi;
    check_end()
}

inline lose_output() {
    me.lost = me.lost || me.to_mgr > 0;
    me.to_mgr = 0
}

inline peer_closed() {
    me.in = IN_DONE; me.no_writes = true;
    lose_output();
    if
    :: pull_fails -> reset_conn()
    :: else -> me.out = OUT_DONE; me.owed = me.owed | NO_MORE_DATA; check_end()
    fi
}

/* ---- frames ---- */

inline on_disconnect(flags) {
    assert(me.phase == OPEN || me.phase == ENDING);
    assert(!me.got_last);
    assert(!(flags & NO_MORE_DATA) || !me.got_end);
    assert(!(flags & LAST) || (flags & RESET) || me.phase != OPEN ||
           ((me.got_end || (flags & NO_MORE_DATA)) && me.out == OUT_DONE &&
            !(me.owed & NO_MORE_DATA)));
    me.got_end = me.got_end || (flags & NO_MORE_DATA);
    me.got_last = me.got_last || (flags & LAST);
    me.got_unwanted = me.got_unwanted || (flags & NO_MORE_WANTED);
    if
    :: flags & RESET ->
        if
        :: me.phase == OPEN -> broken()
        :: else
        fi;
        if
#ifdef BREAK_ANSWER
        :: false
#else
        :: !me.sent_last -> me.owed = me.owed | LAST
#endif
        :: else
        fi
    :: !(flags & RESET) && me.phase == OPEN ->
        if
        :: (flags & NO_MORE_DATA) && (flags & NO_MORE_WANTED) && me.in == IN_OPEN &&
           me.out == OUT_OPEN && me.ep && !deliverable -> peer_closed()
        :: else ->
            if
            :: (flags & NO_MORE_WANTED) && me.out == OUT_OPEN && me.ep ->
                me.out = OUT_DROPPING; me.no_writes = true
            :: else
            fi;
            if
            :: flags & NO_MORE_DATA ->
                if
#ifndef BREAK_DRAIN
                :: me.in == IN_OPEN && deliverable -> me.in = IN_DRAINING
#endif
                :: else -> finish_in()
                fi
            :: else
            fi
        fi
    :: else
    fi
}

inline on_request(tag) {
    if
    :: me.phase == FREE ->
        begin(tag);
        me.phase = OPEN; me.ep = true; me.program = true;
        me.owed = me.owed | RESPONSE
    :: me.refusal == 0 -> me.refusal = tag /* nothing listens; or the slot is in use */
    fi
}

inline on_response(status) {
    assert(me.phase == REQUESTED);
    if
    :: status != 0 -> forget_side()
    :: status == 0 && me.waits ->
        me.waits = false; me.phase = OPEN; me.ep = true; me.program = true
    :: else -> me.phase = OPEN; reset_conn() /* the program has given up meanwhile */
    fi
}

/* The frames of a connection go to the receiver's id. Here that is its only slot. */
inline receive() {
    ring[s] ? type, flags, tag;
    assert(type == REQ || tag == me.tag);
    if
    :: type == REQ -> on_request(tag)
    :: type == RSP -> on_response(flags); settle()
    :: type == DATA -> on_data(); settle()
    :: type == DISCONNECT -> on_disconnect(flags); settle()
    fi;
    type = REQ; flags = 0; tag = 0
}

inline send_owed() {
    if
    :: me.owed & RESPONSE -> ring[other(s)] ! RSP, 0, me.tag; me.owed = me.owed & ~RESPONSE
    :: else ->
        ring[other(s)] ! DISCONNECT, me.owed, me.tag;
        me.sent_last = me.sent_last || (me.owed & LAST);
        me.owed = 0;
        settle()
    fi
}

/* What conn_fill_data does when the socket has something. */
#define has_output (me.phase == OPEN && me.ep && \
                    (me.to_mgr > 0 || pull_fails || pull_ends) && \
                    (me.out != OUT_DONE || pull_fails || me.closed))

inline look_at_output() {
    if
    :: me.out == OUT_OPEN && me.to_mgr > 0 -> ring[other(s)] ! DATA, 0, me.tag; me.to_mgr--
    :: me.out == OUT_DROPPING ->
        lose_output();
        if
        :: pull_fails -> reset_conn()
        :: else -> program_ended()
        fi
    :: me.out == OUT_OPEN && pull_fails -> reset_conn()
    :: me.out == OUT_OPEN && pull_ends ->
        program_ended()
    :: me.out == OUT_DONE && pull_fails -> reset_conn()
    :: me.out == OUT_DONE && !pull_fails && me.closed -> program_closed()
    fi;
    settle()
}

proctype Link_mgr(bit s) {
    mtype:frame type = REQ;
    byte flags, tag;
end:
    do
    :: atomic { nempty(ring[s]) -> receive() }
    :: atomic { me.owed != 0 && nfull(ring[other(s)]) -> send_owed() }
    :: atomic { me.refusal != 0 && nfull(ring[other(s)]) ->
                ring[other(s)] ! RSP, 1, me.refusal; me.refusal = 0 }
    :: atomic { has_output && !(me.owed & RESPONSE) && nfull(ring[other(s)]) -> look_at_output() }
    :: atomic { me.ep && (me.in == IN_OPEN || me.in == IN_DRAINING) && me.queue > 0 && !me.lent &&
                (me.to_program == 0 || me.closed || me.shut_rd) -> deliver(); settle() }
    :: atomic { me.ep && (me.in == IN_OPEN || me.in == IN_DRAINING) && me.lent &&
                me.to_program == 0 && !me.closed -> take_back(); settle() }
    /* The permission is withdrawn. */
    :: atomic { revocable && me.phase == OPEN -> reset_conn(); settle() }
    /* A program connects. */
    :: atomic { me.phase == FREE && made < CONNECTIONS && nfull(ring[other(s)]) ->
                made++; begin(made); me.phase = REQUESTED; me.waits = true;
                ring[other(s)] ! REQ, 0, me.tag }
    od
}

proctype Program(bit s) {
end:
    do
    :: atomic { me.phase == REQUESTED && me.waits -> me.waits = false } /* its time is up */
    :: atomic { me.program && me.ep && !me.closed && !me.shut_wr && !me.no_writes &&
                me.written < BYTES && me.to_mgr == 0 ->
                me.written++; me.to_mgr++;
                account[me.tag].written[s] = account[me.tag].written[s] + 1 }
    :: atomic { me.program && !me.closed && me.to_program > 0 -> me.to_program-- }
    :: atomic { me.program && me.ep && !me.closed && !me.shut_wr -> me.shut_wr = true }
    :: atomic { me.program && me.ep && !me.closed && !me.shut_rd ->
                me.shut_rd = true; account[me.tag].deaf[s] = true }
    :: atomic { me.program && me.ep && !me.closed ->
                me.closed = true; me.closed_unread = me.to_program > 0; me.to_program = 0 }
    od
}

/* Nothing more can happen: is anything left? */
proctype Monitor() {
    timeout ->
        assert(side[0].phase == FREE && side[1].phase == FREE);
        assert(empty(ring[0]) && empty(ring[1]) && made == CONNECTIONS)
}

init {
    atomic {
        side[0].phase = FREE; side[1].phase = FREE;
        if
        :: revocable = true
        :: true
        fi;
        run Link_mgr(0); run Link_mgr(1); run Program(0); run Program(1); run Monitor()
    }
}
