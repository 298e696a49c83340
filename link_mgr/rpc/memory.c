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

bool rpc_memory_take(struct rpc_server *server, size_t bytes)
{
    size_t limit = bytes > RPC_SMALL ? RPC_MEMORY_MAX - RPC_MEMORY_RESERVE : RPC_MEMORY_MAX;
    if (server->memory > limit || bytes > limit - server->memory)
        return false;
    server->memory += bytes;
    return true;
}

void rpc_memory_give(struct rpc_server *server, size_t bytes)
{
    server->memory -= bytes;
}

struct rpc_answer *rpc_answer_new(struct rpc_server *server, xmlrpc_mem_block *block)
{
    size_t len = xmlrpc_mem_block_size(block);
    struct rpc_answer *answer = malloc(sizeof(*answer));
    if (answer != NULL && rpc_memory_take(server, len)) {
        *answer = (struct rpc_answer){server, block, len, NULL};
        return answer;
    }
    xmlrpc_mem_block_free(block);
    free(answer);
    return NULL;
}

void rpc_answer_uncount(struct rpc_answer *answer)
{
    rpc_memory_give(answer->server, answer->counted);
    answer->counted = 0;
}

void rpc_answer_free(struct rpc_answer *answer)
{
    rpc_answer_uncount(answer);
    xmlrpc_mem_block_free(answer->block);
    free(answer);
}
