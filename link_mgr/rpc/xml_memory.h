/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xml_memory.h - the memory of xmlrpc-c, so that a lack of it costs a call and nothing else.
 *
 * Theory of operation
 *
 * xmlrpc-c does not look whether all of its allocations succeed, and follows a null pointer. So it
 * must never see one that failed. Its objects are linked into link_mgr with other names for malloc
 * and its kin (the Makefile does that), which are here. When memory is short they do not return:
 * control goes back to where link_mgr has called the library, by longjmp. What the library was
 * about is left as it is, and is never touched again.
 *
 * So everything that the library allocates for a call belongs to the call's struct rpc_xml, and is
 * freed with it. After a lack (failed) the library is not called with any of that: nothing is
 * released one by one, and no answer is made of it. The call gets a fault, which is made in a
 * struct rpc_xml of its own, or its connection ends without an answer (call.c).
 *
 * Each place that calls into the library has this form:
 *
 *      struct rpc_xml_guard guard;
 *      if (RPC_XML_TRY(&guard, xml))
 *          ... calls of xmlrpc_*, and nothing that would have to be undone ...
 *      if (!rpc_xml_leave(&guard))
 *          ... memory was short, now or before ...
 *
 * The library calls link_mgr too: the registry calls methods. There a guard is within a guard. So
 * only frames of the library are ever skipped. The method goes on to its end, and then the
 * innermost guard around the registry is gone to (rpc_xml_escape). A few functions of the library
 * only look at a value and allocate nothing: its type, its size. They need no guard, and are not
 * called once memory was short.
 *
 * Outside of all guards, as at the start, the functions return NULL as malloc does.
 */
#ifndef IDC_RPC_XML_MEMORY_H
#define IDC_RPC_XML_MEMORY_H

#include <setjmp.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <xmlrpc-c/base.h>

struct rpc_xml_block;

/* All zeros is one that has nothing. It stays where it is. */
struct rpc_xml {
    LIST_HEAD(, rpc_xml_block) blocks;
    bool failed;
};

struct rpc_xml_guard {
    jmp_buf jump;
    struct rpc_xml *xml;
    struct rpc_xml_guard *outer;
};

#define RPC_XML_TRY(guard, xml) (rpc_xml_enter(guard, xml) && setjmp((guard)->jump) == 0)
/* xml: NULL is that of the guard around. False: memory was short before. */
bool rpc_xml_enter(struct rpc_xml_guard *guard, struct rpc_xml *xml);
/* Always to be called, also after false. True: memory was never short. */
bool rpc_xml_leave(struct rpc_xml_guard *guard);
/* At the end of what the library has called: does not return if memory was short. */
void rpc_xml_escape(void);

/* xmlrpc_DECREF, as long as memory was not short. value may be NULL. */
void rpc_xml_release(const struct rpc_xml *xml, xmlrpc_value *value);
/* The block lives on, until xmlrpc_mem_block_free. */
void rpc_xml_keep(xmlrpc_mem_block *block);
/* Frees everything that was not kept. */
void rpc_xml_end(struct rpc_xml *xml);
/* For what the library says is to be freed. */
void rpc_xml_free(const void *at);

#endif
