/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of channels (channels/channel_files.h): which count and in which order, what stays when
 * one can't be read, and what is said of mistakes. */
#include "channels/channel_files.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/suite.h"

#define PATH_SIZE 300
#define SAID_SIZE 65536

static char place[] = "/tmp/idc-files-XXXXXX";
static char paths[2][PATH_SIZE]; /* a file "main", a directory "more" */
static char said[SAID_SIZE];
static unsigned said_lines;
static struct channel_files *files;
static struct channel_list list;

static void note_line(void *context, const char *line)
{
    size_t len = strlen(said);
    ck_assert_ptr_eq(context, &said_lines);
    ck_assert_ptr_null(strchr(line, '\n'));
    snprintf(said + len, sizeof(said) - len, "%s\n", line);
    said_lines++;
}

static const char *path_of(const char *name)
{
    static char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", place, name);
    return path;
}

static void put_bytes(const char *name, const char *text, size_t len)
{
    FILE *stream = fopen(path_of(name), "w");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(text, 1, len, stream), len);
    ck_assert_int_eq(fclose(stream), 0);
}

static void put_text(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static void open_files(bool may_be_missing)
{
    struct channel_files_settings settings = {.place_count = 2,
                                              .may_be_missing = may_be_missing,
                                              .terminals = "/dev/idc-channels",
                                              .say = note_line,
                                              .context = &said_lines};
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], PATH_SIZE, "%s", path_of(i == 0 ? "main" : "more"));
        settings.places[i] = paths[i];
    }
    files = channel_files_new(&settings);
    ck_assert_ptr_nonnull(files);
}

static void files_setup(void)
{
    umask(022);
    ck_assert_ptr_nonnull(mkdtemp(place));
    ck_assert_int_eq(mkdir(path_of("more"), 0755), 0);
    open_files(true);
}

static int remove_one(const char *path, const struct stat *about, int flag, struct FTW *where)
{
    (void)about;
    (void)flag;
    (void)where;
    return remove(path);
}

static void files_teardown(void)
{
    channel_list_free(&list);
    channel_files_free(files);
    nftw(place, remove_one, 10, FTW_DEPTH | FTW_PHYS);
}

/* Reads all, and says which channels there are: "a b c!", where ! is a wrong line's. */
static const char *read_names(int problems)
{
    static char names[1000];
    names[0] = said[0] = '\0';
    said_lines = 0;
    channel_list_free(&list);
    int found = channel_files_read(files, &list);
    ck_assert_msg(found == problems, "%d problems: %s", found, said);
    size_t good = 0;
    for (size_t i = 0; i < list.count; i++) {
        size_t len = strlen(names);
        snprintf(names + len, sizeof(names) - len, "%s%s%s", i > 0 ? " " : "",
                 list.entries[i].line.name, list.entries[i].wrong ? "!" : "");
        good += !list.entries[i].wrong;
    }
    ck_assert_uint_eq(list.good, good);
    return names;
}

/* A line for each letter. */
static void put_channels(const char *name, const char *letters)
{
    char text[1000] = "";
    for (; *letters != '\0'; letters++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%c: unix-listen:/%c -> exec:cat\n", *letters,
                 *letters);
    }
    put_text(name, text);
}

/* ---- which files, and in which order ---- */

