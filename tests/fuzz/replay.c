/* SPDX-License-Identifier: GPL-2.0-or-later */
/* replay.c - runs a fuzzer's inputs without libFuzzer, for the table of coverage: replay DIR... */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __attribute__((weak)) LLVMFuzzerInitialize(int *argc, char ***argv);

/* In memory of just its size, as libFuzzer does. */
static void replay_file(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return;
    uint8_t *data = malloc((size_t)status.st_size + 1);
    ssize_t got = data ? read(fd, data, (size_t)status.st_size) : -1;
    if (got >= 0)
        LLVMFuzzerTestOneInput(data, (size_t)got);
    free(data);
}

static int replay_directory(const char *name)
{
    int count = 0;
    const struct dirent *entry;
    DIR *directory = opendir(name);
    while (directory && (entry = readdir(directory))) {
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        replay_file(fd);
        close(fd);
        count++;
    }
    if (directory)
        closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    printf("%d inputs\n", count);
    return 0;
}
