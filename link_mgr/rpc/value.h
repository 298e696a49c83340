/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * value.h - the members of a call's struct, read and checked; and structs for answers.
 *
 * Readers return a fallback or a value in range. The first member that does not fit answers the
 * call with EINVAL and its name; from then on rpc_params_ok is false, and the handler returns.
 */
#ifndef IDC_RPC_VALUE_H
#define IDC_RPC_VALUE_H

#include "common/compact.h"
#include "common/naming.h"
#include "link_mgr/rpc/call.h"

#define RPC_REQUIRED INT64_MIN /* as a fallback: the member may not be left out */
#define RPC_TIMEOUT_MAX INT32_MAX
#define RPC_MEMBERS_MAX 16 /* of a compact call */

struct rpc_method;

struct rpc_params {
    struct rpc_call *call;
    const struct rpc_method *method;
    xmlrpc_value *members;                /* NULL: the call had no parameter, or is compact */
    const struct compact_member *compact; /* those of a compact call */
    int compact_count;
    bool failed;
};

bool rpc_params_open(struct rpc_params *params, struct rpc_call *call,
                     const struct rpc_method *method, xmlrpc_value *array);
/* Opens the parameters of a compact call. reader stands at the first member; members have to live
 * as long as params. */
bool rpc_params_open_compact(struct rpc_params *params, struct rpc_call *call,
                             const struct rpc_method *method, struct compact_reader *reader,
                             struct compact_member members[RPC_MEMBERS_MAX]);
void rpc_params_close(struct rpc_params *params);
bool rpc_params_ok(const struct rpc_params *params);
void rpc_params_refuse(struct rpc_params *params, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Descriptors came that belong nowhere. The call is refused, and then the RPC connection ends. */
void rpc_params_refuse_descriptors(struct rpc_params *params);

bool rpc_params_has(struct rpc_params *params, const char *name);
int64_t rpc_params_int(struct rpc_params *params, const char *name, int64_t min, int64_t max,
                       int64_t fallback);
/* Milliseconds; -1: no limit. min is 0 if a client may ask the call not to wait, else 1. */
int64_t rpc_params_timeout(struct rpc_params *params, int64_t min, int64_t fallback);
/* Milliseconds that a peer may hang: RPC_PEER_TIMEOUT_MIN or more; 0: for ever. */
uint32_t rpc_params_peer_timeout(struct rpc_params *params, int64_t fallback);
bool rpc_params_bool(struct rpc_params *params, const char *name, bool fallback);
enum idc_type rpc_params_type(struct rpc_params *params);
/* out is "" when the member is left out. */
void rpc_params_service(struct rpc_params *params, const char *name, char out[IDC_SERVICE_MAX + 1]);
/* Which domain: by the member domid, or else by domain. One of the two is needed. */
void rpc_params_domain(struct rpc_params *params, struct naming *naming);
/* A reference for the caller, NULL when it does not fit. */
xmlrpc_value *rpc_params_bytes(struct rpc_params *params, const char *name);

/* A struct under construction. One that is begun for a call is its answer, in the form in which the
 * call came, and ends with rpc_struct_reply. One that is begun without a call is a part of another
 * struct. It ends with rpc_struct_end, which returns NULL when memory was short at any point. */
struct rpc_struct {
    struct rpc_call *call;
    struct rpc_xml *xml;           /* whose memory it is; NULL: that of the call in dispatch */
    bool failed;                   /* memory was short; what there is, is freed with the call */
    xmlrpc_value *value;           /* NULL if it is for a compact call */
    struct compact_writer compact; /* ... whose answer is made here */
};

void rpc_struct_begin(struct rpc_struct *s, struct rpc_call *call);
void rpc_struct_int(struct rpc_struct *s, const char *name, int64_t value);
void rpc_struct_bool(struct rpc_struct *s, const char *name, bool value);
void rpc_struct_text(struct rpc_struct *s, const char *name, const char *value);
void rpc_struct_bytes(struct rpc_struct *s, const char *name, const void *bytes, size_t len);
/* takes it over; may be NULL */
void rpc_struct_value(struct rpc_struct *s, const char *name, xmlrpc_value *value);
xmlrpc_value *rpc_struct_end(struct rpc_struct *s);
/* As rpc_reply. */
bool rpc_struct_reply(struct rpc_struct *s);
void rpc_reply_empty(struct rpc_call *call);

const char *rpc_type_name(enum idc_type type);

#endif
