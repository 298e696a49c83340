/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.c - the memory that the RPC server holds for its clients: documents on their way in and
 * out, and data that calls keep. It is counted here, and everything is counted before it is held.
 *
 * A call over HTTP counts RPC_ANSWER_SHORT before it does anything, so that its answer can be made
 * whatever others do meanwhile. A call that gives data away (idc.recv) counts the whole answer
 * before it takes the data. Just before the answer itself is counted, either count is given back.
 */
#include <stdlib.h>

#include "link_mgr/rpc/rpc_private.h"

bool rpc_memory_take(struct rpc_session *session, size_t bytes)
{
    struct rpc_server *server = session->server;
    size_t limit = bytes > RPC_SMALL ? RPC_MEMORY_MAX - RPC_MEMORY_RESERVE : RPC_MEMORY_MAX;
    if (server->memory > limit || bytes > limit - server->memory)
        return false;
    if (!quota_take(server->users, session->caller.uid, USER_RPC_MEMORY, bytes))
        return false;
    server->memory += bytes;
    return true;
}

static void memory_give(struct rpc_server *server, uint32_t uid, size_t bytes)
{
    server->memory -= bytes;
    if (bytes > 0)
        quota_give(server->users, uid, USER_RPC_MEMORY, bytes);
}

void rpc_memory_give(struct rpc_session *session, size_t bytes)
{
    memory_give(session->server, session->caller.uid, bytes);
}

struct rpc_answer *rpc_answer_new(struct rpc_session *session, xmlrpc_mem_block *block)
{
    size_t len = xmlrpc_mem_block_size(block);
    struct rpc_answer *answer = malloc(sizeof(*answer));
    if (answer != NULL && rpc_memory_take(session, len)) {
        *answer = (struct rpc_answer){
            .server = session->server, .uid = session->caller.uid, .block = block, .counted = len};
        return answer;
    }
    xmlrpc_mem_block_free(block);
    free(answer);
    return NULL;
}

void rpc_answer_uncount(struct rpc_answer *answer)
{
    memory_give(answer->server, answer->uid, answer->counted);
    answer->counted = 0;
}

void rpc_answer_free(struct rpc_answer *answer)
{
    rpc_answer_uncount(answer);
    xmlrpc_mem_block_free(answer->block);
    free(answer);
}