START_TEST(nothing_is_there)
{
    ck_assert_int_eq(rmdir(path_of("more")), 0);
    ck_assert_str_eq(read_names(0), "");
    ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(a_place_that_must_be_there)
{
    channel_files_free(files);
    open_files(false);
    put_channels("more/1", "a");
    ck_assert_str_eq(read_names(1), "a");
    ck_assert_ptr_nonnull(strstr(said, "/main: No such file or directory; what it said"));
    put_channels("main", "b");
    ck_assert_str_eq(read_names(0), "b a");
    ck_assert_int_eq(unlink(path_of("main")), 0);
    ck_assert_str_eq(read_names(1), "b a");
}
END_TEST

START_TEST(places_and_names_in_their_order)
{
    put_channels("more/20", "c");
    put_channels("more/10", "b");
    put_channels("more/30", "d");
    put_channels("main", "a");
    ck_assert_str_eq(read_names(0), "a b c d");
    put_channels("more/15", "e");
    ck_assert_int_eq(unlink(path_of("more/20")), 0);
    ck_assert_str_eq(read_names(0), "a b e d");
}
END_TEST

START_TEST(names_that_editors_and_packages_leave)
{
    static const char *const left[] = {".a", "a~", "a.dpkg-old", "a.dpkg-new", "a.bak"};
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "more/%s", left[i]);
        put_channels(name, "x");
    }
    put_channels("more/a.conf", "a");
    put_channels("more/b", "b");
    ck_assert_str_eq(read_names(0), "a b");
}
END_TEST

/* ---- what can't be read ---- */

static void check_stays(const char *name, const char *word)
{
    ck_assert_str_eq(read_names(1), "a b c");
    ck_assert_msg(strstr(said, name) != NULL && strstr(said, word) != NULL, "%s", said);
    ck_assert_ptr_nonnull(strstr(said, "; what it said before stays"));
    ck_assert_uint_eq(said_lines, 1);
}

START_TEST(what_was_said_before_stays)
{
    static char large[CHANNEL_FILES_TEXT_MAX + 1];
    put_channels("main", "a");
    put_channels("more/1", "b");
    put_channels("more/2", "c");
    ck_assert_str_eq(read_names(0), "a b c");

    ck_assert_int_eq(chmod(path_of("more/1"), 0664), 0);
    put_channels("more/1", "x");
    check_stays("/more/1: ", "can be written by its group");
    ck_assert_int_eq(chmod(path_of("more/1"), 0646), 0);
    check_stays("/more/1: ", "can be written by everybody");
    ck_assert_int_eq(chmod(path_of("more/1"), 0644), 0);

    memset(large, '\n', sizeof(large));
    put_bytes("more/1", large, sizeof(large));
    check_stays("/more/1: ", "more than 1 MiB");
    ck_assert_int_eq(unlink(path_of("more/1")), 0);
    ck_assert_int_eq(mkdir(path_of("more/1"), 0755), 0);
    check_stays("/more/1: ", "it is no file");
    ck_assert_int_eq(rmdir(path_of("more/1")), 0);
    ck_assert_int_eq(symlink("nowhere", path_of("more/1")), 0);
    check_stays("/more/1: ", "No such file or directory");
    ck_assert_int_eq(unlink(path_of("more/1")), 0);

    ck_assert_int_eq(chmod(path_of("more"), 0777), 0);
    check_stays("/more: ", "can be written by everybody");
    ck_assert_int_eq(chmod(path_of("more"), 0755), 0);
    ck_assert_str_eq(read_names(0), "a c"); /* 1 has been deleted */
}
END_TEST

/* One that could never be read has said nothing that could stay. */
START_TEST(a_file_that_was_never_read)
{
    put_channels("main", "a");
    ck_assert_int_eq(chmod(path_of("main"), 0666), 0);
    ck_assert_str_eq(read_names(1), "");
    ck_assert_ptr_null(strstr(said, "stays"));
}
END_TEST

