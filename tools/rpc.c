/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc.c - idc rpc: any call of link_mgr's RPC interface, from a shell. It is a client that opens a
 * connection for each call, so the handles that it makes are to be kept (keep_ms).
 *
 * Standard output is the answer as one JSON document, also if that is a fault, whose text is on
 * standard error too. With --get it is a member of the answer, or nothing.
 *
 * A stream takes as many bytes of an idc.send as it has room for. A script has no use for the rest
 * of its data. So the command sends the rest too, call by call, as long as each call takes
 * something. A message is taken as a whole, by the first call.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "libidc/internal.h"
#include "tools/json_value.h"
#include "tools/measure/ask.h"
#include "tools/rpc_argument.h"
#include "tools/rpc_http.h"

#define DOCUMENT_MAX (64u * 1024 * 1024)
#define PART_MAX (256u * 1024) /* of the rest of an idc.send: about what a stream has room for */

struct rpc_outcome {
    xmlrpc_value *result; /* NULL: a fault */
    int code;
    const char *text;
    size_t accepted; /* by the calls of an idc.send before the one that failed */
};

static void rpc_outcome_end(struct rpc_outcome *outcome)
{
    if (outcome->result != NULL)
        xmlrpc_DECREF(outcome->result);
    free((void *)(uintptr_t)outcome->text);
    *outcome = (struct rpc_outcome){.accepted = outcome->accepted};
}

/* ---- what is printed ---- */

static int rpc_print_fault(const struct command *command, const char *method,
                           const struct rpc_outcome *outcome, bool json)
{
    char number[16];
    const char *text = outcome->text != NULL ? outcome->text : "";
    const char *name = outcome->code > 0 ? strerrorname_np(outcome->code) : NULL;
    size_t len = strlen(method);
    bool says_method = strncmp(text, method, len) == 0;
    snprintf(number, sizeof(number), "%d", outcome->code);
    if (json) {
        printf("{\"faultCode\": %d, \"faultString\": ", outcome->code);
        json_string(stdout, text);
        if (outcome->accepted > 0)
            printf(", \"accepted\": %zu", outcome->accepted);
        printf("}\n");
    }
    fflush(stdout); /* where both go to a terminal, the line is the last */
    return failure(command, "%s%s%s (%s)", says_method ? "" : method, says_method ? "" : ": ", text,
                   name != NULL ? name : number);
}

/* As a shell wants it: data and texts as they are. */
static void rpc_print_plain(xmlrpc_env *env, xmlrpc_value *value)
{
    const unsigned char *bytes = NULL;
    const char *text = NULL;
    size_t len = 0;
    switch (xmlrpc_value_type(value)) {
    case XMLRPC_TYPE_BASE64:
        xmlrpc_read_base64(env, value, &len, &bytes);
        fwrite(bytes, 1, len, stdout);
        free((void *)(uintptr_t)bytes);
        break;
    case XMLRPC_TYPE_STRING:
        xmlrpc_read_string(env, value, &text);
        printf("%s\n", text);
        free((void *)(uintptr_t)text);
        break;
    default:
        json_value(stdout, value);
        putchar('\n');
    }
}

static int rpc_print_member(const struct command *command, xmlrpc_value *result, const char *name)
{
    xmlrpc_value *value = NULL;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, result, name, &value);
    int status = 0;
    if (env.fault_occurred || value == NULL)
        status = failure(command, "the answer has no member \"%s\"", name);
    else
        rpc_print_plain(&env, value);
    if (value != NULL)
        xmlrpc_DECREF(value);
    xmlrpc_env_clean(&env);
    return status;
}

static int rpc_print(const struct command *command, const char *method,
                     const struct rpc_outcome *outcome, const char *member)
{
    if (outcome->result == NULL)
        return rpc_print_fault(command, method, outcome, member == NULL);
    if (member != NULL)
        return rpc_print_member(command, outcome->result, member);
    json_value(stdout, outcome->result);
    putchar('\n');
    return 0;
}

/* ---- calls ---- */

