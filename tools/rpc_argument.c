/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rpc_argument.c - theory of operation
 *
 * A member's name says of which kind its value is (common/rpc_member.h). So a script writes no
 * types. What is in range, and which method takes which member, is link_mgr's to say, which answers
 * with a fault. Here is refused only what no document can hold.
 */
#include "tools/rpc_argument.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rpc_member.h"

#define KEEP_USUAL "60000" /* milliseconds; the connection of idc rpc ends with the call */

/* ---- data ---- */

/* All that there is, malloced. NULL: *len is 0 if it is too long, and else errno says why. */
static char *bytes_read(int fd, size_t *len)
{
    char *bytes = malloc(IDC_MESSAGE_MAX + 1);
    size_t have = 0;
    ssize_t got = -1;
    while (bytes != NULL && have <= IDC_MESSAGE_MAX) {
        got = read(fd, bytes + have, IDC_MESSAGE_MAX + 1 - have);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        have += got > 0 ? (size_t)got : 0;
    }
    *len = have;
    if (got == 0)
        return bytes;
    int error = errno;
    free(bytes);
    errno = error;
    *len = have > IDC_MESSAGE_MAX ? 0 : 1;
    return NULL;
}

/* NULL: a line was printed. */
static char *bytes_of_file(const struct command *command, const char *path, size_t *len)
{
    bool is_input = strcmp(path, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = fd >= 0 ? bytes_read(fd, len) : NULL;
    int error = errno;
    if (fd >= 0 && !is_input)
        close(fd);
    if (bytes == NULL && fd >= 0 && *len == 0)
        failure(command, "%s has more than %d bytes", is_input ? "standard input" : path,
                IDC_MESSAGE_MAX);
    else if (bytes == NULL)
        failure(command, "%s: %s", is_input ? "standard input" : path, strerror(error));
    return bytes;
}

/* ---- values ---- */

static xmlrpc_value *value_of_number(xmlrpc_env *env, const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || errno != 0)
        return NULL;
    return number == (int)number ? xmlrpc_int_new(env, (int)number)
                                 : xmlrpc_i8_new(env, (xmlrpc_int64)number);
}

static xmlrpc_value *value_of_boolean(xmlrpc_env *env, const char *text)
{
    bool is_true = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!is_true && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return NULL;
    return xmlrpc_bool_new(env, is_true);
}

/* NULL with *status: a line was printed. NULL without: no value of that kind. */
static xmlrpc_value *value_of_bytes(const struct command *command, xmlrpc_env *env,
                                    const char *text, int *status)
{
    size_t len = strlen(text);
    if (text[0] != '@')
        return xmlrpc_base64_new(env, len, (const unsigned char *)text);
    char *bytes = bytes_of_file(command, text + 1, &len);
    if (bytes == NULL) {
        *status = EXIT_FAILED;
        return NULL;
    }
    xmlrpc_value *value = xmlrpc_base64_new(env, len, (const unsigned char *)bytes);
    free(bytes);
    return value;
}

static xmlrpc_value *value_new(const struct command *command, xmlrpc_env *env,
                               const struct rpc_member *member, const char *text, int *status)
{
    xmlrpc_value *value = NULL;
    const char *takes = "";
    switch (member->kind) {
    case RPC_MEMBER_NUMBER:
        value = value_of_number(env, text);
        takes = "takes a whole number";
        break;
    case RPC_MEMBER_BOOLEAN:
        value = value_of_boolean(env, text);
        takes = "takes true or false";
        break;
    case RPC_MEMBER_TEXT:
        value = xmlrpc_string_new(env, text);
        takes = "takes a text in UTF-8";
        break;
    case RPC_MEMBER_BYTES:
        value = value_of_bytes(command, env, text, status);
        takes = "takes a text, or @FILE";
        break;
    case RPC_MEMBER_DESCRIPTOR:
        *status =
            usage_error(command, "%s is about descriptors, which only libidc passes", member->name);
        return NULL;
    }
    if ((value == NULL || env->fault_occurred) && *status == 0)
        *status = usage_error(command, "%s %s, not \"%s\"", member->name, takes, text);
    return *status == 0 ? value : NULL;
}

/* ---- the call ---- */