/* Half of a line may be a good one, and the lines behind it are missing. */
START_TEST(a_file_that_was_cut_off)
{
    static const char whole[] = "a: unix-listen:/a -> exec:cat\nb: idc-listen:8080 -> exec:cat\n"
                                "c: unix-listen:/c -> exec:cat\n";
    const size_t line = strcspn(whole, "\n") + 1;
    put_text("main", whole);
    ck_assert_str_eq(read_names(0), "a b c");
    for (size_t len = 1; len < sizeof(whole) - 1; len++) {
        put_bytes("main", whole, len);
        if (whole[len - 1] == '\n')
            continue; /* that may be what was meant */
        ck_assert_str_eq(read_names(1), "a b c");
        ck_assert_ptr_nonnull(strstr(said, "the last line has no newline; what the file said "
                                           "before stays; see whether all"));
        ck_assert_uint_eq(list.entries[1].line.from.port, 8080);
    }
    put_bytes("main", whole, line + strlen("b: idc-listen:80"));
    ck_assert_str_eq(read_names(1), "a b c");
    ck_assert_ptr_nonnull(strstr(said, "/main:2:17: the last line"));
    put_bytes("main", whole, line);
    ck_assert_str_eq(read_names(0), "a");
}
END_TEST

/* It has said nothing before that could stay. */
START_TEST(a_file_that_was_cut_off_from_the_beginning)
{
    put_text("main", "a: unix-listen:/a -> exec:cat\nb: unix-listen:/b -> exec:cat");
    ck_assert_str_eq(read_names(1), "a b!");
    ck_assert_ptr_nonnull(strstr(said, "/main:2:30: the last line has no newline; it does not "
                                       "count; see whether all"));
    put_text("main", "a: unix-listen:/a -> exec:cat\nc: unix-listen:/c -> exec:cat\nb");
    ck_assert_str_eq(read_names(1), "a c");
    put_text("main", "# nothing");
    ck_assert_str_eq(read_names(1), "");
    put_text("main", "a: unix-listen:/a -> exec:cat\nb: unix-listen:/b -> exec:cat\n");
    ck_assert_str_eq(read_names(0), "a b");
    put_text("main", "");
    ck_assert_str_eq(read_names(0), "");
}
END_TEST

START_TEST(the_largest_file)
{
    static char large[CHANNEL_FILES_TEXT_MAX];
    static const char line[] = "\na: unix-listen:/a -> exec:cat\n";
    memset(large, '\n', sizeof(large));
    memcpy(large + sizeof(large) - sizeof(line) + 1, line, sizeof(line) - 1);
    put_bytes("main", large, sizeof(large));
    ck_assert_str_eq(read_names(0), "a");
}
END_TEST

START_TEST(too_many_files)
{
    char name[64];
    for (int i = 0; i <= CHANNEL_FILES_MAX; i++) {
        snprintf(name, sizeof(name), "more/%04d", i);
        put_text(name, i < CHANNEL_FILES_MAX ? "# nothing\n" : "a: unix-listen:/a -> exec:cat\n");
    }
    ck_assert_str_eq(read_names(1), "");
    ck_assert_ptr_nonnull(strstr(said, "/more/1024: there are more than 1024 files"));
    ck_assert_int_eq(unlink(path_of("more/0000")), 0);
    read_names(1); /* its place is free from the next reading on */
    ck_assert_str_eq(read_names(0), "a");
}
END_TEST

/* ---- lines ---- */

START_TEST(mistakes_have_their_place)
{
    put_text("main", "# a comment\n\n  a: unix-listen:/a -> exec:cat\n"
                     "b: unix-listen:/b -> nonsense\nnonsense\nc: unix-listen:/c -> exec:cat\n");
    ck_assert_str_eq(read_names(2), "a b! c");
    ck_assert_uint_eq(said_lines, 2);
    ck_assert_ptr_nonnull(strstr(said, "/main:4:22: \"nonsense\" is no end"));
    ck_assert_msg(strstr(said, "/main:5:9: ") != NULL, "%s", said);
}
END_TEST

START_TEST(what_cannot_be_there_twice)
{
    put_text("main", "a: unix-listen:/a -> exec:cat\n");
    put_text("more/1", "a: unix-listen:/b -> exec:cat\nb: unix-listen:/a -> exec:cat\n"
                       "c: unix-listen:/c -> exec:cat\nc: nonsense\n");
    ck_assert_str_eq(read_names(3), "a b! c");
    ck_assert_ptr_nonnull(strstr(said, "/more/1:1:1: there is a channel a already"));
    ck_assert_ptr_nonnull(strstr(said, "/more/1:2:1: channel a has that service, path or address"));
    ck_assert_str_eq(list.entries[0].line.from.where, "/a");
}
END_TEST

