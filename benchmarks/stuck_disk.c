/* A disk that stops answering, for tests and benchmarks: preloaded, it holds every write to a file of the journal, and
 * every sync of one, for as long as the file named by STUCK_DISK exists. Nothing of the server is told. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void wait_for_disk(int fd) {
    const char *flag = getenv("STUCK_DISK");
    char link[64], path[4096];
    if (flag == NULL) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return;
    path[size] = 0;
    if (strstr(path, "/journal/") == NULL) return;
    while (access(flag, F_OK) == 0) usleep(10000);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
    wait_for_disk(fd);
    return next(fd, data, size, at);
}

int fdatasync(int fd) {
    static int (*next)(int);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk(fd);
    return next(fd);
}