static int rpc_decode(const struct command *command, const char *body, size_t len,
                      struct rpc_outcome *outcome)
{
    xmlrpc_env env;
    int status = 0;
    xmlrpc_env_init(&env);
    xmlrpc_parse_response2(&env, body, len, &outcome->result, &outcome->code, &outcome->text);
    if (env.fault_occurred)
        status = failure(command, "link_mgr's answer is malformed: %s", env.fault_string);
    else if (outcome->result == NULL && outcome->text == NULL)
        status = failure(command, "link_mgr's answer is empty");
    xmlrpc_env_clean(&env);
    return status;
}

/* One call. 0: outcome has its answer; else the exit status, and a line was printed. */
static int rpc_exchange(const struct command *command, const struct rpc_argument *argument,
                        struct rpc_outcome *outcome)
{
    size_t len = 0;
    xmlrpc_mem_block *document = rpc_argument_document(command, argument);
    if (document == NULL)
        return EXIT_FAILED;
    char *answer =
        rpc_http_post(libidc_socket_path(command_socket), xmlrpc_mem_block_contents(document),
                      xmlrpc_mem_block_size(document), &len);
    xmlrpc_mem_block_free(document);
    if (answer == NULL)
        return failure(command, "%s", idc_last_error());
    int status = rpc_decode(command, answer, len, outcome);
    free(answer);
    return status;
}

/* ---- the rest of what was to be sent ---- */

struct rpc_sending {
    const unsigned char *bytes;
    size_t len;
    xmlrpc_bool end;
};

static void rpc_sending_begin(struct rpc_sending *sending, xmlrpc_value *members)
{
    xmlrpc_value *data = NULL, *end = NULL;
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_struct_find_value(&env, members, "data", &data);
    xmlrpc_struct_find_value(&env, members, "end", &end);
    if (data != NULL) {
        xmlrpc_read_base64(&env, data, &sending->len, &sending->bytes);
        xmlrpc_DECREF(data);
    }
    if (end != NULL) {
        xmlrpc_read_bool(&env, end, &sending->end);
        xmlrpc_DECREF(end);
    }
    xmlrpc_env_clean(&env);
}

/* The answer counts what all calls have taken. */
static void rpc_sending_sum(const struct rpc_outcome *outcome)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_value *sum = xmlrpc_i8_new(&env, (xmlrpc_int64)outcome->accepted);
    xmlrpc_struct_set_value(&env, outcome->result, "accepted", sum);
    xmlrpc_DECREF(sum);
    xmlrpc_env_clean(&env);
}

static int rpc_send_rest(const struct command *command, struct rpc_argument *argument,
                         struct rpc_outcome *outcome)
{
    struct rpc_sending sending = {.bytes = NULL};
    int status = 0;
    rpc_sending_begin(&sending, argument->members);
    while (status == 0 && outcome->result != NULL) {
        int64_t taken = ask_int(outcome->result, "accepted", 0);
        outcome->accepted += taken > 0 ? (size_t)taken : 0;
        if (taken <= 0 || outcome->accepted >= sending.len)
            break;
        rpc_argument_part(argument, sending.bytes, sending.len, outcome->accepted, PART_MAX,
                          sending.end);
        rpc_outcome_end(outcome);
        status = rpc_exchange(command, argument, outcome);
    }
    if (status == 0 && outcome->result != NULL)
        rpc_sending_sum(outcome);
    free((void *)(uintptr_t)sending.bytes);
    return status;
}

/* ---- the command ---- */

static int rpc_call(const struct command *command, int count, char **words, const char *member)
{
    struct rpc_argument argument;
    struct rpc_outcome outcome = {.result = NULL};
    xmlrpc_limit_set(XMLRPC_XML_SIZE_LIMIT_ID, DOCUMENT_MAX);
    int status = rpc_argument_read(command, count, words, &argument);
    if (status != 0)
        return status;
    status = rpc_exchange(command, &argument, &outcome);
    if (status == 0 && strcmp(argument.method, "idc.send") == 0)
        status = rpc_send_rest(command, &argument, &outcome);
    if (status == 0)
        status = rpc_print(command, argument.method, &outcome, member);
    rpc_outcome_end(&outcome);
    rpc_argument_end(&argument);
    return status;
}

int run_rpc(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"get", required_argument, NULL, 'g'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *member = NULL;
    int option, status;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'g')
            member = optarg;
        else if (!common_option(command, option, argv, &status))
            return status;
    }
    if (optind == argc)
        return usage_error(command, "needs a METHOD");
    return rpc_call(command, argc - optind, argv + optind, member);
}