static int member_add(const struct command *command, xmlrpc_env *env, xmlrpc_value *members,
                      const char *argument)
{
    int status = 0;
    size_t len = strcspn(argument, "=");
    const struct rpc_member *member = rpc_member_find(argument, len);
    if (argument[len] == '\0')
        return usage_error(command, "\"%s\" is not MEMBER=VALUE", argument);
    if (member == NULL)
        return usage_error(command, "no method takes a member \"%.*s\"", (int)len, argument);
    if (xmlrpc_struct_has_key(env, members, member->name))
        return usage_error(command, "%s is given twice", member->name);
    xmlrpc_value *value = value_new(command, env, member, argument + len + 1, &status);
    if (value != NULL) {
        xmlrpc_struct_set_value(env, members, member->name, value);
        xmlrpc_DECREF(value);
    }
    return status;
}

/* A handle that ends with the call is of no use to a command. */
static void keep_add(xmlrpc_env *env, xmlrpc_value *members, const char *method)
{
    bool makes_one = strcmp(method, "idc.connect") == 0 || strcmp(method, "idc.listen") == 0;
    if (!makes_one || xmlrpc_struct_has_key(env, members, "keep_ms"))
        return;
    xmlrpc_value *value = value_of_number(env, KEEP_USUAL);
    xmlrpc_struct_set_value(env, members, "keep_ms", value);
    xmlrpc_DECREF(value);
}

static int params_add_struct(const struct command *command, xmlrpc_env *env,
                             struct rpc_argument *argument, char **words, int count)
{
    xmlrpc_value *members = xmlrpc_struct_new(env);
    int status = 0;
    for (int i = 0; i < count && status == 0; i++)
        status = member_add(command, env, members, words[i]);
    if (status == 0 && !env->fault_occurred) /* or xmlrpc-c ends the program */
        keep_add(env, members, argument->method);
    if (status == 0 && !env->fault_occurred)
        xmlrpc_array_append_item(env, argument->params, members);
    xmlrpc_DECREF(members);
    argument->members = members; /* the array still has it */
    return status;
}

static int params_add_texts(const struct command *command, xmlrpc_env *env, xmlrpc_value *params,
                            char **words, int count)
{
    for (int i = 0; i < count; i++) {
        xmlrpc_value *value = xmlrpc_string_new(env, words[i]);
        if (env->fault_occurred)
            return usage_error(command, "\"%s\" is no text in UTF-8", words[i]);
        xmlrpc_array_append_item(env, params, value);
        xmlrpc_DECREF(value);
    }
    return 0;
}

int rpc_argument_read(const struct command *command, int count, char **words,
                      struct rpc_argument *argument)
{
    xmlrpc_env env;
    int status;
    xmlrpc_env_init(&env);
    *argument = (struct rpc_argument){.params = xmlrpc_array_new(&env)};
    snprintf(argument->method, sizeof(argument->method), "%s%s",
             strchr(words[0], '.') == NULL ? "idc." : "", words[0]);
    if (strncmp(argument->method, "system.", 7) == 0)
        status = params_add_texts(command, &env, argument->params, words + 1, count - 1);
    else
        status = params_add_struct(command, &env, argument, words + 1, count - 1);
    if (status == 0 && env.fault_occurred)
        status = failure(command, "%s", env.fault_string);
    if (status != 0)
        rpc_argument_end(argument);
    xmlrpc_env_clean(&env);
    return status;
}

void rpc_argument_end(struct rpc_argument *argument)
{
    xmlrpc_DECREF(argument->params);
    argument->params = argument->members = NULL;
}

xmlrpc_mem_block *rpc_argument_document(const struct command *command,
                                        const struct rpc_argument *argument)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    xmlrpc_mem_block *document = xmlrpc_mem_block_new(&env, 0);
    if (!env.fault_occurred)
        xmlrpc_serialize_call2(&env, document, argument->method, argument->params,
                               xmlrpc_dialect_i8);
    if (env.fault_occurred) {
        failure(command, "the call cannot be written: %s", env.fault_string);
        if (document != NULL)
            xmlrpc_mem_block_free(document);
        document = NULL;
    }
    xmlrpc_env_clean(&env);
    return document;
}

void rpc_argument_part(struct rpc_argument *argument, const unsigned char *bytes, size_t len,
                       size_t at, size_t most, bool end)
{
    xmlrpc_env env;
    size_t part = len - at < most ? len - at : most;
    xmlrpc_env_init(&env);
    xmlrpc_value *data = xmlrpc_base64_new(&env, part, bytes + at);
    xmlrpc_value *last = xmlrpc_bool_new(&env, end && at + part == len);
    xmlrpc_struct_set_value(&env, argument->members, "data", data);
    xmlrpc_struct_set_value(&env, argument->members, "end", last);
    xmlrpc_DECREF(data);
    xmlrpc_DECREF(last);
    xmlrpc_env_clean(&env);
}
