/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzer: the decoders of frames. The input is a row of headers, and, if it is short enough, a
 * payload too. What is accepted must come out of the encoder as it went in.
 */
#include <stdlib.h>
#include <string.h>

#include "link_mgr/core/wire.h"
#include "tests/fuzz/fuzz_count.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_frame(const uint8_t *data)
{
    uint8_t again[WIRE_HEADER];
    struct wire_frame frame;
    fuzz_count("headers of frames decoded");
    if (wire_get_frame(data, 65536, &frame))
        return;
    wire_put_frame(again, &frame);
    if (frame.type < WIRE_TYPE_SKIPPED && memcmp(data, again, sizeof(again)) != 0)
        abort();
}

static void try_payloads(const uint8_t *data, uint32_t size)
{
    uint8_t again[WIRE_CONNECT_REQ + IDC_SERVICE_MAX];
    struct wire_hello hello;
    struct wire_connect_req req;
    struct wire_connect_rsp rsp;
    wire_get_hello(data, size, &hello);
    if (!wire_get_connect_req(data, size, &req) &&
        (wire_put_connect_req(again, &req) != size || memcmp(data, again, 18) != 0 ||
         memcmp(data + WIRE_CONNECT_REQ, again + WIRE_CONNECT_REQ, size - WIRE_CONNECT_REQ) != 0))
        abort();
    for (uint64_t features = 0; features <= WIRE_FEATURES; features++)
        if (!wire_get_connect_rsp(data, size, features, &rsp) &&
            (wire_put_connect_rsp(again, features, &rsp) != size || memcmp(data, again, size) != 0))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + WIRE_HEADER <= size; at += WIRE_HEADER)
        try_frame(data + at);
    if (size <= WIRE_CONTROL_MAX)
        try_payloads(data, (uint32_t)size);
    return 0;
}
