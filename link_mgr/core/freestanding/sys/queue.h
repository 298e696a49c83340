/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * queue.h - the lists of BSD's <sys/queue.h>, as far as the core uses them, in the same layout.
 *
 * LIST is doubly linked; an element is taken out without its head. TAILQ also has an end, at which
 * elements are put in. In both, an element points back to the pointer that points to it, so that
 * the first one is no special case.
 */
#ifndef IDC_FREESTANDING_QUEUE_H
#define IDC_FREESTANDING_QUEUE_H

#include <needs.h>

/* Linux has another LIST_HEAD, which the core does not use. */
#undef LIST_HEAD
#define LIST_HEAD(name, type)  \
    struct name {              \
        struct type *lh_first; \
    }
#define LIST_ENTRY(type)                 \
    struct {                             \
        struct type *le_next, **le_prev; \
    }
#define LIST_EMPTY(head) ((head)->lh_first == NULL)
#define LIST_FIRST(head) ((head)->lh_first)
#define LIST_NEXT(element, field) ((element)->field.le_next)
#define LIST_INIT(head) ((void)((head)->lh_first = NULL))
#define LIST_FOREACH(var, head, field) \
    for ((var) = (head)->lh_first; (var); (var) = (var)->field.le_next)
#define LIST_INSERT_HEAD(head, new, field)                           \
    do {                                                             \
        (new)->field.le_next = (head)->lh_first;                     \
        (new)->field.le_prev = &(head)->lh_first;                    \
        if ((head)->lh_first)                                        \
            (head)->lh_first->field.le_prev = &(new)->field.le_next; \
        (head)->lh_first = (new);                                    \
    } while (0)
#define LIST_REMOVE(old, field)                                         \
    do {                                                                \
        *(old)->field.le_prev = (old)->field.le_next;                   \
        if ((old)->field.le_next)                                       \
            (old)->field.le_next->field.le_prev = (old)->field.le_prev; \
    } while (0)

#define TAILQ_HEAD(name, type)              \
    struct name {                           \
        struct type *tqh_first, **tqh_last; \
    }
#define TAILQ_ENTRY(type)                  \
    struct {                               \
        struct type *tqe_next, **tqe_prev; \
    }
#define TAILQ_INIT(head)                       \
    do {                                       \
        (head)->tqh_first = NULL;              \
        (head)->tqh_last = &(head)->tqh_first; \
    } while (0)
#define TAILQ_FIRST(head) ((head)->tqh_first)
#define TAILQ_NEXT(element, field) ((element)->field.tqe_next)
#define TAILQ_EMPTY(head) (!(head)->tqh_first)
#define TAILQ_FOREACH(var, head, field) \
    for ((var) = TAILQ_FIRST(head); (var); (var) = TAILQ_NEXT(var, field))
#define TAILQ_INSERT_TAIL(head, new, field)        \
    do {                                           \
        (new)->field.tqe_next = NULL;              \
        (new)->field.tqe_prev = (head)->tqh_last;  \
        *(head)->tqh_last = (new);                 \
        (head)->tqh_last = &(new)->field.tqe_next; \
    } while (0)
#define TAILQ_REMOVE(head, old, field)                                     \
    do {                                                                   \
        if ((old)->field.tqe_next)                                         \
            (old)->field.tqe_next->field.tqe_prev = (old)->field.tqe_prev; \
        else                                                               \
            (head)->tqh_last = (old)->field.tqe_prev;                      \
        *(old)->field.tqe_prev = (old)->field.tqe_next;                    \
    } while (0)
/* Puts all of `from` behind what is in `to`. */
#define TAILQ_CONCAT(to, from, field)                           \
    do {                                                        \
        if (!TAILQ_EMPTY(from)) {                               \
            *(to)->tqh_last = (from)->tqh_first;                \
            (from)->tqh_first->field.tqe_prev = (to)->tqh_last; \
            (to)->tqh_last = (from)->tqh_last;                  \
            TAILQ_INIT(from);                                   \
        }                                                       \
    } while (0)

#endif