/* A wrong line takes nothing away from another one, neither its path nor its name's first good line
 * behind it. */
START_TEST(a_wrong_line_has_no_path)
{
    put_text("main", "a: unix-listen:/a -> nonsense\nb: unix-listen:/a -> exec:cat\n");
    ck_assert_str_eq(read_names(1), "a! b");
}
END_TEST

START_TEST(bytes_that_are_no_text)
{
    static const char text[] = "a: unix-listen:/a -> exec:cat\nb: unix\0-listen:/b -> exec:cat\n"
                               "c: unix-listen:/c -> exec:cat\n";
    put_bytes("main", text, sizeof(text) - 1);
    ck_assert_str_eq(read_names(1), "a c");
    ck_assert_ptr_nonnull(strstr(said, "/main:2:8: the byte 0 does not belong"));
}
END_TEST

START_TEST(a_long_line)
{
    static char text[3 * CHANNEL_LINE_MAX];
    int len = snprintf(text, sizeof(text), "a: unix-listen:/a -> exec:cat%*s\n",
                       2 * CHANNEL_LINE_MAX, "");
    snprintf(text + len, sizeof(text) - (size_t)len, "b: unix-listen:/b -> exec:cat\n");
    put_text("main", text);
    read_names(1);
    ck_assert_uint_eq(list.good, 1);
    ck_assert_ptr_nonnull(strstr(said, "/main:1:"));
}
END_TEST

START_TEST(many_mistakes)
{
    static char text[150 * 9 + 1];
    for (int i = 0; i < 150; i++)
        memcpy(text + i * 9, "nonsense\n", 9);
    put_text("main", text);
    ck_assert_str_eq(read_names(150), "");
    ck_assert_uint_eq(said_lines, 101);
    ck_assert_ptr_nonnull(strstr(said, "\n50 more mistakes\n"));
}
END_TEST

START_TEST(many_channels)
{
    FILE *stream = fopen(path_of("main"), "w");
    for (int i = 0; i <= CHANNELS_MAX; i++)
        fprintf(stream, "c%d: unix-listen:/%d -> exec:cat\n", i, i);
    ck_assert_int_eq(fclose(stream), 0);
    ck_assert_int_eq(channel_files_read(files, &list), 1);
    ck_assert_uint_eq(list.count, CHANNELS_MAX);
    ck_assert_uint_eq(list.good, CHANNELS_MAX);
    ck_assert_ptr_nonnull(strstr(said, "/main:4097:1: there are 4096 channels already"));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("channel_files");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, files_setup, files_teardown);
    tcase_add_test(tests, nothing_is_there);
    tcase_add_test(tests, a_place_that_must_be_there);
    tcase_add_test(tests, places_and_names_in_their_order);
    tcase_add_test(tests, names_that_editors_and_packages_leave);
    tcase_add_test(tests, what_was_said_before_stays);
    tcase_add_test(tests, a_file_that_was_never_read);
    tcase_add_test(tests, a_file_that_was_cut_off);
    tcase_add_test(tests, a_file_that_was_cut_off_from_the_beginning);
    tcase_add_test(tests, the_largest_file);
    tcase_add_test(tests, too_many_files);
    tcase_add_test(tests, mistakes_have_their_place);
    tcase_add_test(tests, what_cannot_be_there_twice);
    tcase_add_test(tests, a_wrong_line_has_no_path);
    tcase_add_test(tests, bytes_that_are_no_text);
    tcase_add_test(tests, a_long_line);
    tcase_add_test(tests, many_mistakes);
    tcase_add_test(tests, many_channels);
    Suite *suite = suite_create("channel_files");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
